//! `bpe_rs.hf.Encoding`: the result of encoding.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::ints::Ints;
use super::settings::direction;
use crate::format::components::Direction;
use crate::hf::EncodedInput;
use crate::python::ids::list_of_repeated;

/// The ids of a text or a pair of texts, with their strings, offsets, words and masks.
#[pyclass(name = "Encoding", module = "bpe_rs.hf")]
#[derive(Default)]
pub(super) struct PyHfEncoding {
    pub(super) inner: EncodedInput,
    /// `None` where no tokenizer is at hand.
    ints: Option<Arc<Ints>>,
}

impl PyHfEncoding {
    fn new(inner: EncodedInput) -> Self {
        Self { inner, ints: None }
    }

    /// With the `int` objects of a tokenizer.
    pub(super) fn with_ints(inner: EncodedInput, ints: Arc<Ints>) -> Self {
        let ints = Some(ints);
        Self { inner, ints }
    }
}

#[pymethods]
impl PyHfEncoding {
    #[new]
    fn py_new() -> Self {
        Self::default()
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    fn __repr__(&self) -> String {
        format!(
            "Encoding(num_tokens={}, attributes=[ids, type_ids, tokens, offsets, attention_mask, \
             special_tokens_mask, overflowing])",
            self.inner.len()
        )
    }

    /// Token ids.
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let ids = self.inner.ids();
        match &self.ints {
            Some(ints) => ints.list(py, &ids),
            None => PyList::new(py, ids),
        }
    }

    /// The type id of each token, which tells the sequences of a pair apart.
    #[getter]
    fn type_ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list_of_repeated(py, &self.inner.type_ids())
    }

    /// Token strings.
    #[getter]
    fn tokens(&self) -> Vec<String> {
        self.inner.tokens()
    }

    /// The range of characters of each token.
    #[getter]
    fn offsets(&self) -> Vec<(u32, u32)> {
        self.inner.offsets()
    }

    /// 0 for padding, 1 for the rest.
    #[getter]
    fn attention_mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list_of_repeated(py, &self.inner.attention_mask())
    }

    /// 1 for special tokens and padding, 0 for the tokens of a text.
    #[getter]
    fn special_tokens_mask<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list_of_repeated(py, &self.inner.special_tokens_mask())
    }

    /// The word of each token, None for special tokens and padding.
    #[getter]
    fn word_ids(&self) -> Vec<Option<u32>> {
        self.inner.word_ids()
    }

    /// The same as `word_ids`.
    #[getter]
    fn words(&self) -> Vec<Option<u32>> {
        self.inner.word_ids()
    }

    /// The input sequence of each token, None for special tokens and padding.
    #[getter]
    fn sequence_ids(&self) -> Vec<Option<usize>> {
        self.inner.sequence_ids()
    }

    /// Number of input sequences.
    #[getter]
    fn n_sequences(&self) -> usize {
        self.inner.n_sequences()
    }

    /// What truncation cut off, in parts of the same length.
    #[getter]
    fn overflowing(&self) -> Vec<PyHfEncoding> {
        self.inner
            .overflowing
            .iter()
            .cloned()
            .map(|inner| Self {
                inner,
                ints: self.ints.clone(),
            })
            .collect()
    }

    /// The token that stands for the character at a position.
    #[pyo3(signature = (char_pos, sequence_index=0))]
    fn char_to_token(&self, char_pos: usize, sequence_index: usize) -> Option<usize> {
        self.inner.char_to_token(char_pos, sequence_index)
    }

    /// The word of the character at a position.
    #[pyo3(signature = (char_pos, sequence_index=0))]
    fn char_to_word(&self, char_pos: usize, sequence_index: usize) -> Option<u32> {
        self.inner.char_to_word(char_pos, sequence_index)
    }

    /// The range of characters of a token of a text.
    fn token_to_chars(&self, token_index: usize) -> Option<(u32, u32)> {
        self.inner.token_to_chars(token_index)
    }

    /// The input sequence of a token.
    fn token_to_sequence(&self, token_index: usize) -> Option<usize> {
        self.inner.sequence_of(token_index)
    }

    /// The word of a token.
    fn token_to_word(&self, token_index: usize) -> Option<u32> {
        self.inner.token_to_word(token_index)
    }

    /// The range of tokens of a word.
    #[pyo3(signature = (word_index, sequence_index=0))]
    fn word_to_tokens(&self, word_index: u32, sequence_index: usize) -> Option<(usize, usize)> {
        let tokens = self.inner.word_to_tokens(word_index, sequence_index)?;
        Some((tokens.start, tokens.end))
    }

    /// The range of characters of a word.
    #[pyo3(signature = (word_index, sequence_index=0))]
    fn word_to_chars(&self, word_index: u32, sequence_index: usize) -> Option<(u32, u32)> {
        self.inner.word_to_chars(word_index, sequence_index)
    }

    /// Make all tokens belong to one input sequence.
    fn set_sequence_id(&mut self, sequence_id: usize) {
        self.inner.set_sequence(sequence_id);
    }

    /// Keep `max_length` tokens; the rest goes to `overflowing`.
    #[pyo3(signature = (max_length, stride=0, direction="right"))]
    fn truncate(&mut self, max_length: usize, stride: usize, direction: &str) -> PyResult<()> {
        let from_left = self::direction(direction)? == Direction::Left;
        Ok(self.inner.truncate(max_length, stride, from_left)?)
    }

    /// Add padding tokens up to `length` tokens.
    #[pyo3(signature = (length, direction="right", pad_id=0, pad_type_id=0, pad_token="[PAD]"))]
    fn pad(
        &mut self,
        length: usize,
        direction: &str,
        pad_id: u32,
        pad_type_id: u32,
        pad_token: &str,
    ) -> PyResult<()> {
        let left = self::direction(direction)? == Direction::Left;
        Ok(self
            .inner
            .pad(length, pad_id, pad_type_id, &pad_token.into(), left)?)
    }

    /// The tokens of several encodings, in order. With `growing_offsets` the offsets of each
    /// continue those of the one before.
    #[staticmethod]
    #[pyo3(signature = (encodings, growing_offsets=true))]
    fn merge(encodings: Vec<PyRef<'_, PyHfEncoding>>, growing_offsets: bool) -> Self {
        let all = encodings
            .iter()
            .map(|encoding| encoding.inner.clone())
            .reduce(|all, next| all.merged_with(&next, growing_offsets));
        Self::new(all.unwrap_or_default())
    }

    fn __getstate__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.inner.to_json().as_bytes())
    }

    fn __setstate__(&mut self, state: &[u8]) -> PyResult<()> {
        self.inner = EncodedInput::from_json(state)?;
        Ok(())
    }
}
