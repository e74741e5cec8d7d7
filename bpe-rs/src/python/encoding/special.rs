//! The arguments `allowed_special` and `disallowed_special`.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::error::quoted;
use crate::python::text::{type_name, utf8};
use crate::special::{SpecialPolicy, SpecialSelection};

/// The text of a special token in the argument `name`.
///
/// # Errors
/// `TypeError` for anything but a str or bytes, `ValueError` for what has no UTF-8.
pub(super) fn special_text(name: &str, token: &Bound<'_, PyAny>) -> PyResult<String> {
    match token.cast::<PyBytes>() {
        Ok(bytes) => String::from_utf8(bytes.as_bytes().into())
            .map_err(|_| PyValueError::new_err(format!("{name}: expected UTF-8, got {token}"))),
        Err(_) if token.is_instance_of::<PyString>() => Ok(utf8(name, token)?.into()),
        Err(_) => {
            let got = type_name(token);
            Err(PyTypeError::new_err(format!(
                "{name}: expected str or bytes, got {got}"
            )))
        }
    }
}

/// The selection that the argument `name` makes: a set of strings, or "all".
///
/// # Errors
/// `TypeError` for anything else, and as [`special_text`].
pub(super) fn selection(name: &str, given: &Bound<'_, PyAny>) -> PyResult<SpecialSelection> {
    let wrong = |got| {
        let expected = "expected 'all' or a collection of str or bytes";
        PyTypeError::new_err(format!("{name}: {expected}, got {got}"))
    };
    if given.is_instance_of::<PyString>() {
        return match utf8(name, given)? {
            "all" => Ok(SpecialSelection::All),
            word => Err(wrong(format!("the str {}", quoted(word)))),
        };
    }
    let strings = given.try_iter().map_err(|_| wrong(type_name(given)))?;
    let strings = strings.map(|item| special_text(name, &item?));
    Ok(SpecialSelection::Only(strings.collect::<PyResult<_>>()?))
}

/// Refuse a text with a disallowed special token.
///
/// # Errors
/// `ValueError` with tiktoken's message, word for word, because programs match on it.
pub(super) fn check(policy: &SpecialPolicy<'_>, text: &str) -> PyResult<()> {
    match policy.disallowed_in(text) {
        None => Ok(()),
        Some(token) => Err(refusal(token)),
    }
}

#[cold]
fn refusal(token: &str) -> PyErr {
    let quoted = Python::attach(|py| Ok(PyString::new(py, token).repr()?.to_string()));
    match quoted {
        Ok(token) => PyValueError::new_err(format!(
            "Encountered text corresponding to disallowed special token {token}.\n\
             If you want this text to be encoded as a special token, \
             pass it to `allowed_special`, e.g. `allowed_special={{{token}, ...}}`.\n\
             If you want this text to be encoded as normal text, disable the check for this token \
             by passing `disallowed_special=(enc.special_tokens_set - {{{token}}})`.\n\
             To disable this check for all special tokens, pass `disallowed_special=()`.\n"
        )),
        Err(error) => error,
    }
}
