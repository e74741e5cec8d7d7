//! `_core.WordCounter` and `_core.WordCounts`: the words of a text and their counts.

use std::path::PathBuf;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyList};

use super::numbers::whole_number;
use super::progress::ProgressCheck;
use super::text::utf8;
use super::threads::{requested, NumThreads};
use crate::error::{Error, Result};
use crate::train::count::{Counter, WordCounts};

/// Counts the words of texts and files, added one after the other.
#[pyclass(name = "WordCounter", module = "bpe_rs._core")]
struct PyWordCounter(Option<Counter>);

impl PyWordCounter {
    fn counter(&mut self) -> PyResult<&mut Counter> {
        self.0.as_mut().ok_or_else(finished)
    }
}

fn finished() -> PyErr {
    PyValueError::new_err("this counter has been finished")
}

/// A `str` or UTF-8 `bytes`, borrowed from Python.
enum Text {
    Str(PyBackedStr),
    Bytes(PyBackedBytes),
}

impl Text {
    fn extract(item: &Bound<'_, PyAny>) -> PyResult<Self> {
        if item.is_instance_of::<PyBytes>() {
            return Ok(Self::Bytes(item.extract()?));
        }
        utf8("source", item)?;
        Ok(Self::Str(item.extract()?))
    }

    fn as_str(&self) -> Result<&str> {
        match self {
            Self::Str(text) => Ok(text),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|error| {
                let at = error.valid_up_to();
                Error::invalid(format!(
                    "expected texts in UTF-8, got bytes with 0x{:02x} at offset {at}",
                    bytes[at]
                ))
            }),
        }
    }
}

#[pymethods]
impl PyWordCounter {
    #[new]
    #[pyo3(signature = (pattern, special_tokens, num_threads=None))]
    fn py_new(
        pattern: &str,
        special_tokens: Vec<String>,
        num_threads: Option<NumThreads>,
    ) -> PyResult<Self> {
        let threads = requested(num_threads)?;
        Ok(Self(Some(Counter::new(pattern, &special_tokens, threads)?)))
    }

    #[pyo3(signature = (texts, callback=None))]
    fn add_texts(
        &mut self,
        py: Python<'_>,
        texts: &Bound<'_, PyList>,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let counter = self.counter()?;
        let texts = texts
            .iter()
            .map(|item| Text::extract(&item))
            .collect::<PyResult<Vec<_>>>()?;
        let mut check = ProgressCheck::new(callback);
        let result = py.detach(|| {
            let texts = texts.iter().map(Text::as_str).collect::<Result<Vec<_>>>()?;
            counter.add_texts(&texts, &mut |done| check.step(done))
        });
        check.result(result)
    }

    #[pyo3(signature = (paths, field, callback=None))]
    fn add_files(
        &mut self,
        py: Python<'_>,
        paths: Vec<PathBuf>,
        field: &str,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let counter = self.counter()?;
        let mut check = ProgressCheck::new(callback);
        let result = py.detach(|| counter.add_files(&paths, field, &mut |done| check.step(done)));
        check.result(result)
    }

    fn add_words(&mut self, words: Vec<(PyBackedBytes, u64)>) -> PyResult<()> {
        let counter = self.counter()?;
        for (word, count) in words {
            counter.add_word(&word, count);
        }
        Ok(())
    }

    fn finish(&mut self, py: Python<'_>) -> PyResult<PyWordCounts> {
        let counter = self.0.take();
        let counts = py.detach(|| counter.map(Counter::finish));
        counts.map(PyWordCounts).ok_or_else(finished)
    }
}

/// Distinct words with their counts; the Python class `bpe_rs.WordCounts` holds one.
#[pyclass(name = "WordCounts", module = "bpe_rs._core")]
pub(super) struct PyWordCounts(pub(super) WordCounts);

#[pymethods]
impl PyWordCounts {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    #[getter]
    fn total(&self) -> u128 {
        self.0.total()
    }

    #[getter]
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    #[getter]
    fn pattern(&self) -> &str {
        self.0.regex()
    }

    #[getter]
    fn pattern_name(&self) -> Option<&'static str> {
        self.0.pattern_name()
    }

    #[getter]
    fn special_tokens(&self) -> Vec<String> {
        self.0.special().to_vec()
    }

    #[getter]
    fn is_ordered(&self) -> bool {
        self.0.is_ordered()
    }

    #[getter]
    fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }

    fn get(&self, word: &[u8]) -> u64 {
        self.0.get(word)
    }

    fn sorted<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let words = py.detach(|| self.0.sorted());
        PyList::new(
            py,
            words
                .iter()
                .map(|(word, count)| (PyBytes::new(py, word), *count)),
        )
    }

    fn merge(&mut self, py: Python<'_>, other: PyRef<'_, Self>) -> PyResult<()> {
        let (counts, other) = (&mut self.0, &other.0);
        Ok(py.detach(|| counts.merge(other))?)
    }

    fn pruned(&self, py: Python<'_>, min_count: &Bound<'_, PyAny>) -> PyResult<Self> {
        let min_count = whole_number("min_count", min_count, 0, u64::MAX)?;
        Ok(Self(py.detach(|| self.0.pruned(min_count))?))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        Ok(py.detach(|| self.0.save(&path))?)
    }

    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Ok(Self(py.detach(|| WordCounts::load(&path))?))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut bytes = Vec::new();
        py.detach(|| self.0.write(&mut bytes))
            .map_err(|error| Error::io("memory", error))?;
        Ok(PyBytes::new(py, &bytes))
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let mut data = data;
        Ok(Self(
            py.detach(|| WordCounts::read(&mut data, "these bytes"))?,
        ))
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyWordCounter>()?;
    m.add_class::<PyWordCounts>()
}
