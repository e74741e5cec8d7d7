//! `_core.WordTokenizer` and `_core.CharTokenizer`, the base classes of those in `_words.py`, which
//! adds files and named constructors.

use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use super::numbers::size;
use super::progress::ProgressCheck;
use super::text::{type_name, utf8};
use crate::encode::MAX_ROW_LENGTH;
use crate::words::{self, DistinctWords, Form, Symbol};

/// `(text, whether the word ends here, count)`.
type TokenParts = (String, bool, u64);
/// `(left text, right text, whether the word ends here)`.
type MergeParts = (String, String, bool);

#[pyclass(frozen, subclass, module = "bpe_rs._core", name = "WordTokenizer")]
struct PyWordTokenizer {
    inner: words::WordTokenizer,
}

#[pymethods]
impl PyWordTokenizer {
    #[new]
    fn new(form: &str, tokens: Vec<TokenParts>, merges: Vec<MergeParts>) -> PyResult<Self> {
        let tokens = tokens
            .into_iter()
            .map(|(text, end, count)| (Symbol { text, end }, count))
            .collect();
        let symbol = |text, end| Symbol { text, end };
        let merges = merges
            .into_iter()
            .map(|(left, right, end)| (symbol(left, false), symbol(right, end)))
            .collect();
        let inner = words::WordTokenizer::from_parts(Form::from_name(form)?, tokens, merges)?;
        Ok(PyWordTokenizer { inner })
    }

    #[pyo3(signature = (text, *, max_length=None, truncation=false))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
        max_length: Option<&Bound<'py, PyAny>>,
        truncation: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let text = utf8("text", text)?;
        let Some(max_length) = max_length else {
            if truncation {
                return Err(PyValueError::new_err("truncation=True needs a max_length"));
            }
            let ids = py.detach(|| self.inner.encode(text))?;
            return Ok(PyList::new(py, ids)?.into_any());
        };
        let max_length = size("max_length", max_length, 0, MAX_ROW_LENGTH as u64)?;
        let run = || self.inner.encode_padded(text, max_length, truncation);
        let (ids, mask) = py.detach(run)?;
        Ok(PyTuple::new(py, [PyList::new(py, ids)?, PyList::new(py, mask)?])?.into_any())
    }

    fn encode_to_numpy<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let text = utf8("text", text)?;
        Ok(py.detach(|| self.inner.encode(text))?.into_pyarray(py))
    }

    fn tokens(&self, py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
        let text = utf8("text", text)?;
        let ids = py.detach(|| self.inner.encode(text))?;
        Ok(ids
            .into_iter()
            .map(|id| self.inner.token(id))
            .collect::<Result<_, _>>()?)
    }

    fn decode(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<String> {
        let ids = checked(ids, self.inner.vocab_size())?;
        Ok(py.detach(|| self.inner.decode(&ids))?)
    }

    fn id_to_token(&self, id: &Bound<'_, PyAny>) -> PyResult<String> {
        let ids = checked(
            PyTuple::new(id.py(), [id])?.as_any(),
            self.inner.vocab_size(),
        )?;
        Ok(self.inner.token(ids[0])?)
    }

    #[getter]
    fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    #[getter]
    fn form(&self) -> &'static str {
        self.inner.form().name()
    }

    fn _token_parts(&self) -> Vec<TokenParts> {
        let parts = |(symbol, count): (&Symbol, u64)| (symbol.text.clone(), symbol.end, count);
        self.inner.tokens().map(parts).collect()
    }

    fn _merge_parts(&self) -> Vec<MergeParts> {
        let parts =
            |(left, right): &words::SymbolPair| (left.text.clone(), right.text.clone(), right.end);
        self.inner.merges().iter().map(parts).collect()
    }
}

/// The tokens and merges of a new `WordTokenizer`.
#[pyfunction]
fn train_words(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    num_merges: &Bound<'_, PyAny>,
    form: &Bound<'_, PyAny>,
) -> PyResult<(Vec<TokenParts>, Vec<MergeParts>)> {
    let num_merges = size("num_merges", num_merges, 0, u64::MAX)?;
    let form = Form::from_name(utf8("form", form)?)?;
    let mut distinct = DistinctWords::default();
    for_each_text(source, |text| {
        py.detach(|| distinct.add(text))?;
        py.check_signals()
    })?;
    if distinct.is_empty() {
        return Err(PyValueError::new_err("the text has no words to learn from"));
    }
    let mut check = ProgressCheck::new(None);
    let trained = py.detach(|| {
        words::WordTokenizer::train(&distinct, num_merges, form, &mut |done| check.step(done))
    });
    let inner = check.result(trained)?;
    let tokenizer = PyWordTokenizer { inner };
    Ok((tokenizer._token_parts(), tokenizer._merge_parts()))
}

#[pyclass(frozen, subclass, module = "bpe_rs._core", name = "CharTokenizer")]
struct PyCharTokenizer {
    inner: words::CharTokenizer,
}

#[pymethods]
impl PyCharTokenizer {
    #[new]
    #[pyo3(signature = (symbols, unknown=None))]
    fn new(symbols: &Bound<'_, PyAny>, unknown: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let symbols = utf8("symbols", symbols)?.chars().collect();
        let unknown = unknown
            .map(|unknown| utf8("unknown", unknown))
            .transpose()?;
        let inner = words::CharTokenizer::from_symbols(symbols, unknown.map(String::from))?;
        Ok(PyCharTokenizer { inner })
    }

    fn encode<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let text = utf8("text", text)?;
        PyList::new(py, py.detach(|| self.inner.encode(text))?)
    }

    fn encode_to_numpy<'py>(
        &self,
        py: Python<'py>,
        text: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let text = utf8("text", text)?;
        Ok(py.detach(|| self.inner.encode(text))?.into_pyarray(py))
    }

    fn decode(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> PyResult<String> {
        let ids = checked(ids, self.inner.vocab_size())?;
        Ok(py.detach(|| self.inner.decode(&ids))?)
    }

    #[getter]
    fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    #[getter]
    fn symbols(&self) -> String {
        self.inner.symbols().iter().collect()
    }

    #[getter]
    fn unknown(&self) -> Option<&str> {
        self.inner.unknown()
    }
}

/// The distinct characters of a text or of several, ordered by code point.
#[pyfunction]
fn distinct_characters(py: Python<'_>, source: &Bound<'_, PyAny>) -> PyResult<String> {
    let mut found = words::DistinctCharacters::default();
    for_each_text(source, |text| Ok(py.detach(|| found.add(text))?))?;
    Ok(found.sorted().into_iter().collect())
}

/// Call `visit` with a str, or with each str of an iterable.
fn for_each_text(
    source: &Bound<'_, PyAny>,
    mut visit: impl FnMut(&str) -> PyResult<()>,
) -> PyResult<()> {
    if source.is_instance_of::<PyString>() {
        return visit(utf8("source", source)?);
    }
    let items = source.try_iter().map_err(|_| {
        let got = type_name(source);
        PyTypeError::new_err(format!(
            "source: expected str or an iterable of str, got {got}"
        ))
    })?;
    items
        .into_iter()
        .try_for_each(|item| visit(utf8("source", &item?)?))
}

/// `ids` as `u32`; ValueError for one that does not fit.
fn checked(ids: &Bound<'_, PyAny>, size: usize) -> PyResult<Vec<u32>> {
    let id_of = |id: Bound<'_, PyAny>| {
        id.extract::<u32>().map_err(|error| {
            if !error.is_instance_of::<PyOverflowError>(id.py()) {
                return error;
            }
            PyValueError::new_err(format!(
                "id {id} is outside the vocabulary of {size} ids (0 to {})",
                size - 1
            ))
        })
    };
    ids.try_iter()?.map(|id| id_of(id?)).collect()
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyWordTokenizer>()?;
    module.add_class::<PyCharTokenizer>()?;
    module.add_function(wrap_pyfunction!(train_words, module)?)?;
    module.add_function(wrap_pyfunction!(distinct_characters, module)?)
}
