//! `_core.Encoding`: what the Python class `bpe_rs.Encoding` inherits.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::decode::decode_into;
use crate::encode::encode_plain;
use crate::pretokenize::Pretokenizer;
use crate::vocab::Vocab;

/// A vocabulary, a pattern and special tokens.
#[pyclass(subclass, frozen, module = "bpe_rs._core")]
pub(super) struct Encoding {
    name: String,
    vocab: Vocab,
    pattern: Pretokenizer,
    special: HashMap<u32, Vec<u8>>,
}

#[pymethods]
impl Encoding {
    #[new]
    #[pyo3(signature = (name, *, pat_str, mergeable_ranks, special_tokens))]
    fn new(
        name: String,
        pat_str: &str,
        mergeable_ranks: &Bound<'_, PyDict>,
        special_tokens: HashMap<String, u32>,
    ) -> PyResult<Self> {
        let mut ranks = Vec::with_capacity(mergeable_ranks.len());
        for (token, rank) in mergeable_ranks {
            ranks.push((token.extract::<Vec<u8>>()?, rank.extract::<u32>()?));
        }
        Ok(Self {
            name,
            vocab: Vocab::from_ranks(ranks)?,
            pattern: Pretokenizer::new(pat_str)?,
            special: special_tokens
                .into_iter()
                .map(|(s, id)| (id, s.into_bytes()))
                .collect(),
        })
    }

    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    fn __repr__(&self) -> String {
        format!("<Encoding {:?}>", self.name)
    }

    fn encode_ordinary(&self, py: Python<'_>, text: &str) -> PyResult<Vec<u32>> {
        Ok(py.detach(|| encode_plain(&self.vocab, &self.pattern, text))?)
    }

    fn decode_bytes<'py>(
        &self,
        py: Python<'py>,
        tokens: Vec<u32>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = Vec::new();
        let special = |id| self.special.get(&id).map(Vec::as_slice);
        decode_into(&self.vocab, special, &tokens, &mut out)?;
        Ok(PyBytes::new(py, &out))
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Encoding>()
}
