//! `bpe_rs.hf.Encoding`: the result of encoding.

use std::sync::{Arc, OnceLock};

use pyo3::exceptions::PyDeprecationWarning;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyType};

use super::ints::Ints;
use super::results::{Buffer, Results, TextResult};
use super::settings::direction;
use crate::format::components::Direction;
use crate::hf::{Column, EncodedInput};
use crate::python::ids::list_of_repeated;

/// The ids of a text or a pair of texts, with their strings, offsets, words and masks.
#[pyclass(name = "Encoding", module = "bpe_rs.hf")]
#[derive(Default)]
pub(super) struct PyHfEncoding {
    /// Set where `source` is `Inner`.
    inner: OnceLock<Box<EncodedInput>>,
    source: Source,
}

/// What the numbers come from, and everything else on first use.
enum Source {
    /// `inner`, with the `int` objects of a tokenizer where one is at hand.
    Inner(Option<Arc<Ints>>),
    Row(Arc<Results>, usize),
    Text(TextResult),
}

impl Default for Source {
    fn default() -> Self {
        Self::Inner(None)
    }
}

impl PyHfEncoding {
    fn new(inner: EncodedInput) -> Self {
        Self {
            inner: Box::new(inner).into(),
            ..Self::default()
        }
    }

    /// With the `int` objects of a tokenizer.
    pub(super) fn with_ints(inner: EncodedInput, ints: Arc<Ints>) -> Self {
        Self {
            source: Source::Inner(Some(ints)),
            ..Self::new(inner)
        }
    }

    fn of(source: Source) -> Self {
        Self {
            inner: OnceLock::new(),
            source,
        }
    }

    pub(super) fn of_text(result: TextResult) -> Self {
        Self::of(Source::Text(result))
    }

    /// An object for each row.
    pub(super) fn of_rows(results: Results) -> Vec<Self> {
        let rows = 0..results.batch.len();
        let shared = Arc::new(results);
        rows.map(|row| Self::of(Source::Row(shared.clone(), row)))
            .collect()
    }

    /// The encoded input.
    ///
    /// # Errors
    /// `KeyboardInterrupt`; else none, because the input has been encoded before.
    pub(super) fn inner(&self, py: Python<'_>) -> PyResult<&EncodedInput> {
        if let Some(inner) = self.inner.get() {
            return Ok(inner);
        }
        let made = match &self.source {
            Source::Row(results, row) => results.encoding(py, *row)?,
            Source::Text(result) => result.encoding(py)?,
            Source::Inner(_) => EncodedInput::default(),
        };
        Ok(self.inner.get_or_init(|| Box::new(made)))
    }

    /// The encoded input, to change it.
    fn inner_mut(&mut self, py: Python<'_>) -> PyResult<&mut EncodedInput> {
        let inner = self.inner(py)?.clone();
        self.source = Source::Inner(self.ints().cloned());
        self.inner = Box::new(inner).into();
        Ok(self.inner.get_mut().expect("set above"))
    }

    /// The `int` objects of the tokenizer.
    fn ints(&self) -> Option<&Arc<Ints>> {
        match &self.source {
            Source::Inner(ints) => ints.as_ref(),
            Source::Row(results, _) => Some(&results.call.tokenizer().ints),
            Source::Text(result) => Some(&result.tokenizer().ints),
        }
    }

    /// Number of tokens.
    fn len(&self) -> usize {
        match &self.source {
            Source::Row(results, row) => results.batch.row_len(*row),
            Source::Text(result) => result.len,
            Source::Inner(_) => self.inner.get().map_or(0, |inner| inner.len()),
        }
    }

    fn column<'py>(
        &self,
        py: Python<'py>,
        column: Column,
        explicit: impl FnOnce(&EncodedInput) -> Vec<u32>,
    ) -> PyResult<Bound<'py, PyList>> {
        match &self.source {
            Source::Text(result) => result.list(py, column),
            Source::Row(results, row) => {
                let ints = &results.call.tokenizer().ints;
                Buffer::default().list(py, &results.batch, *row, column, ints)
            }
            Source::Inner(ints) => {
                let values = explicit(self.inner(py)?);
                match ints {
                    Some(ints) if column == Column::Ids => ints.list(py, &values),
                    None if column == Column::Ids => PyList::new(py, values),
                    _ => list_of_repeated(py, &values),
                }
            }
        }
    }
}

#[pymethods]
impl PyHfEncoding {
    #[new]
    fn py_new() -> Self {
        Self::default()
    }

    fn __len__(&self) -> usize {
        self.len()
    }

    /// What `isinstance` asks: true for `tokenizers.Encoding`, too, where that package is loaded.
    #[getter]
    fn __class__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let loaded = slf.py().import("sys")?.getattr("modules")?;
        match loaded.get_item("tokenizers") {
            Ok(theirs) => theirs.getattr("Encoding"),
            Err(_) => Ok(slf.get_type().into_any()),
        }
    }

    fn __repr__(&self) -> String {
        format!(
            "Encoding(num_tokens={}, attributes=[ids, type_ids, tokens, offsets, attention_mask, \
             special_tokens_mask, overflowing])",
            self.len()
        )
    }

    /// Token ids.
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.column(py, Column::Ids, EncodedInput::ids)
    }

    /// The type id of each token, which tells the sequences of a pair apart.
    #[getter]
    fn type_ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.column(py, Column::TypeIds, EncodedInput::type_ids)
    }

    /// Token strings.
    #[getter]
    fn tokens(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self.inner(py)?.tokens())
    }

    /// The range of characters of each token.
    #[getter]
    fn offsets(&self, py: Python<'_>) -> PyResult<Vec<(u32, u32)>> {
        Ok(self.inner(py)?.offsets())
    }

    /// 0 for padding, 1 for the rest.
    #[getter]
    fn attention_mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.column(py, Column::AttentionMask, EncodedInput::attention_mask)
    }

    /// 1 for special tokens and padding, 0 for the tokens of a text.
    #[getter]
    fn special_tokens_mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.column(
            py,
            Column::SpecialTokensMask,
            EncodedInput::special_tokens_mask,
        )
    }

    /// The word of each token, None for special tokens and padding.
    #[getter]
    fn word_ids(&self, py: Python<'_>) -> PyResult<Vec<Option<u32>>> {
        Ok(self.inner(py)?.word_ids())
    }

    /// The same as `word_ids`. Deprecated, as in `tokenizers`.
    #[getter]
    fn words(&self, py: Python<'_>) -> PyResult<Vec<Option<u32>>> {
        let message = c"Encoding.words is deprecated: use Encoding.word_ids";
        PyErr::warn(py, &py.get_type::<PyDeprecationWarning>(), message, 1)?;
        self.word_ids(py)
    }

    /// The input sequence of each token, None for special tokens and padding.
    #[getter]
    fn sequence_ids(&self, py: Python<'_>) -> PyResult<Vec<Option<usize>>> {
        Ok(self.inner(py)?.sequence_ids())
    }

    /// Number of input sequences.
    #[getter]
    fn n_sequences(&self, py: Python<'_>) -> PyResult<usize> {
        match &self.source {
            Source::Row(results, row) => Ok(results.batch.n_sequences(*row)),
            Source::Text(result) => Ok(result.n_sequences()),
            Source::Inner(_) => Ok(self.inner(py)?.n_sequences()),
        }
    }

    /// What truncation cut off, in parts of the same length.
    #[getter]
    fn overflowing(&self, py: Python<'_>) -> PyResult<Vec<PyHfEncoding>> {
        let parts = self.inner(py)?.overflowing.iter().cloned();
        let part = |inner| Self {
            source: Source::Inner(self.ints().cloned()),
            ..Self::new(inner)
        };
        Ok(parts.map(part).collect())
    }

    /// The token that stands for the character at a position.
    #[pyo3(signature = (char_pos, sequence_index=0))]
    fn char_to_token(
        &self,
        py: Python<'_>,
        char_pos: usize,
        sequence_index: usize,
    ) -> PyResult<Option<usize>> {
        Ok(self.inner(py)?.char_to_token(char_pos, sequence_index))
    }

    /// The word of the character at a position.
    #[pyo3(signature = (char_pos, sequence_index=0))]
    fn char_to_word(
        &self,
        py: Python<'_>,
        char_pos: usize,
        sequence_index: usize,
    ) -> PyResult<Option<u32>> {
        Ok(self.inner(py)?.char_to_word(char_pos, sequence_index))
    }

    /// The range of characters of a token of a text.
    fn token_to_chars(&self, py: Python<'_>, token_index: usize) -> PyResult<Option<(u32, u32)>> {
        Ok(self.inner(py)?.token_to_chars(token_index))
    }

    /// The input sequence of a token.
    fn token_to_sequence(&self, py: Python<'_>, token_index: usize) -> PyResult<Option<usize>> {
        Ok(self.inner(py)?.sequence_of(token_index))
    }

    /// The word of a token.
    fn token_to_word(&self, py: Python<'_>, token_index: usize) -> PyResult<Option<u32>> {
        Ok(self.inner(py)?.token_to_word(token_index))
    }

    /// The range of tokens of a word.
    #[pyo3(signature = (word_index, sequence_index=0))]
    fn word_to_tokens(
        &self,
        py: Python<'_>,
        word_index: u32,
        sequence_index: usize,
    ) -> PyResult<Option<(usize, usize)>> {
        let tokens = self.inner(py)?.word_to_tokens(word_index, sequence_index);
        Ok(tokens.map(|tokens| (tokens.start, tokens.end)))
    }

    /// The range of characters of a word.
    #[pyo3(signature = (word_index, sequence_index=0))]
    fn word_to_chars(
        &self,
        py: Python<'_>,
        word_index: u32,
        sequence_index: usize,
    ) -> PyResult<Option<(u32, u32)>> {
        Ok(self.inner(py)?.word_to_chars(word_index, sequence_index))
    }

    /// Make all tokens belong to one input sequence.
    fn set_sequence_id(&mut self, py: Python<'_>, sequence_id: usize) -> PyResult<()> {
        self.inner_mut(py)?.set_sequence(sequence_id);
        Ok(())
    }

    /// Keep `max_length` tokens; the rest goes to `overflowing`.
    #[pyo3(signature = (max_length, stride=0, direction="right"))]
    fn truncate(
        &mut self,
        py: Python<'_>,
        max_length: usize,
        stride: usize,
        direction: &str,
    ) -> PyResult<()> {
        let from_left = self::direction(direction)? == Direction::Left;
        let inner = self.inner_mut(py)?;
        Ok(inner.truncate(max_length, stride, from_left)?)
    }

    /// Add padding tokens up to `length` tokens.
    #[pyo3(signature = (length, direction="right", pad_id=0, pad_type_id=0, pad_token="[PAD]"))]
    fn pad(
        &mut self,
        py: Python<'_>,
        length: usize,
        direction: &str,
        pad_id: u32,
        pad_type_id: u32,
        pad_token: &str,
    ) -> PyResult<()> {
        let left = self::direction(direction)? == Direction::Left;
        let inner = self.inner_mut(py)?;
        Ok(inner.pad(length, pad_id, pad_type_id, &pad_token.into(), left)?)
    }

    /// The tokens of several encodings, in order. With `growing_offsets` the offsets of each
    /// continue those of the one before.
    #[staticmethod]
    #[pyo3(signature = (encodings, growing_offsets=true))]
    fn merge(
        py: Python<'_>,
        encodings: Vec<PyRef<'_, PyHfEncoding>>,
        growing_offsets: bool,
    ) -> PyResult<Self> {
        let mut all: Option<EncodedInput> = None;
        for encoding in &encodings {
            let next = encoding.inner(py)?;
            all = Some(match all {
                Some(all) => all.merged_with(next, growing_offsets),
                None => next.clone(),
            });
        }
        Ok(Self::new(all.unwrap_or_default()))
    }

    fn __getstate__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.inner(py)?.to_json().as_bytes()))
    }

    /// Without `copyreg.__newobj__`, of which `pickle` asks that `__class__` is the type.
    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyType>, (), Bound<'py, PyBytes>)> {
        let state = slf.borrow().__getstate__(slf.py())?;
        Ok((slf.get_type(), (), state))
    }

    fn __setstate__(&mut self, state: &[u8]) -> PyResult<()> {
        *self = Self::new(EncodedInput::from_json(state)?);
        Ok(())
    }
}
