//! Files to ids: `_core.IdWriter`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use numpy::PyArray1;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use super::encoding::Encoding;
use super::progress::ProgressCheck;
use super::text::texts;
use crate::error::{Error, Result};
use crate::files::{encode_documents, encode_files, FileOptions, IdWriter as Core};
use crate::format::id_file::Width;
use crate::io::Progress;

/// Collects ids in memory, or in an id file that appears whole when finished or not at all.
#[pyclass(frozen, module = "bpe_rs._core")]
struct IdWriter {
    core: Mutex<Option<Core>>,
    /// Bytes of text done by all calls so far.
    done: AtomicU64,
}

impl IdWriter {
    fn lock(&self) -> MutexGuard<'_, Option<Core>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer, at once: who waited for it while attached to the interpreter could wait for
    /// somebody who waits for the interpreter.
    fn at_once(&self) -> PyResult<MutexGuard<'_, Option<Core>>> {
        match self.core.try_lock() {
            Ok(core) => Ok(core),
            Err(TryLockError::Poisoned(core)) => Ok(core.into_inner()),
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(
                "expected a writer that no other call uses at the moment",
            )),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Core) -> Result<T>) -> Result<T> {
        let mut core = self.lock();
        let core = core.as_mut();
        work(core.ok_or_else(|| Error::invalid("expected a writer that is not yet finished"))?)
    }

    /// Calls `work(bytes done, progress, writer)` without the GIL; it returns the new number of
    /// bytes. What `callback` raises, or a signal's handler, comes out again.
    fn run(
        &self,
        py: Python<'_>,
        callback: Option<Py<PyAny>>,
        work: impl FnOnce(u64, &mut Progress<'_>, &mut Core) -> Result<u64> + Send,
    ) -> PyResult<()> {
        let mut check = ProgressCheck::of_every_step(callback);
        let before = self.done.load(Ordering::Relaxed);
        let result =
            py.detach(|| self.with(|writer| work(before, &mut |done| check.step(done), writer)));
        self.done.store(check.result(result)?, Ordering::Relaxed);
        Ok(())
    }
}

fn options(
    separator: Option<String>,
    special_tokens: bool,
    field: String,
    num_threads: Option<usize>,
) -> PyResult<FileOptions> {
    Ok(FileOptions {
        separator,
        special_tokens,
        field,
        threads: crate::threads::requested(num_threads)?,
    })
}

#[pymethods]
impl IdWriter {
    /// `path`: the id file, or None for memory; `itemsize`: 2 or 4 bytes per id.
    #[new]
    fn new(
        path: Option<PathBuf>,
        itemsize: usize,
        encoding: PyRef<'_, Encoding>,
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
        let core = match path {
            Some(path) => Core::create(&path, width, *encoding.core().fingerprint())?,
            None => Core::memory(width),
        };
        Ok(Self {
            core: Mutex::new(Some(core)),
            done: AtomicU64::new(0),
        })
    }

    /// Encode text files and append their ids; `progress(bytes done)` may raise to stop.
    #[allow(clippy::too_many_arguments)]
    fn encode_files(
        &self,
        py: Python<'_>,
        encoding: PyRef<'_, Encoding>,
        paths: Vec<PathBuf>,
        separator: Option<String>,
        special_tokens: bool,
        field: String,
        num_threads: Option<usize>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let options = options(separator, special_tokens, field, num_threads)?;
        let core = encoding.core();
        self.run(py, progress, |done, progress, writer| {
            encode_files(core, &paths, &options, done, progress, writer)
        })
    }

    /// The same for texts that the caller has read.
    #[allow(clippy::too_many_arguments)]
    fn encode_documents(
        &self,
        py: Python<'_>,
        encoding: PyRef<'_, Encoding>,
        documents: &Bound<'_, PyAny>,
        separator: Option<String>,
        special_tokens: bool,
        num_threads: Option<usize>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let options = options(separator, special_tokens, String::new(), num_threads)?;
        let core = encoding.core();
        let documents = texts(documents)?;
        let documents: Vec<&str> = documents
            .iter()
            .map(|text| text.to_str())
            .collect::<PyResult<_>>()?;
        self.run(py, progress, |done, progress, writer| {
            encode_documents(core, &documents, &options, done, progress, writer)
        })
    }

    /// How many ids so far.
    #[getter]
    fn count(&self) -> PyResult<u64> {
        let core = self.at_once()?;
        let core = core.as_ref().map(Core::count);
        core.ok_or_else(|| PyValueError::new_err("expected a writer that is not yet finished"))
    }

    /// Finish the file, or give the ids' little-endian bytes if there is none.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let core = self.at_once()?.take();
        let core = core
            .ok_or_else(|| PyValueError::new_err("expected a writer that is not yet finished"))?;
        let bytes = py.detach(|| core.finish())?;
        Ok(PyArray1::from_vec(py, bytes))
    }

    /// Forget everything: no file appears.
    fn discard(&self) -> PyResult<()> {
        self.at_once()?.take();
        Ok(())
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<IdWriter>()
}
