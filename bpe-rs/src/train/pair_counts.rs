//! Pairs of tokens: how often each occurs, and where its occurrences are listed.

use crate::memory::{LargeVec, Zeroable};
use crate::simd::prefetch;

/// (left id, right id) in one word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Pair(u64);

impl Pair {
    #[inline(always)]
    pub(super) fn new(left: u32, right: u32) -> Self {
        Self((left as u64) << 32 | right as u64)
    }

    #[inline(always)]
    pub(super) fn left(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub(super) fn right(self) -> u32 {
        self.0 as u32
    }

    /// A number that orders pairs by the left id, then by the right one.
    #[inline(always)]
    pub(super) fn key(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(super) fn from_key(key: u64) -> Self {
        Self(key)
    }

    /// Multiplicative hash; the table takes its top bits. The keys are ids that training numbers
    /// itself, so no input can be made to collide.
    #[inline(always)]
    pub(super) fn hash(self) -> u64 {
        (self.0 ^ (self.0 >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// Ids stay below `u32::MAX`, so no pair is this one.
const EMPTY: Pair = Pair(u64::MAX);

/// In place of a posting's index: the pair is not tracked.
pub(super) const UNTRACKED: u32 = u32::MAX;

/// How often a pair occurs, and the run of the posting array that lists where: a posting is the
/// start of a record that holds the pair, one for each occurrence in it.
#[derive(Clone, Copy)]
pub(super) struct PairCount {
    pub(super) pair: Pair,
    /// Occurrences in the text: those in a word times the word's count.
    pub(super) count: u64,
    /// First posting of the run.
    pub(super) start: u32,
    /// Number of postings: occurrences in the distinct words.
    pub(super) postings: u32,
}

// SAFETY: numbers.
unsafe impl Zeroable for PairCount {}

const VACANT: PairCount = PairCount {
    pair: EMPTY,
    count: 0,
    start: 0,
    postings: 0,
};

/// A hash table of pairs: open addressing with linear probing. Any number of slots is possible, so
/// that a table is hardly larger than it must be: at most five eighths are taken, and it grows by
/// a half.
pub(super) struct PairCounts {
    slots: LargeVec<PairCount>,
    len: usize,
}

impl Default for PairCounts {
    fn default() -> Self {
        // In tests few slots, so that tables grow there.
        Self::with_room_for(if cfg!(test) { 1 << 5 } else { 1 << 14 })
    }
}

/// Pairs that `slots` slots may hold. Half of the look-ups are of pairs that are not in the table; a
/// fuller table would make those slow.
fn room_in(slots: usize) -> usize {
    slots / 8 * 5
}

impl PairCounts {
    pub(super) fn with_room_for(pairs: usize) -> Self {
        let slots = ((pairs + 1).div_ceil(5) * 8).max(64);
        assert!(
            slots <= u32::MAX as usize,
            "more pairs than a hash can tell apart"
        );
        Self {
            slots: LargeVec::filled(slots, VACANT),
            len: 0,
        }
    }

    /// Where the search for `pair` begins: the hash, scaled down to the number of slots.
    #[inline(always)]
    fn home(&self, pair: Pair) -> usize {
        (((pair.hash() >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    /// Where `pair` is or would be put.
    #[inline(always)]
    fn find(&self, pair: Pair) -> usize {
        let mut at = self.home(pair);
        while self.slots[at].pair != pair && self.slots[at].pair != EMPTY {
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
        at
    }

    /// Prefetch the slot of `pair`.
    #[inline(always)]
    pub(super) fn prefetch(&self, pair: Pair) {
        prefetch(&self.slots[self.home(pair)]);
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, pair: Pair) -> Option<&mut PairCount> {
        let at = self.find(pair);
        let slot = &mut self.slots[at];
        (slot.pair != EMPTY).then_some(slot)
    }

    /// The entry of `pair`, made with a count of zero if it is new.
    #[inline(always)]
    pub(super) fn entry(&mut self, pair: Pair) -> &mut PairCount {
        let mut at = self.find(pair);
        if self.slots[at].pair == EMPTY {
            if !self.has_room_for(1) {
                self.grow();
                at = self.find(pair);
            }
            self.len += 1;
            self.slots[at].pair = pair;
        }
        &mut self.slots[at]
    }

    /// Number of pairs.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether `more` pairs can be added without growing.
    pub(super) fn has_room_for(&self, more: usize) -> bool {
        self.len + more <= room_in(self.slots.len())
    }

    #[cold]
    fn grow(&mut self) {
        let mut larger = Self::with_room_for(self.len + self.len / 2);
        for slot in self.iter() {
            *larger.entry(slot.pair) = *slot;
        }
        *self = larger;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PairCount> + Clone {
        self.slots.iter().filter(|slot| slot.pair != EMPTY)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut PairCount> {
        self.slots.iter_mut().filter(|slot| slot.pair != EMPTY)
    }
}
