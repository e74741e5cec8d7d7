//! The constructor's arguments, which are tiktoken's.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::encoding::Encoding;
use crate::pretokenize::Pretokenizer;
use crate::special::SpecialTokens;
use crate::vocab::Vocab;

/// The encoding made of these parts; with only a name, the published encoding of that name.
///
/// # Errors
/// `ValueError` for parts that contradict each other or do not make `explicit_n_vocab` ids.
pub(super) fn from_arguments(
    name: &str,
    pat_str: Option<&str>,
    ranks: Option<&Bound<'_, PyDict>>,
    special_tokens: Option<&Bound<'_, PyDict>>,
    explicit_n_vocab: Option<usize>,
) -> PyResult<Encoding> {
    let (Some(pattern), Some(ranks)) = (pat_str, ranks) else {
        if pat_str.is_some() || ranks.is_some() || special_tokens.is_some() {
            return Err(PyValueError::new_err(
                "expected pat_str and mergeable_ranks together, or neither for a published encoding",
            ));
        }
        return Ok(crate::registry::get_encoding(name)?);
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
