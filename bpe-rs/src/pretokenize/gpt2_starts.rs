//! Second pass of the vector scanner for GPT-2: letters, numbers and others, each run with the ' '
//! before it.

use super::masks::Mask;
use super::scalar::contraction;
use super::window::{up, Window};

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
