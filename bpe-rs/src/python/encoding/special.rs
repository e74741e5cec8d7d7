//! The arguments `allowed_special` and `disallowed_special`.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::python::text::type_name;
use crate::special::{SpecialPolicy, SpecialSelection};

/// The text of a special token, given as str or as bytes in UTF-8.
pub(super) fn special_text(token: &Bound<'_, PyAny>) -> Option<String> {
    match token.cast::<PyBytes>() {
        Ok(bytes) => String::from_utf8(bytes.as_bytes().into()).ok(),
        Err(_) => token.extract().ok(),
    }
}

/// The selection that an argument makes: a set, or "all".
///
/// # Errors
/// `TypeError` for anything else.
pub(super) fn selection(argument: &str, given: &Bound<'_, PyAny>) -> PyResult<SpecialSelection> {
    if let Ok(word) = given.cast::<PyString>() {
        return if word.to_str()? == "all" {
            Ok(SpecialSelection::All)
        } else {
            Err(PyTypeError::new_err(format!(
                "expected {argument} to be \"all\" or a collection of str, got the str {word:?}"
            )))
        };
    }
    let wrong = |got: &Bound<'_, PyAny>| {
        PyTypeError::new_err(format!(
            "expected {argument} to be \"all\" or a collection of str or bytes, got {}",
            type_name(got)
        ))
    };
    let string = |item: PyResult<Bound<'_, PyAny>>| {
        let item = item?;
        special_text(&item).ok_or_else(|| wrong(&item))
    };
    let strings = given.try_iter().map_err(|_| wrong(given))?.map(string);
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
