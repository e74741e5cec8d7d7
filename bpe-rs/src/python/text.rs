//! Python strings in.

use std::ffi::CString;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

/// `object` as a string that has UTF-8. Lone surrogates become U+FFFD, pairs one character, as in
/// tiktoken.
///
/// Errors: `TypeError` for anything but a string.
pub(super) fn text<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    let string = object.cast::<PyString>().map_err(|_| {
        let got = object
            .get_type()
            .name()
            .map_or_else(|_| "?".into(), |name| name.to_string());
        PyTypeError::new_err(format!("expected a str, got {got}"))
    })?;
    if string.to_str().is_ok() {
        return Ok(string.clone());
    }
    let pairs = string.call_method1("encode", ("utf-16", "surrogatepass"))?;
    Ok(pairs
        .call_method1("decode", ("utf-16", "replace"))?
        .cast_into::<PyString>()?)
}

/// `bytes` as a string, as `bytes.decode("utf-8", errors)` makes it.
///
/// Errors: `UnicodeDecodeError`, `LookupError` for an unknown `errors`.
pub(super) fn decoded<'py>(
    py: Python<'py>,
    bytes: &[u8],
    errors: &str,
) -> PyResult<Bound<'py, PyString>> {
    let errors = CString::new(errors)?;
    // SAFETY: the bytes and the name, which ends in NUL, live through the call; the GIL is held.
    let text = unsafe {
        let size = bytes.len() as ffi::Py_ssize_t;
        let text = ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), size, errors.as_ptr());
        Bound::from_owned_ptr_or_err(py, text)?
    };
    Ok(text.cast_into()?)
}

/// A batch of strings: owned, so that nobody can take them away while threads read them.
///
/// Errors: `TypeError` for a string instead of a batch, or an item that is no string.
pub(super) fn texts<'py>(batch: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyString>>> {
    if batch.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(
            "expected a list of str, got one str: put it in a list",
        ));
    }
    if let Ok(list) = batch.cast::<PyList>() {
        return list.iter().map(|item| text(&item)).collect();
    }
    batch.try_iter()?.map(|item| text(&item?)).collect()
}
