//! Vocabularies with tokens of several words (SuperBPE), whose pieces are whole lines: merging in two
//! stages, so that a cache of words serves them, too.
//!
//! Let the first stage be the merges with the smallest numbers, before the first one whose token has the
//! end of a word and then a space in it. Where parts have smaller numbers than what they merge into, as
//! training makes them, no merge of the second stage makes one of the first possible: its result
//! has a larger number than every part of the first stage. So a piece merges as by the first stage
//! until that is done, and then by the second, whose symbols are the tokens of the first.
//!
//! No merge of the first stage crosses a place between two bytes that are neighbours in none of its
//! tokens, and none of the second a place between two symbols that are neighbours in none of its: what
//! lies between merges as it would alone. The places of the first kind are those between words.

use std::ops::Range;

use super::symbols::Neighbours;

/// The two stages of a vocabulary of bytes; `V` is the type of a vocabulary.
#[derive(Debug)]
pub(crate) struct Stages<V> {
    /// The first stage. Its ids are the merge numbers.
    pub(super) words: V,
    /// For each byte the bytes that follow it in a token of the first stage, as bits.
    pub(super) followers: Box<[[u64; 4]; 256]>,
    /// The symbols that are neighbours in a token of the second stage.
    pub(super) neighbours: Neighbours,
}

impl<V> Stages<V> {
    /// The first stage, whose ids are merge numbers.
    pub(crate) fn words(&self) -> &V {
        &self.words
    }

    /// Append to `ends` the ends of parts of `text[piece]` that the first stage merges independently,
    /// until the piece ends or there are more than `most`; returns the last end.
    #[inline]
    pub(crate) fn cut(
        &self,
        text: &[u8],
        piece: Range<usize>,
        most: usize,
        ends: &mut Vec<u32>,
    ) -> usize {
        const BLOCK: usize = 64;
        let mut at = piece.start + 1;
        while at < piece.end {
            let end = piece.end.min(at + BLOCK);
            let mut cuts = 0u64;
            for (offset, two) in text[at - 1..end].windows(2).enumerate() {
                let (before, after) = (usize::from(two[0]), usize::from(two[1]));
                let inside = self.followers[before][after / 64] >> (after % 64) & 1;
                cuts |= (inside ^ 1) << offset;
            }
            while cuts != 0 {
                ends.push(at as u32 + cuts.trailing_zeros());
                cuts &= cuts - 1;
            }
            if ends.len() > most {
                ends.truncate(most + 1);
                return ends[most] as usize;
            }
            at = end;
        }
        ends.push(piece.end as u32);
        piece.end
    }

    /// False if no merge of the second stage crosses the place between these two symbols.
    #[inline(always)]
    pub(crate) fn may_join(&self, left: u32, right: u32) -> bool {
        self.neighbours.may_have(left, right)
    }
}
