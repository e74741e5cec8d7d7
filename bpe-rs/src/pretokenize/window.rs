//! What the second pass of the vector scanner works on: the class masks of a window, and bit
//! operations that reach across the borders of 64-byte blocks.
//!
//! A pattern's alternatives become statements about neighbouring bits. A bit's neighbour can be in
//! the block before, so functions take the words of two blocks.

use super::masks::{Mask, Masks};

/// A window whose bytes are classified and whose starts are to be marked. The rules for GPT-2 are
/// in `gpt2_starts.rs`, those for all other patterns in `word_starts.rs`.
pub(super) struct Window<'a> {
    pub(super) masks: &'a Masks,
    pub(super) blocks: usize,
    pub(super) text: &'a [u8],
    /// The window is `text[from..to]`.
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Window<'_> {
    /// The position in the text of the lowest bit of `mask`, a word of block `k`.
    #[inline(always)]
    pub(super) fn position(&self, k: usize, mask: u64) -> usize {
        self.from + 64 * k + mask.trailing_zeros() as usize
    }

    /// Set or clear the start at position `at` of the text, if it is in the window.
    #[inline(always)]
    pub(super) fn put(&self, starts: &mut Mask, at: usize, start: bool) {
        let at = at - self.from;
        if at < 64 * self.blocks {
            let bit = 1 << (at % 64);
            starts[at / 64] = if start {
                starts[at / 64] | bit
            } else {
                starts[at / 64] & !bit
            };
        }
    }

    /// Whether `mask` has the byte at position `at` of the text.
    #[inline(always)]
    pub(super) fn has(&self, mask: &Mask, at: usize) -> bool {
        let at = at - self.from;
        at < 64 * self.blocks && mask[at / 64] >> (at % 64) & 1 != 0
    }

    /// Move starts in block `k` that are on a character's inner bytes down to its first byte.
    #[inline(always)]
    pub(super) fn move_to_first_byte(&self, starts: &mut Mask, k: usize, candidates: u64) {
        let inner = &self.masks.inner;
        let mut bits = candidates & inner[k];
        while bits != 0 {
            let bit = bits & bits.wrapping_neg();
            bits ^= bit;
            starts[k] &= !bit;
            let mut at = 64 * k + bit.trailing_zeros() as usize;
            while inner[at / 64] >> (at % 64) & 1 != 0 {
                at -= 1;
            }
            starts[at / 64] |= 1 << (at % 64);
        }
    }
}

/// Every bit moved to the next byte; `previous` is the same mask in the previous block.
#[inline(always)]
pub(super) fn up(mask: u64, previous: u64) -> u64 {
    mask << 1 | previous >> 63
}

/// The bits of `run` from each bit of `seed`, itself a subset of `run`, to the end of its run.
#[inline(always)]
pub(super) fn flood(run: u64, seed: u64) -> u64 {
    // The carry of an addition runs through ones.
    ((run.wrapping_add(seed) ^ run) & run) | seed
}
