//! The constructor's arguments, which are tiktoken's.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::special::special_text;
use crate::encoding::Encoding;
use crate::pretokenize::Pretokenizer;
use crate::python::text::type_name;
use crate::special::SpecialTokens;
use crate::vocab::Vocab;

/// The id in the dictionary that is the argument called `argument`.
///
/// # Errors
/// `TypeError` for another type, `OverflowError` for a number that is no id.
fn number(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<u32> {
    value.extract().map_err(|error: PyErr| {
        let what = format!("{argument}: expected ids from 0 to 4294967295, got {value}");
        match error.is_instance_of::<PyTypeError>(value.py()) {
            true => PyTypeError::new_err(what),
            false => PyOverflowError::new_err(what),
        }
    })
}

/// The encoding made of these parts; with only a name, the published encoding of that name.
///
/// # Errors
/// `ValueError` for parts that contradict each other or do not make `explicit_n_vocab` ids.
pub(super) fn from_arguments(
    name: &str,
    pattern: Option<&str>,
    ranks: Option<&Bound<'_, PyDict>>,
    special_tokens: Option<&Bound<'_, PyDict>>,
    explicit_n_vocab: Option<usize>,
) -> PyResult<Encoding> {
    let (Some(pattern), Some(ranks)) = (pattern, ranks) else {
        if pattern.is_some() || ranks.is_some() || special_tokens.is_some() {
            return Err(PyValueError::new_err(
                "expected pat_str and mergeable_ranks together, or neither for a published encoding",
            ));
        }
        return Ok(crate::registry::get_encoding(name)?);
    };
    let mut tokens = Vec::with_capacity(ranks.len());
    for (token, rank) in ranks {
        let token = token.cast_into::<PyBytes>().map_err(|error| {
            let got = type_name(&error.into_inner());
            PyTypeError::new_err(format!(
                "mergeable_ranks: expected keys of bytes, got {got}"
            ))
        })?;
        tokens.push((token, number("mergeable_ranks", &rank)?));
    }
    let tokens = tokens.iter().map(|(token, rank)| (token.as_bytes(), *rank));
    let mut special = Vec::new();
    for (token, id) in special_tokens.into_iter().flatten() {
        let text = special_text("special_tokens", &token)?;
        special.push((text, number("special_tokens", &id)?));
    }
    let special = SpecialTokens::new(special)?;
    let encoding = Encoding::new(
        name,
        Vocab::from_ranks(tokens)?,
        Pretokenizer::new(pattern)?,
        special,
    );
    if let Some(expected) = explicit_n_vocab {
        encoding.check_n_vocab(expected)?;
    }
    Ok(encoding)
}
