//! `_core.HfWords`: what a pipeline makes of texts, and the model that is learned from it.

use std::sync::Mutex;

use pyo3::prelude::*;

use super::PyHfTokenizer;
use crate::hf::{BpeTraining, ModelWords};
use crate::python::counting::PyWordCounts;
use crate::python::progress::ProgressCheck;
use crate::python::text::{texts, utf8_of};
use crate::threads::lock;

/// Words and how often they occurred.
#[pyclass(name = "HfWords", frozen, module = "bpe_rs._core")]
#[derive(Default)]
pub(super) struct PyWords(Mutex<ModelWords>);

#[pymethods]
impl PyWords {
    #[new]
    fn py_new() -> Self {
        Self::default()
    }

    /// Add the words that a tokenizer makes of a list of texts.
    fn add_texts(
        &self,
        py: Python<'_>,
        tokenizer: &PyHfTokenizer,
        batch: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let strings = texts(batch)?;
        let strings = utf8_of(&strings)?;
        Ok(py.detach(|| lock(&self.0).add_texts(&tokenizer.inner, &strings))?)
    }

    /// Add words that were counted with the tokenizer's pattern.
    fn add_counts(&self, py: Python<'_>, counts: &PyWordCounts) {
        py.detach(|| {
            let mut words = lock(&self.0);
            for (word, count) in counts.0.sorted() {
                words.add(&String::from_utf8_lossy(&word), count);
            }
        });
    }

    /// The JSON of the tokenizer's model with the vocabulary and the merges of these words.
    #[allow(clippy::too_many_arguments)]
    fn learn(
        &self,
        py: Python<'_>,
        tokenizer: &PyHfTokenizer,
        vocab_size: usize,
        min_frequency: u64,
        limit_alphabet: Option<usize>,
        initial_alphabet: Vec<char>,
        special_tokens: Vec<String>,
        max_token_length: Option<usize>,
        continuing_subword_prefix: Option<String>,
        end_of_word_suffix: Option<String>,
    ) -> PyResult<String> {
        let training = BpeTraining {
            vocab_size,
            min_frequency,
            limit_alphabet,
            initial_alphabet,
            special_tokens,
            max_token_length,
            continuing_subword_prefix,
            end_of_word_suffix,
        };
        let mut check = ProgressCheck::new(None);
        let model = py.detach(|| {
            let words = lock(&self.0);
            training.learn(&words, &tokenizer.inner, &mut |done| check.step(done))
        });
        Ok(check.result(model)?.to_json())
    }
}
