//! Python strings to UTF-8 and back.

use std::borrow::Cow;
use std::ffi::CString;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

/// The name of an object's type, for error messages.
pub(super) fn type_name(object: &Bound<'_, PyAny>) -> String {
    let name = object.get_type().name();
    name.map_or_else(|_| "?".into(), |name| name.to_string())
}

/// The UTF-8 of the str that is, or is in, the argument `name`.
///
/// # Errors
/// `TypeError` for anything but a str, `ValueError` for lone surrogates, which have no UTF-8.
pub(super) fn utf8<'a>(name: &str, object: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    let string = object.cast::<PyString>().map_err(|_| {
        PyTypeError::new_err(format!("{name}: expected str, got {}", type_name(object)))
    })?;
    string.to_str().map_err(|error| {
        let error = error.value(object.py());
        PyValueError::new_err(format!(
            "{name}: expected str without lone surrogates: {error}"
        ))
    })
}

/// The UTF-8 of a text to encode. As in tiktoken, a surrogate pair becomes one character and a lone
/// surrogate becomes U+FFFD.
///
/// # Errors
/// `TypeError` for anything but a string.
pub(super) fn text<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, str>> {
    let string = string(object)?;
    match string.to_str() {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => Ok(Cow::Owned(without_surrogates(string)?.to_str()?.into())),
    }
}

fn string<'a, 'py>(object: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyString>> {
    object
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err(format!("expected a str, got {}", type_name(object))))
}

#[cold]
fn without_surrogates<'py>(string: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyString>> {
    let utf16 = string.call_method1("encode", ("utf-16", "surrogatepass"))?;
    Ok(utf16
        .call_method1("decode", ("utf-16", "replace"))?
        .cast_into::<PyString>()?)
}

/// `bytes` as a string, as Python's `bytes.decode("utf-8", errors)` makes it.
///
/// # Errors
/// `UnicodeDecodeError`; `LookupError` for an unknown `errors`.
pub(super) fn decoded<'py>(
    py: Python<'py>,
    bytes: &[u8],
    errors: &str,
) -> PyResult<Bound<'py, PyString>> {
    let errors = CString::new(errors)?;
    // SAFETY: the bytes and the NUL-terminated name live through the call; the GIL is held.
    let text = unsafe {
        let size = bytes.len() as ffi::Py_ssize_t;
        let text = ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), size, errors.as_ptr());
        Bound::from_owned_ptr_or_err(py, text)?
    };
    Ok(text.cast_into()?)
}

/// A batch of strings. Owned references, so that the strings live while threads read them without
/// the GIL.
///
/// # Errors
/// `TypeError` for a string in place of a batch, or an item that is no string.
pub(super) fn texts<'py>(batch: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyString>>> {
    if batch.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(
            "expected a list of str, got one str: put it in a list",
        ));
    }
    let owned = |item: Bound<'py, PyAny>| {
        let string = string(&item)?;
        match string.to_str() {
            Ok(_) => Ok(string.clone()),
            Err(_) => without_surrogates(string),
        }
    };
    if let Ok(list) = batch.cast::<PyList>() {
        return list.iter().map(owned).collect();
    }
    batch.try_iter()?.map(|item| owned(item?)).collect()
}

/// The UTF-8 of each string of a batch that [`texts`] made.
pub(super) fn utf8_of<'a>(strings: &'a [Bound<'_, PyString>]) -> PyResult<Vec<&'a str>> {
    strings.iter().map(|string| string.to_str()).collect()
}
