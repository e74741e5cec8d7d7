//! Merging one short piece, without branches.
//!
//! Merging a piece is a chain of look-ups in the pair table, each of which waits for memory. A
//! caller that steps several pieces in turn makes them wait at the same time.

use super::pairs::{PairTable, NO_MERGE};
use crate::simd::{Keys, Lanes};

/// The state of merging one piece of up to `N` bytes or symbols; `N` is 16 or 32.
///
/// A part stays at the position of its first byte or symbol. The key of a part is the number that it and its
/// right neighbour merge into, with the part's position in the low bits: the smallest key is the
/// next merge, the leftmost one of equals. The SIMD level decides how the keys are stored, so that
/// it finds the smallest fastest.
#[derive(Clone, Copy)]
pub(crate) struct SmallMerge<S: Lanes, const N: usize> {
    parts: [u32; N],
    keys: [S::Keys; 2],
    /// Bit `i` is set if a part begins at position `i`.
    live: u32,
    /// Whether no pair of parts has been looked up yet.
    waits: bool,
    last: LastMerge,
}

/// A merge whose new pairs have not been looked up yet.
#[derive(Clone, Copy, Default)]
struct LastMerge {
    /// The number of the new part, and of the parts before and after it.
    number: u32,
    before: u32,
    after: u32,
    /// The positions of the part before it and of the new part, as a set bit; 0 where there is no pair
    /// with the part before, or no merge.
    before_at: u32,
    at: u32,
    /// Whether there is a part after it.
    has_after: bool,
}

/// What a piece consists of before merging: bytes, or the merge numbers of its symbols.
pub(crate) trait Start: Copy + Default {
    /// Its merge number.
    fn number(self) -> u32;
}

impl Start for u8 {
    #[inline(always)]
    fn number(self) -> u32 {
        self.into()
    }
}

impl Start for u32 {
    #[inline(always)]
    fn number(self) -> u32 {
        self
    }
}

/// Bits of a position in a key.
const POSITION_BITS: u32 = 5;

#[inline(always)]
fn key(number: u32, at: usize) -> u32 {
    number << POSITION_BITS | at as u32
}

impl<S: Lanes, const N: usize> SmallMerge<S, N> {
    const LAST: usize = {
        assert!(N == 16 || N == 32);
        N - 1
    };

    /// Without parts: nothing merges.
    #[inline(always)]
    pub(crate) fn empty() -> Self {
        Self {
            parts: [0; N],
            // SAFETY: `S` comes from `dispatch!` or is `Portable`.
            keys: [unsafe { S::Keys::load(&[u32::MAX; 16]) }; 2],
            live: 0,
            waits: false,
            last: LastMerge::default(),
        }
    }

    /// Start with the first `len` of `starts`, at least one; `pair` gives the numbers of pairs.
    #[inline(always)]
    pub(crate) fn new<T: Start>(starts: [T; N], len: usize, pair: impl Fn(T, T) -> u32) -> Self {
        let mut keys = [[u32::MAX; 16]; 2];
        for at in 0..(len - 1).min(N - 1) {
            keys[at / 16][at % 16] = key(pair(starts[at], starts[at + 1]), at);
        }
        Self {
            parts: starts.map(T::number),
            // SAFETY: `S` comes from `dispatch!` or is `Portable`.
            keys: unsafe { [S::Keys::load(&keys[0]), S::Keys::load(&keys[1])] },
            live: ((1u64 << len.min(N)) - 1) as u32,
            waits: false,
            last: LastMerge::default(),
        }
    }

    /// Start with the first `len` of `parts`, at least one. Their pairs are looked up by the first step, so
    /// that what the caller has prefetched has time to arrive from memory.
    #[inline(always)]
    pub(crate) fn waiting(parts: [u32; N], len: usize) -> Self {
        Self {
            waits: true,
            ..Self::new(parts, len, |_, _| NO_MERGE)
        }
    }

    /// Look up the pairs of a merge that waits.
    #[inline(always)]
    fn begin(&mut self, pairs: &PairTable) {
        let pair = |a, b| pairs.get::<S>(a, b);
        *self = Self::new(self.parts, self.count(), pair);
    }

    /// Start with what `piece` consists of, one to `N` of them.
    #[inline(always)]
    pub(crate) fn of<T: Start>(piece: &[T], pair: impl Fn(T, T) -> u32) -> Self {
        let mut starts = [T::default(); N];
        starts[..piece.len()].copy_from_slice(piece);
        Self::new(starts, piece.len(), pair)
    }

    /// Look up the new pairs of the last merge, then merge the pair with the smallest key; returns
    /// whether there was one, or whether the piece waited.
    ///
    /// The pairs that this makes are looked up by the next step: until then, while other pieces take
    /// their steps, the memory is fetched.
    ///
    /// Without branches, because the number of merges differs from piece to piece and would be
    /// mispredicted. If no pair is left, the masks below are zero and nothing changes.
    #[inline(always)]
    pub(crate) fn step(&mut self, pairs: &PairTable) -> bool {
        if self.waits {
            self.begin(pairs);
            return true;
        }
        let last = self.last;
        let right = pairs.get::<S>(last.number, last.after);
        let left = pairs.get::<S>(last.before, last.number);
        let at = last.at.trailing_zeros() as usize & Self::LAST;
        let right = if last.has_after {
            key(right, at)
        } else {
            u32::MAX
        };
        let before = last.before_at.trailing_zeros() as usize & Self::LAST;
        self.set(last.at, right);
        self.set(last.before_at, key(left, before));

        let mut best = self.keys[0].least();
        if N == 32 {
            best = best.min(self.keys[1].least());
        }
        let number = best >> POSITION_BITS;
        let found = number < NO_MERGE;
        let all = if found { u32::MAX } else { 0 };
        // The part at `at` absorbs the one at `gone`; `before` and `after` are their neighbours.
        let at = best as usize & Self::LAST;
        let above = self.live & (u32::MAX << at << 1);
        let gone = above & above.wrapping_neg() & all;
        let further = above & above.wrapping_sub(1);
        self.live ^= gone;
        self.parts[at] = if found { number } else { self.parts[at] };
        let after = self.parts[further.trailing_zeros() as usize & Self::LAST];
        let below = self.live & !(u32::MAX << at);
        let before_at = (31 - (below | 1).leading_zeros()) as usize & Self::LAST;
        let has_before = if below == 0 { 0 } else { all };
        self.set(gone, u32::MAX);
        self.last = LastMerge {
            number,
            before: self.parts[before_at],
            after,
            before_at: 1 << before_at & has_before,
            at: 1 << at & all,
            has_after: further != 0,
        };
        pairs.prefetch(number, after);
        pairs.prefetch(self.last.before, number);
        found
    }

    /// Set the key at the position whose bit is set in `position`; at most one bit is.
    #[inline(always)]
    fn set(&mut self, position: u32, key: u32) {
        self.keys[0] = self.keys[0].set(position as u16, key);
        if N == 32 {
            self.keys[1] = self.keys[1].set((position >> 16) as u16, key);
        }
    }

    /// The number of parts.
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.live.count_ones() as usize
    }

    /// The merge numbers of the parts, in order.
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
