//! `bpe_rs.hf.Encoding`: what encoding returns.

use std::ops::Range;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde_json::{json, Value};

use super::hf_arguments::direction;
use crate::format::params::Direction;
use crate::hf::{Encoding, Fixed};

/// Ids of a text or a pair of texts, and everything known about each of them.
#[pyclass(name = "Encoding", module = "bpe_rs.hf")]
#[derive(Default)]
pub(super) struct HfEncoding {
    pub(super) inner: Encoding,
}

impl HfEncoding {
    pub(super) fn new(inner: Encoding) -> Self {
        Self { inner }
    }

    /// Sequence and word of a token that belongs to a text.
    fn sequence_of(&self, token: usize) -> Option<usize> {
        if token >= self.inner.len() {
            return None;
        }
        (0..self.inner.n_sequences()).find(|&at| self.inner.sequence_range(at).contains(&token))
    }

    /// The tokens of `sequence` that satisfy `is_wanted`, from the first to behind the last.
    fn span(&self, sequence: usize, is_wanted: impl Fn(usize) -> bool) -> Option<Range<usize>> {
        let mut found = self
            .inner
            .sequence_range(sequence)
            .filter(|&at| is_wanted(at));
        let first = found.next()?;
        Some(first..found.next_back().unwrap_or(first) + 1)
    }
}

#[pymethods]
impl HfEncoding {
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
    fn ids(&self) -> Vec<u32> {
        self.inner.ids()
    }

    /// Which sequence of a pair each token counts to.
    #[getter]
    fn type_ids(&self) -> Vec<u32> {
        self.inner.type_ids()
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
    fn attention_mask(&self) -> Vec<u32> {
        self.inner.attention_mask()
    }

    /// 1 for tokens that were added around the text.
    #[getter]
    fn special_tokens_mask(&self) -> Vec<u32> {
        self.inner.special_tokens_mask()
    }

    /// The word of each token, None for added ones.
    #[getter]
    fn word_ids(&self) -> Vec<Option<u32>> {
        self.inner.word_ids()
    }

    /// The same as `word_ids`.
    #[getter]
    fn words(&self) -> Vec<Option<u32>> {
        self.inner.word_ids()
    }

    /// The input sequence of each token, None for added ones.
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
    fn overflowing(&self) -> Vec<HfEncoding> {
        self.inner
            .overflowing
            .iter()
            .cloned()
            .map(Self::new)
            .collect()
    }

    /// The token that stands for the character at a position.
    #[pyo3(signature = (char_pos, sequence_index=0))]
    fn char_to_token(&self, char_pos: usize, sequence_index: usize) -> Option<usize> {
        let offsets = self.inner.offsets();
        self.inner.sequence_range(sequence_index).find(|&at| {
            let (start, end) = offsets[at];
            (start as usize..end as usize).contains(&char_pos)
        })
    }

    /// The word of the character at a position.
    #[pyo3(signature = (char_pos, sequence_index=0))]
    fn char_to_word(&self, char_pos: usize, sequence_index: usize) -> Option<u32> {
        let token = self.char_to_token(char_pos, sequence_index)?;
        self.inner.word_ids()[token]
    }

    /// The range of characters of a token of a text.
    fn token_to_chars(&self, token_index: usize) -> Option<(u32, u32)> {
        self.sequence_of(token_index)?;
        Some(self.inner.offsets()[token_index])
    }

    /// The input sequence of a token.
    fn token_to_sequence(&self, token_index: usize) -> Option<usize> {
        self.sequence_of(token_index)
    }

    /// The word of a token.
    fn token_to_word(&self, token_index: usize) -> Option<u32> {
        self.sequence_of(token_index)?;
        self.inner.word_ids()[token_index]
    }

    /// The range of tokens of a word.
    #[pyo3(signature = (word_index, sequence_index=0))]
    fn word_to_tokens(&self, word_index: u32, sequence_index: usize) -> Option<(usize, usize)> {
        let words = self.inner.word_ids();
        let span = self.span(sequence_index, |at| words[at] == Some(word_index))?;
        Some((span.start, span.end))
    }

    /// The range of characters of a word.
    #[pyo3(signature = (word_index, sequence_index=0))]
    fn word_to_chars(&self, word_index: u32, sequence_index: usize) -> Option<(u32, u32)> {
        let (start, end) = self.word_to_tokens(word_index, sequence_index)?;
        let offsets = self.inner.offsets();
        Some((offsets[start].0, offsets[end - 1].1))
    }

    /// Says that all tokens belong to one input sequence.
    fn set_sequence_id(&mut self, sequence_id: usize) {
        self.inner.set_sequence(sequence_id);
    }

    /// Cuts to `max_length` tokens.
    #[pyo3(signature = (max_length, stride=0, direction="right"))]
    fn truncate(&mut self, max_length: usize, stride: usize, direction: &str) -> PyResult<()> {
        let from_left = self::direction(direction)? == Direction::Left;
        if max_length > 0 && stride >= max_length && max_length < self.inner.len() {
            return Err(PyValueError::new_err(format!(
                "expected a stride below max_length={max_length}, got {stride}"
            )));
        }
        self.inner.truncate(max_length, stride, from_left);
        Ok(())
    }

    /// Fills up to `length` tokens.
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
        self.inner
            .pad(length, pad_id, pad_type_id, &pad_token.into(), left);
        Ok(())
    }

    /// One encoding after the other; `growing_offsets` moves each one's offsets behind the last's.
    #[staticmethod]
    #[pyo3(signature = (encodings, growing_offsets=true))]
    fn merge(encodings: Vec<PyRef<'_, HfEncoding>>, growing_offsets: bool) -> Self {
        let all = encodings
            .iter()
            .map(|encoding| encoding.inner.clone())
            .reduce(|all, next| all.merged_with(&next, growing_offsets));
        Self::new(all.unwrap_or_default())
    }

    fn __getstate__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, state(&self.inner).to_string().as_bytes())
    }

    fn __setstate__(&mut self, state: &[u8]) -> PyResult<()> {
        let value: Value = serde_json::from_slice(state).map_err(|error| {
            PyValueError::new_err(format!("expected the state of an Encoding: {error}"))
        })?;
        self.inner = from_state(&value).ok_or_else(|| {
            PyValueError::new_err("expected the state of an Encoding, got other JSON")
        })?;
        Ok(())
    }
}

fn state(encoding: &Encoding) -> Value {
    let fixed = encoding.to_fixed();
    let sequences: serde_json::Map<String, Value> = encoding
        .sequences()
        .iter()
        .map(|(id, range)| {
            (
                id.to_string(),
                json!({"start": range.start, "end": range.end}),
            )
        })
        .collect();
    json!({
        "ids": fixed.ids,
        "type_ids": fixed.type_ids,
        "tokens": fixed.tokens,
        "words": fixed.words,
        "offsets": fixed.offsets,
        "special_tokens_mask": fixed.special,
        "attention_mask": fixed.attention,
        "overflowing": encoding.overflowing.iter().map(state).collect::<Vec<_>>(),
        "sequence_ranges": sequences,
    })
}

fn from_state(value: &Value) -> Option<Encoding> {
    fn list<T: serde::de::DeserializeOwned>(
        value: &Value,
        key: &str,
        len: usize,
    ) -> Option<Vec<T>> {
        let list: Vec<T> = serde_json::from_value(value.get(key)?.clone()).ok()?;
        (list.len() == len).then_some(list)
    }
    let len = value.get("ids")?.as_array()?.len();
    let fixed = Fixed {
        ids: list(value, "ids", len)?,
        type_ids: list(value, "type_ids", len)?,
        tokens: list(value, "tokens", len)?,
        words: list(value, "words", len)?,
        offsets: list(value, "offsets", len)?,
        special: list(value, "special_tokens_mask", len)?,
        attention: list(value, "attention_mask", len)?,
    };
    let mut sequences = Vec::new();
    for (id, range) in value.get("sequence_ranges")?.as_object()? {
        let bound = |key| range.get(key).and_then(Value::as_u64).map(|at| at as usize);
        sequences.push((id.parse().ok()?, bound("start")?..bound("end")?));
    }
    let overflowing = value.get("overflowing")?.as_array()?;
    let overflowing = overflowing
        .iter()
        .map(from_state)
        .collect::<Option<Vec<_>>>()?;
    Some(Encoding::from_fixed(fixed, sequences, overflowing))
}
