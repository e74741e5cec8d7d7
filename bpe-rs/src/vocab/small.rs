//! Merging pieces of up to sixteen bytes, several side by side.
//!
//! A merge is a chain of look-ups that each wait for memory; four pieces taken in turn wait
//! together.

use super::{PairTable, NONE};
use crate::simd::Lanes;

/// Bytes of a piece that fits.
pub(crate) const SMALL: usize = 16;

/// One piece on its way.
///
/// A part stays where its first byte was; a key is the rank of a part with its right neighbour
/// above the part's place, so that the smallest key is also the leftmost.
#[derive(Clone, Copy)]
pub(crate) struct SmallMerge {
    parts: [u32; SMALL],
    keys: [u32; SMALL],
    /// Places where a part begins.
    live: u32,
}

#[inline(always)]
fn key(rank: u32, at: usize) -> u32 {
    rank << 4 | at as u32
}

impl SmallMerge {
    /// Nothing to merge.
    pub(crate) const EMPTY: Self = Self {
        parts: [0; SMALL],
        keys: [u32::MAX; SMALL],
        live: 0,
    };

    /// Begin with the bytes of `piece`, at most [`SMALL`].
    #[inline(always)]
    pub(crate) fn new(piece: &[u8], byte_pair: impl Fn(u8, u8) -> u32) -> Self {
        let mut small = Self::EMPTY;
        for (at, &byte) in piece.iter().enumerate().take(SMALL) {
            small.parts[at] = u32::from(byte);
        }
        for (at, two) in piece.windows(2).enumerate().take(SMALL) {
            small.keys[at] = key(byte_pair(two[0], two[1]), at);
        }
        small.live = (1u32 << piece.len().min(SMALL)) - 1;
        small
    }

    /// Make one merge; whether there was one to make.
    #[inline(always)]
    pub(crate) fn step<S: Lanes>(&mut self, pairs: &PairTable) -> bool {
        const LAST: usize = SMALL - 1;
        let best = S::smallest(&self.keys);
        let rank = best >> 4;
        if rank >= NONE {
            return false;
        }
        let at = best as usize & LAST;
        let above = self.live & (u32::MAX << at << 1);
        let gone = above.trailing_zeros() as usize & LAST;
        let further = above & above.wrapping_sub(1);
        self.live ^= 1 << gone;
        self.parts[at] = rank;
        self.keys[gone] = u32::MAX;
        let after = self.parts[further.trailing_zeros() as usize & LAST];
        let below = self.live & !(u32::MAX << at);
        let before = (31 - (below | 1).leading_zeros()) as usize & LAST;
        // Both look-ups at once, needed or not: the memory works on them side by side.
        let right = pairs.get::<S>(rank, after);
        let left = pairs.get::<S>(self.parts[before], rank);
        self.keys[at] = if further == 0 {
            u32::MAX
        } else {
            key(right, at)
        };
        if below != 0 {
            self.keys[before] = key(left, before);
        }
        true
    }

    /// Append what has become of the piece.
    #[inline(always)]
    pub(crate) fn write(&self, out: &mut Vec<u32>) {
        let mut live = self.live;
        while live != 0 {
            out.push(self.parts[live.trailing_zeros() as usize & (SMALL - 1)]);
            live &= live - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::simd::Portable;
    use crate::vocab::{Merger, Vocab};

    #[test]
    fn small_and_long_pieces_merge_alike() {
        let vocab = Vocab::published("r50k_base").unwrap();
        let mut merger = Merger::default();
        let text = "The quick brown fox's 12345 \u{4f60}\u{597d} internationalization  aaaaaaaaaa";
        for len in 1..=16 {
            for from in 0..text.len() - len {
                let piece = &text.as_bytes()[from..from + len];
                let (mut small, mut long) = (Vec::new(), Vec::new());
                merger.merge::<Portable>(&vocab, piece, &mut small);
                merger.merge_slowly(&vocab, piece, &mut long);
                assert_eq!(small, long, "{piece:?}");
            }
        }
    }
}
