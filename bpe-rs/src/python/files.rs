//! `_core.IdWriter`: files to ids.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use numpy::PyArray1;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use super::encoding::PyEncoding;
use super::progress::ProgressCheck;
use super::text::{texts, utf8_of};
use super::threads::{requested, NumThreads};
use crate::error::{Error, Result};
use crate::files::{encode_documents, encode_files, FileOptions, IdWriter};
use crate::format::id_file::Width;
use crate::io::Progress;

const FINISHED: &str = "expected a writer that is not yet finished";

/// Encodes files and documents, and collects their ids in memory, or in an id file that appears when
/// finished, whole or not at all.
#[pyclass(name = "IdWriter", frozen, module = "bpe_rs._core")]
struct PyIdWriter {
    encoding: Py<PyEncoding>,
    options: FileOptions,
    /// `None` once finished.
    writer: Mutex<Option<IdWriter>>,
    /// Bytes of text that all calls so far have encoded.
    bytes_done: AtomicU64,
}

impl PyIdWriter {
    /// Lock without waiting: a thread that waits for the lock while it holds the GIL can deadlock
    /// with a thread that holds the lock and waits for the GIL.
    fn try_lock(&self) -> PyResult<MutexGuard<'_, Option<IdWriter>>> {
        match self.writer.try_lock() {
            Ok(writer) => Ok(writer),
            Err(TryLockError::Poisoned(writer)) => Ok(writer.into_inner()),
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(
                "expected a writer that no other call uses at the moment",
            )),
        }
    }

    /// Call `work(bytes done before, progress, writer)` without the GIL; it returns the new number
    /// of bytes done.
    ///
    /// # Errors
    /// What `work` returns, and what `callback` or a signal handler raises.
    fn run(
        &self,
        py: Python<'_>,
        callback: Option<Py<PyAny>>,
        work: impl FnOnce(u64, &mut Progress<'_>, &mut IdWriter) -> Result<u64> + Send,
    ) -> PyResult<()> {
        let mut check = ProgressCheck::of_every_step(callback);
        let before = self.bytes_done.load(Ordering::Relaxed);
        let result = py.detach(|| {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let writer = writer.as_mut().ok_or_else(|| Error::invalid(FINISHED))?;
            work(before, &mut |done| check.step(done), writer)
        });
        let done = check.result(result)?;
        self.bytes_done.store(done, Ordering::Relaxed);
        Ok(())
    }
}

#[pymethods]
impl PyIdWriter {
    /// `path`: the id file, or None for memory; `itemsize`: 2 or 4 bytes per id.
    #[new]
    fn py_new(
        encoding: Bound<'_, PyEncoding>,
        path: Option<PathBuf>,
        itemsize: usize,
        separator: Option<String>,
        special_tokens: bool,
        field: String,
        num_threads: Option<NumThreads>,
    ) -> PyResult<Self> {
        let width = match itemsize {
            2 => Width::U16,
            4 => Width::U32,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "expected 2 or 4 bytes per id, got {itemsize}"
                )))
            }
        };
        let options = FileOptions {
            separator,
            special_tokens,
            field,
            threads: requested(num_threads)?,
        };
        let writer = match path {
            Some(path) => IdWriter::create(&path, width, *encoding.get().core().fingerprint())?,
            None => IdWriter::memory(width),
        };
        Ok(Self {
            encoding: encoding.unbind(),
            options,
            writer: Mutex::new(Some(writer)),
            bytes_done: AtomicU64::new(0),
        })
    }

    /// Encode text files and append their ids. `progress(bytes done)` may raise to stop.
    fn encode_files(
        &self,
        py: Python<'_>,
        paths: Vec<PathBuf>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let core = self.encoding.get().core();
        self.run(py, progress, |done, progress, writer| {
            encode_files(core, &paths, &self.options, done, progress, writer)
        })
    }

    /// Encode texts that the caller has read and append their ids.
    fn encode_documents(
        &self,
        py: Python<'_>,
        documents: &Bound<'_, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let core = self.encoding.get().core();
        let documents = texts(documents)?;
        let documents = utf8_of(&documents)?;
        self.run(py, progress, |done, progress, writer| {
            encode_documents(core, &documents, &self.options, done, progress, writer)
        })
    }

    /// The number of ids so far.
    #[getter]
    fn count(&self) -> PyResult<u64> {
        let count = self.try_lock()?.as_ref().map(IdWriter::count);
        count.ok_or_else(|| PyValueError::new_err(FINISHED))
    }

    /// Finish the file, or return the ids' little-endian bytes if they are in memory.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let writer = self.try_lock()?.take();
        let writer = writer.ok_or_else(|| PyValueError::new_err(FINISHED))?;
        let bytes = py.detach(|| writer.finish())?;
        Ok(PyArray1::from_vec(py, bytes))
    }

    /// Drop all ids: no file appears.
    fn discard(&self) -> PyResult<()> {
        self.try_lock()?.take();
        Ok(())
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyIdWriter>()
}
