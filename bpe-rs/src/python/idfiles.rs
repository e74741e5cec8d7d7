//! Files to ids: `_core.IdWriter`.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use numpy::PyReadonlyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::encoding::Encoding;
use crate::encode::threads;
use crate::error::{Error, Result};
use crate::files::{encode_files, FileOptions};
use crate::format::idfile::Width;
use crate::format::idwriter::IdWriter as Core;

/// Collects ids in memory, or in an id file that appears whole when finished or not at all.
#[pyclass(frozen, module = "bpe_rs._core")]
struct IdWriter(Mutex<Option<Core>>);

impl IdWriter {
    fn with<T>(&self, work: impl FnOnce(&mut Core) -> Result<T>) -> Result<T> {
        let mut core = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let core = core.as_mut();
        work(core.ok_or_else(|| Error::invalid("expected a writer that is not yet finished"))?)
    }
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
        Ok(Self(Mutex::new(Some(core))))
    }

    fn write(&self, py: Python<'_>, ids: PyReadonlyArray1<'_, u32>) -> PyResult<()> {
        let ids = ids.as_slice()?;
        Ok(py.detach(|| self.with(|core| core.write(ids)))?)
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
        let most = threads::default_threads();
        let threads = num_threads.unwrap_or(most).clamp(1, most);
        let options = FileOptions {
            separator,
            special_tokens,
            field,
            threads,
        };
        let core = encoding.core();
        let mut raised = None;
        let mut tick = |done: u64| {
            Python::attach(|py| {
                let call = progress
                    .as_ref()
                    .map_or(Ok(()), |f| f.call1(py, (done,)).map(drop));
                call.and_then(|()| py.check_signals()).map_err(|error| {
                    raised = Some(error);
                    Error::interrupted()
                })
            })
        };
        let result = py
            .detach(|| self.with(|writer| encode_files(core, &paths, &options, &mut tick, writer)));
        match raised {
            Some(error) => Err(error),
            None => Ok(result?),
        }
    }

    /// How many ids so far.
    #[getter]
    fn count(&self) -> PyResult<u64> {
        Ok(self.with(|core| Ok(core.count()))?)
    }

    /// Finish the file, or give the ids' little-endian bytes if there is none.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let core = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let core = core
            .ok_or_else(|| PyValueError::new_err("expected a writer that is not yet finished"))?;
        let bytes = py.detach(|| core.finish())?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Forget everything: no file appears.
    fn discard(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<IdWriter>()
}
