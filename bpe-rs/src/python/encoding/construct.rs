//! The constructor's arguments, which are tiktoken's.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::encoding::Encoding as Core;
use crate::pretokenize::Pretokenizer;
use crate::special::SpecialTokens;
use crate::vocab::Vocab;

/// The encoding of these parts, or with only a name a published one.
///
/// Errors: `ValueError` for parts that do not fit together or do not make `explicit_n_vocab` ids.
pub(super) fn core_of(
    name: &str,
    pat_str: Option<&str>,
    ranks: Option<&Bound<'_, PyDict>>,
    special_tokens: Option<&Bound<'_, PyDict>>,
    explicit_n_vocab: Option<usize>,
) -> PyResult<Core> {
    let (Some(pattern), Some(ranks)) = (pat_str, ranks) else {
        if pat_str.is_some() || ranks.is_some() || special_tokens.is_some() {
            return Err(PyValueError::new_err(
                "expected pat_str and mergeable_ranks together, or neither for a published encoding",
            ));
        }
        return Ok(crate::registry::published(name)?);
    };
    let mut tokens = Vec::with_capacity(ranks.len());
    for (token, rank) in ranks {
        tokens.push((token.cast_into::<PyBytes>()?, rank.extract::<u32>()?));
    }
    let tokens = tokens.iter().map(|(token, rank)| (token.as_bytes(), *rank));
    let mut special = Vec::new();
    for (token, id) in special_tokens.into_iter().flatten() {
        special.push((token.extract::<String>()?, id.extract::<u32>()?));
    }
    let special = SpecialTokens::new(special)?;
    let core = Core::new(
        name,
        Vocab::from_ranks(tokens)?,
        Pretokenizer::new(pattern)?,
        special,
    );
    if let Some(expected) = explicit_n_vocab {
        let (tokens, special) = (core.vocab().len(), core.special().len());
        if tokens + special != expected {
            return Err(PyValueError::new_err(format!(
                "expected explicit_n_vocab={expected} tokens, got {tokens} mergeable and {special} special ones"
            )));
        }
        let highest = core.max_token_value();
        if highest.map(|id| id as usize + 1) != Some(expected) {
            return Err(PyValueError::new_err(format!(
                "expected ids 0 to {} for explicit_n_vocab={expected}, got {highest:?} as the highest",
                expected.saturating_sub(1)
            )));
        }
    }
    Ok(core)
}
