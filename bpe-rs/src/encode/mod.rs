//! Pieces to ids.

pub mod threads;

use crate::error::{Error, Result};
use crate::pretokenize::Pretokenizer;
use crate::vocab::{Merger, MissingByte, Vocab};

/// Buffers of one thread, reusable.
#[derive(Debug, Default)]
pub struct Scratch {
    merger: Merger,
    numbers: Vec<u32>,
}

/// Append the ids of `text`, special tokens as plain text.
///
/// Errors: `Pattern` when the regex engine gives up, `Invalid` for a byte without a token.
pub fn encode_into(
    vocab: &Vocab,
    pattern: &Pretokenizer,
    text: &str,
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let mut failed = None;
    pattern.pieces(text, &mut |piece| {
        let bytes = &text.as_bytes()[piece];
        if failed.is_none() {
            failed = encode_piece(vocab, scratch, bytes, ids).err();
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Append the ids of one piece to `ids`.
///
/// Errors: `Invalid` for a byte without a token.
pub fn encode_piece(
    vocab: &Vocab,
    scratch: &mut Scratch,
    piece: &[u8],
    ids: &mut Vec<u32>,
) -> Result<()> {
    if let Some(id) = vocab.whole_piece(piece) {
        ids.push(id);
        return Ok(());
    }
    let Scratch { merger, numbers } = scratch;
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
