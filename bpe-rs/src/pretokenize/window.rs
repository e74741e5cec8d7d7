//! Second pass of the vector scanner: what it works on, and the rule for GPT-2, which cuts runs of
//! letters, numbers and others, each with the ' ' before it.
//!
//! A pattern's alternatives become statements about neighbouring bits. A bit's neighbour can be in
//! the block before, so functions take the words of two blocks.

use super::classes::{Mask, Masks};
use super::patterns::contraction;

/// A window whose bytes are classified and whose starts are to be marked. The rules for all patterns
/// but GPT-2's are in `word_starts.rs`.
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

/// The masks of the previous block.
#[derive(Default)]
struct Previous {
    letter: u64,
    number: u64,
    other: u64,
    space: u64,
    blank: u64,
}

impl Window<'_> {
    /// Mark the starts of the window's pieces.
    #[inline(always)]
    pub(super) fn mark_gpt2(&self, starts: &mut Mask) {
        let m = self.masks;
        let mut previous = Previous::default();
        // An apostrophe at a block's end clears a start of the next block, so each block's
        // apostrophes wait until the next one's starts are marked.
        let (mut waiting, mut waiting_block) = (0, 0);
        for k in 0..self.blocks {
            let (letter, number, space) = (m.letter[k], m.number[k], m.space[k]);
            let other = !(letter | number | space);
            let runs = letter & !up(letter, previous.letter)
                | number & !up(number, previous.number)
                | other & !up(other, previous.other);
            // A run after a blank begins with the blank, which is the last of its white space.
            let runs = runs & !up(m.blank[k], previous.blank);
            let last = space & !(space >> 1 | m.space[k + 1] << 63);
            starts[k] |= runs | space & !up(space, previous.space) | last;
            if last & m.inner[k] != 0 {
                self.move_to_first_byte(starts, k, last);
            }
            self.end_contractions(starts, waiting_block, waiting);
            (waiting, waiting_block) = (runs & m.apostrophe[k], k);
            previous = Previous {
                letter,
                number,
                other,
                space,
                blank: m.blank[k],
            };
        }
        self.end_contractions(starts, waiting_block, waiting);
    }

    /// Of the `apostrophes` in block `k` that start a piece, those of contractions: the piece ends
    /// with the contraction's letters, and does not end after the apostrophe.
    #[inline(always)]
    fn end_contractions(&self, starts: &mut Mask, k: usize, mut apostrophes: u64) {
        while apostrophes != 0 {
            let at = self.position(k, apostrophes);
            apostrophes &= apostrophes - 1;
            let len = contraction(self.text, at, false);
            if len > 0 {
                self.put(starts, at + 1, false);
                self.put(starts, at + len, true);
            }
        }
    }
}
