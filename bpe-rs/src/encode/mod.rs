//! Pieces to ids.

use crate::error::{Error, Result};
use crate::pretokenize::Pretokenizer;
use crate::vocab::{Merger, MissingByte, Vocab};

/// Encode text without special tokens, one piece after the other: the slow twin of every faster
/// path.
///
/// Errors: `Pattern` when the regex engine gives up, `Invalid` for a byte without a token.
pub fn encode_plain(vocab: &Vocab, pattern: &Pretokenizer, text: &str) -> Result<Vec<u32>> {
    let (mut merger, mut numbers, mut ids) = (Merger::default(), Vec::new(), Vec::new());
    let mut failed = None;
    pattern.pieces(text, &mut |piece| {
        let bytes = &text.as_bytes()[piece];
        if failed.is_none() {
            failed = encode_piece(vocab, &mut merger, &mut numbers, bytes, &mut ids).err();
        }
    })?;
    failed.map_or(Ok(ids), Err)
}

/// Append the ids of one piece to `ids`.
///
/// Errors: `Invalid` for a byte without a token.
pub fn encode_piece(
    vocab: &Vocab,
    merger: &mut Merger,
    numbers: &mut Vec<u32>,
    piece: &[u8],
    ids: &mut Vec<u32>,
) -> Result<()> {
    if let Some(id) = vocab.whole_piece(piece) {
        ids.push(id);
        return Ok(());
    }
    numbers.clear();
    merger.merge(vocab, piece, numbers);
    for &number in numbers.iter() {
        match (vocab.id(number), vocab.missing_byte()) {
            (Some(id), _) | (None, MissingByte::Id(id)) => ids.push(id),
            (None, MissingByte::Skip) => {}
            (None, MissingByte::Error) => {
                return Err(Error::invalid(format!(
                    "byte 0x{number:02x} has no token in this vocabulary: expected a token for \
                     each of the 256 bytes, or text that needs none of the missing ones"
                )))
            }
        }
    }
    Ok(())
}
