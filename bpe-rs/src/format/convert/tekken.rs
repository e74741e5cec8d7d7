//! `tekken.json`.

use super::options::LoadOptions;
use crate::encoding::Encoding;
use crate::error::Result;
use crate::format::tekken::Tekken;
use crate::pretokenize::Pretokenizer;
use crate::special::SpecialTokens;
use crate::vocab::Vocab;

/// The encoding that a file describes. Special tokens in a text are plain text unless the caller
/// allows them, as in mistral-common.
pub(super) fn from_tekken(file: Tekken, name: String, options: LoadOptions) -> Result<Encoding> {
    let pattern = options.pattern.unwrap_or(file.pattern);
    let special = options.special_tokens.unwrap_or(file.special);
    Ok(Encoding::new(
        name,
        Vocab::from_ranks(file.tokens)?,
        Pretokenizer::new(&pattern)?,
        SpecialTokens::new(special)?,
    ))
}
