//! Ids to bytes.

use crate::error::{Error, Result};
use crate::vocab::Vocab;

/// Append the bytes of `ids` to `out`; ids that are no tokens of `vocab` are asked of `special`.
///
/// Errors: `NotFound` for an id that is neither.
pub fn decode_into<'a>(
    vocab: &'a Vocab,
    special: impl Fn(u32) -> Option<&'a [u8]>,
    ids: &[u32],
    out: &mut Vec<u8>,
) -> Result<()> {
    for &id in ids {
        let token = vocab.tokens().get(id).or_else(|| special(id));
        out.extend_from_slice(
            token.ok_or_else(|| Error::not_found(format!("Invalid token for decoding: {id}")))?,
        );
    }
    Ok(())
}
