//! `_core.Encoding`, the base class of `bpe_rs.Encoding`: a hot call enters Rust without a Python
//! frame.

mod calls;
mod class;
mod construct;
mod methods;
mod special;

use pyo3::prelude::*;

pub(super) use class::PyEncoding;

/// Names of the published encodings.
#[pyfunction]
fn list_encoding_names() -> Vec<&'static str> {
    crate::registry::encoding_names().collect()
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(list_encoding_names, m)?)?;
    m.add_class::<PyEncoding>()
}
