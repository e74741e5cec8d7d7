//! One piece to ids by merging: the reference implementation of the caches, and what fills them.

use crate::error::{Error, Result};
use crate::simd::{Lanes, Portable};
use crate::vocab::{Merger, MissingByte, Vocab, MAX_KEPT_PARTS};

/// Encodes single pieces by merging, without caches.
#[derive(Debug, Default)]
pub struct PieceEncoder {
    merger: Merger,
    /// Reusable buffer for merge numbers.
    pub(super) numbers: Vec<u32>,
    /// Reusable buffer for ids.
    pub(super) ids: Vec<u32>,
}

impl PieceEncoder {
    /// Append the ids of one piece to `ids`.
    ///
    /// # Errors
    ///
    /// `Invalid` for a byte without a token.
    pub fn encode(&mut self, vocab: &Vocab, piece: &[u8], ids: &mut Vec<u32>) -> Result<()> {
        self.encode_with::<Portable>(vocab, piece, ids)
    }

    /// [`Self::encode`] on the current level.
    #[inline(always)]
    pub(super) fn encode_with<S: Lanes>(
        &mut self,
        vocab: &Vocab,
        piece: &[u8],
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        if let Some(id) = vocab.whole_piece(piece) {
            ids.push(id);
            return Ok(());
        }
        self.numbers.clear();
        self.merger.merge::<S>(vocab, piece, &mut self.numbers);
        self.merger.finished()?;
        let written = self.ids_of_numbers(vocab, ids);
        if self.numbers.capacity() > MAX_KEPT_PARTS {
            self.numbers = Vec::new();
        }
        written
    }

    /// Append the ids of `self.numbers` to `ids`.
    #[inline(always)]
    pub(super) fn ids_of_numbers(&self, vocab: &Vocab, ids: &mut Vec<u32>) -> Result<()> {
        for &number in &self.numbers {
            match (vocab.id(number), vocab.missing_byte()) {
                (Some(id), _) | (None, MissingByte::Id(id)) => ids.push(id),
                (None, MissingByte::Skip) => {}
                (None, MissingByte::Error) => {
                    return Err(Error::invalid(format!(
                        "byte 0x{number:02x} has no token in this vocabulary: expected a token \
                         for each of the 256 bytes, or text that needs none of the missing ones"
                    )))
                }
            }
        }
        Ok(())
    }
}
