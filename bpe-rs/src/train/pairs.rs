//! The pairs under watch: how often each occurs now and where its occurrences are listed.

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

    #[inline(always)]
    pub(super) fn key(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(super) fn from_key(key: u64) -> Self {
        Self(key)
    }

    /// Multiplicative hash; the table takes its top bits. The keys are ids of our own making, so
    /// nobody chooses them to collide.
    #[inline(always)]
    pub(super) fn hash(self) -> u64 {
        (self.0 ^ (self.0 >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// Ids stay below `u32::MAX`, so no pair is this one.
const EMPTY: Pair = Pair(u64::MAX);

/// A watched pair. Its occurrences are `postings[start..start + places]`, in corpus order.
#[derive(Clone, Copy)]
pub(super) struct Watched {
    pub(super) pair: Pair,
    pub(super) count: u64,
    pub(super) start: u32,
    pub(super) places: u32,
}

// SAFETY: numbers.
unsafe impl Zeroable for Watched {}

const VACANT: Watched = Watched {
    pair: EMPTY,
    count: 0,
    start: 0,
    places: 0,
};

/// Open addressing with linear probing. Any number of slots will do, so that a table is never much
/// larger than it has to be: at most five eighths are taken, and it grows by a half.
pub(super) struct PairTable {
    slots: LargeVec<Watched>,
    len: usize,
}

impl Default for PairTable {
    fn default() -> Self {
        // In tests few, so that they see tables grow.
        Self::with_room_for(if cfg!(test) { 1 << 5 } else { 1 << 14 })
    }
}

/// Pairs that `slots` slots may hold: rare pairs are looked up and not found as often as frequent
/// ones are found, and that is what a full table makes slow.
fn room_in(slots: usize) -> usize {
    slots / 8 * 5
}

impl PairTable {
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

    /// Where the search for `pair` begins: the hash, scaled down to the slots.
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

    /// Ask for the slot of `pair` ahead of a look-up.
    #[inline(always)]
    pub(super) fn prefetch(&self, pair: Pair) {
        prefetch(&self.slots[self.home(pair)]);
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, pair: Pair) -> Option<&mut Watched> {
        let at = self.find(pair);
        let slot = &mut self.slots[at];
        (slot.pair != EMPTY).then_some(slot)
    }

    /// The entry of `pair`, made with nothing counted if it is new.
    #[inline(always)]
    pub(super) fn entry(&mut self, pair: Pair) -> &mut Watched {
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

    /// `more` pairs can be added without growing.
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

    pub(super) fn iter(&self) -> impl Iterator<Item = &Watched> + Clone {
        self.slots.iter().filter(|slot| slot.pair != EMPTY)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Watched> {
        self.slots.iter_mut().filter(|slot| slot.pair != EMPTY)
    }
}
