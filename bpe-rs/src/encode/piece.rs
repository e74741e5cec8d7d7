//! Single pieces to ids by merging, without caches.

use std::mem::take;

use super::value::{Value, MAX_IDS};
use crate::error::{Error, Result};
use crate::simd::{Lanes, Portable};
use crate::vocab::{Merger, MissingByte, Vocab, MAX_KEPT_PARTS, MOST_PARTS};

/// Longer pieces start from bytes: their numbers would take four times the memory of the piece.
const MOST_BYTES_FROM_CHARACTERS: usize = MAX_KEPT_PARTS;
/// A larger buffer for ids is freed after use.
const KEPT_IDS: usize = 1 << 16;

/// Encodes single pieces by merging, without caches. The caches are filled by it and tested
/// against it.
#[derive(Debug, Default)]
pub struct PieceEncoder {
    pub(super) merger: Merger,
    /// Reusable buffer for merge numbers.
    pub(super) numbers: Vec<u32>,
    /// Reusable buffer for ids.
    ids: Vec<u32>,
    /// Reusable buffer for the symbols of a piece.
    pub(super) symbols: Vec<u32>,
}

impl PieceEncoder {
    /// Append the ids of one piece to `ids`.
    ///
    /// # Errors
    /// `Invalid` for a byte without a token.
    pub fn encode(&mut self, vocab: &Vocab, piece: &[u8], ids: &mut Vec<u32>) -> Result<()> {
        match vocab.symbols() {
            None => self.encode_with::<Portable>(vocab, piece, ids),
            Some(symbols) => self.encode_symbols::<Portable>(vocab, symbols, piece, ids),
        }
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
        if self.start_from_characters(vocab, piece) {
            self.merger
                .merge_symbols::<S>(vocab, &self.symbols, &mut self.numbers);
        } else {
            self.merger.merge::<S>(vocab, piece, &mut self.numbers);
        }
        self.merger.finished()?;
        let written = self.ids_of_numbers(vocab, ids);
        if self.numbers.capacity() > MAX_KEPT_PARTS {
            self.numbers = Vec::new();
        }
        written
    }

    /// Put what the characters of `piece` become alone into `self.symbols`; `false` where merging has to
    /// start from bytes, or should because there is little to gain.
    #[inline(always)]
    fn start_from_characters(&mut self, vocab: &Vocab, piece: &[u8]) -> bool {
        if !has_long_characters(piece) || piece.len() > MOST_BYTES_FROM_CHARACTERS {
            return false;
        }
        let Some(starts) = vocab.char_starts_if_worth(|| 1) else {
            return false;
        };
        self.symbols.clear();
        self.symbols.resize(piece.len() + MOST_PARTS, 0);
        let count = starts.write(vocab.pairs(), (piece, 0..piece.len()), &mut self.symbols);
        self.symbols.truncate(count.unwrap_or(0));
        count.is_some()
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

    /// The ids that `encode` appends to an empty vector as a value; `len` is the piece's length.
    ///
    /// # Errors
    /// That of `encode`; `Invalid` for a piece of 2^28 tokens.
    #[inline(always)]
    pub(super) fn value(
        &mut self,
        len: usize,
        arena: &mut Vec<u32>,
        encode: impl FnOnce(&mut Self, &mut Vec<u32>) -> Result<()>,
    ) -> Result<Value> {
        let mut ids = take(&mut self.ids);
        ids.clear();
        let value = encode(self, &mut ids).and_then(|()| {
            if ids.len() > MAX_IDS || arena.len() > u32::MAX as usize - MAX_IDS {
                return Err(Error::invalid(format!(
                    "expected pieces of fewer than 2^28 tokens, got one of {len} bytes"
                )));
            }
            Ok(Value::new(&ids, arena))
        });
        if ids.capacity() <= KEPT_IDS {
            self.ids = ids;
        }
        value
    }
}

#[cfg(test)]
impl PieceEncoder {
    /// [`Self::encode`] that always starts from bytes: its reference for a vocabulary of bytes.
    pub(super) fn encode_from_bytes(&mut self, vocab: &Vocab, piece: &[u8], ids: &mut Vec<u32>) {
        if let Some(id) = vocab.whole_piece(piece) {
            return ids.push(id);
        }
        self.numbers.clear();
        self.merger
            .merge::<Portable>(vocab, piece, &mut self.numbers);
        self.ids_of_numbers(vocab, ids).unwrap();
    }
}

/// Whether there is a character of three bytes or more. To the others, starting from characters saves
/// one merge each at most, which looking them up costs as well.
#[inline(always)]
pub(super) fn has_long_characters(piece: &[u8]) -> bool {
    piece.iter().fold(0, |most, &byte| byte.max(most)) >= 0xE0
}
