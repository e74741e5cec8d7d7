//! Merging pieces of up to sixteen or thirty-two bytes, several side by side.
//!
//! A merge is a chain of look-ups that each wait for memory; four pieces taken in turn wait
//! together.

use super::{PairTable, NONE};
use crate::simd::{Keys, Lanes};

/// One piece of up to `N` bytes, 16 or 32, on its way.
///
/// A part stays where its first byte was; a key is the rank of a part with its right neighbour
/// above the part's place, so that the smallest key is also the leftmost. The keys are wherever
/// the level finds the smallest of them fastest.
#[derive(Clone, Copy)]
pub(crate) struct SmallMerge<S: Lanes, const N: usize> {
    parts: [u32; N],
    keys: [S::Keys; 2],
    /// Places where a part begins.
    live: u32,
}

/// Bits of a place.
const PLACE: u32 = 5;

#[inline(always)]
fn key(rank: u32, at: usize) -> u32 {
    rank << PLACE | at as u32
}

impl<S: Lanes, const N: usize> SmallMerge<S, N> {
    const LAST: usize = {
        assert!(N == 16 || N == 32);
        N - 1
    };

    /// Nothing to merge.
    #[inline(always)]
    pub(crate) fn empty() -> Self {
        Self {
            parts: [0; N],
            // SAFETY: `S` comes from `dispatch!` or is `Portable`.
            keys: [unsafe { S::keys(&[u32::MAX; 16]) }; 2],
            live: 0,
        }
    }

    /// Begin with the first `len` of `bytes`, at least one.
    #[inline(always)]
    pub(crate) fn new(bytes: [u8; N], len: usize, byte_pair: impl Fn(u8, u8) -> u32) -> Self {
        let mut keys = [[u32::MAX; 16]; 2];
        for at in 0..(len - 1).min(N - 1) {
            keys[at / 16][at % 16] = key(byte_pair(bytes[at], bytes[at + 1]), at);
        }
        Self {
            parts: bytes.map(u32::from),
            // SAFETY: `S` comes from `dispatch!` or is `Portable`.
            keys: unsafe { [S::keys(&keys[0]), S::keys(&keys[1])] },
            live: ((1u64 << len.min(N)) - 1) as u32,
        }
    }

    /// Begin with the bytes of `piece`, from one to `N`.
    #[inline(always)]
    pub(crate) fn of(piece: &[u8], byte_pair: impl Fn(u8, u8) -> u32) -> Self {
        let mut bytes = [0; N];
        bytes[..piece.len()].copy_from_slice(piece);
        Self::new(bytes, piece.len(), byte_pair)
    }

    /// Make one merge; whether there was one to make.
    ///
    /// Without branches: when the last merge was is different for each piece.
    #[inline(always)]
    pub(crate) fn step(&mut self, pairs: &PairTable) -> bool {
        let mut best = self.keys[0].least();
        if N == 32 {
            best = best.min(self.keys[1].least());
        }
        let rank = best >> PLACE;
        let more = rank < NONE;
        let all = if more { u32::MAX } else { 0 };
        let at = best as usize & Self::LAST;
        let above = self.live & (u32::MAX << at << 1);
        let gone = above & above.wrapping_neg() & all;
        let further = above & above.wrapping_sub(1);
        self.live ^= gone;
        self.parts[at] = if more { rank } else { self.parts[at] };
        let after = self.parts[further.trailing_zeros() as usize & Self::LAST];
        let below = self.live & !(u32::MAX << at);
        let before = (31 - (below | 1).leading_zeros()) as usize & Self::LAST;
        // Both look-ups at once, needed or not: the memory works on them side by side.
        let right = pairs.get::<S>(rank, after);
        let left = pairs.get::<S>(self.parts[before], rank);
        let right = if further == 0 {
            u32::MAX
        } else {
            key(right, at)
        };
        let has_left = if below == 0 { 0 } else { all };
        self.set(gone, u32::MAX);
        self.set(1 << at & all, right);
        self.set(1 << before & has_left, key(left, before));
        more
    }

    /// Set the key at the one place in `place`, if there is one.
    #[inline(always)]
    fn set(&mut self, place: u32, key: u32) {
        self.keys[0] = self.keys[0].set(place as u16, key);
        if N == 32 {
            self.keys[1] = self.keys[1].set((place >> 16) as u16, key);
        }
    }

    /// How many parts there are.
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.live.count_ones() as usize
    }

    /// What has become of the piece, part by part.
    #[inline(always)]
    pub(crate) fn parts(&self) -> impl Iterator<Item = u32> + '_ {
        let mut live = self.live;
        std::iter::from_fn(move || {
            let at = live.trailing_zeros() as usize;
            live &= live.wrapping_sub(1);
            self.parts.get(at).copied()
        })
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
