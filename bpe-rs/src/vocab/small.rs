//! Merging pieces of up to sixteen or thirty-two bytes, several side by side.
//!
//! A merge is a chain of look-ups that each wait for memory; four pieces taken in turn wait
//! together.

use super::{PairTable, NONE};
use crate::simd::Lanes;

/// One piece of up to `N` bytes, 16 or 32, on its way.
///
/// A part stays where its first byte was; a key is the rank of a part with its right neighbour
/// above the part's place, so that the smallest key is also the leftmost.
#[derive(Clone, Copy)]
pub(crate) struct SmallMerge<const N: usize> {
    parts: [u32; N],
    keys: [u32; N],
    /// Places where a part begins.
    live: u32,
}

/// Bits of a place.
const PLACE: u32 = 5;

#[inline(always)]
fn key(rank: u32, at: usize) -> u32 {
    rank << PLACE | at as u32
}

impl<const N: usize> SmallMerge<N> {
    const LAST: usize = {
        assert!(N == 16 || N == 32);
        N - 1
    };

    /// Nothing to merge.
    pub(crate) const EMPTY: Self = Self {
        parts: [0; N],
        keys: [u32::MAX; N],
        live: 0,
    };

    /// Begin with the bytes of `piece`, at most `N`.
    #[inline(always)]
    pub(crate) fn new(piece: &[u8], byte_pair: impl Fn(u8, u8) -> u32) -> Self {
        let mut small = Self::EMPTY;
        for (at, &byte) in piece.iter().enumerate().take(N) {
            small.parts[at] = u32::from(byte);
        }
        for (at, two) in piece.windows(2).enumerate().take(N) {
            small.keys[at] = key(byte_pair(two[0], two[1]), at);
        }
        small.live = ((1u64 << piece.len().min(N)) - 1) as u32;
        small
    }

    /// Make one merge; whether there was one to make.
    #[inline(always)]
    pub(crate) fn step<S: Lanes>(&mut self, pairs: &PairTable) -> bool {
        let best = S::smallest(&self.keys);
        let rank = best >> PLACE;
        if rank >= NONE {
            return false;
        }
        let at = best as usize & Self::LAST;
        let above = self.live & (u32::MAX << at << 1);
        let gone = above.trailing_zeros() as usize & Self::LAST;
        let further = above & above.wrapping_sub(1);
        self.live ^= 1 << gone;
        self.parts[at] = rank;
        self.keys[gone] = u32::MAX;
        let after = self.parts[further.trailing_zeros() as usize & Self::LAST];
        let below = self.live & !(u32::MAX << at);
        let before = (31 - (below | 1).leading_zeros()) as usize & Self::LAST;
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
            out.push(self.parts[live.trailing_zeros() as usize & Self::LAST]);
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
        for len in 1..=32 {
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
