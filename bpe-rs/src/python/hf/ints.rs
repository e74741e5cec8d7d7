//! The `int` objects of a tokenizer's ids, which its results share.

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::hf::Tokenizer;
use crate::python::ids::IntObjects;

/// The `int` objects of ids.
pub(super) struct Ints {
    objects: IntObjects,
    /// Of those that are kept; greater ids get new objects.
    max_id: u32,
}

impl Ints {
    pub(super) fn new(tokenizer: &Tokenizer) -> Self {
        let ids = tokenizer.vocab_size(false) as u32;
        Self {
            objects: IntObjects::default(),
            max_id: ids.max(tokenizer.added().next_id()),
        }
    }

    /// Ids as a list.
    pub(super) fn list<'py>(&self, py: Python<'py>, ids: &[u32]) -> PyResult<Bound<'py, PyList>> {
        self.objects.list(py, ids, self.max_id)
    }
}
