//! Encoding of bytes, single pieces and unfinished text. Functions, because the Python class wraps
//! them in methods of its own.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::class::PyEncoding;
use super::special::check;
use crate::python::text::text;

#[pyfunction]
fn encode_bytes(
    py: Python<'_>,
    encoding: &Bound<'_, PyEncoding>,
    bytes: &Bound<'_, PyBytes>,
) -> PyResult<Vec<u32>> {
    let (core, bytes) = (encoding.get().core(), bytes.as_bytes());
    let mut ids = Vec::new();
    py.detach(|| core.encode_bytes(bytes, &mut ids))?;
    Ok(ids)
}

#[pyfunction]
fn encode_single_piece(
    py: Python<'_>,
    encoding: &Bound<'_, PyEncoding>,
    piece: &Bound<'_, PyBytes>,
) -> PyResult<Vec<u32>> {
    let (core, piece) = (encoding.get().core(), piece.as_bytes());
    let mut ids = Vec::new();
    py.detach(|| core.encode_single_piece(piece, &mut ids))?;
    Ok(ids)
}

#[pyfunction]
#[pyo3(signature = (encoding, input, allowed_special=None, disallowed_special=None))]
fn encode_with_unstable(
    py: Python<'_>,
    encoding: &Bound<'_, PyEncoding>,
    input: &Bound<'_, PyAny>,
    allowed_special: Option<&Bound<'_, PyAny>>,
    disallowed_special: Option<&Bound<'_, PyAny>>,
) -> PyResult<(Vec<u32>, Vec<Vec<u32>>)> {
    let encoding = encoding.get();
    let policy = encoding.policy(allowed_special, disallowed_special)?;
    let string = text(input)?;
    check(&policy, &string)?;
    let core = encoding.core();
    Ok(py.detach(|| core.encode_with_unstable(&string, policy.allowed()))?)
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(encode_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(encode_single_piece, module)?)?;
    module.add_function(wrap_pyfunction!(encode_with_unstable, module)?)
}
