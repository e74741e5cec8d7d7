//! The pairs under watch: how often each occurs now and where its occurrences are listed.

use super::isa::prefetch;

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

const VACANT: Watched = Watched {
    pair: EMPTY,
    count: 0,
    start: 0,
    places: 0,
};

/// Open addressing with linear probing, at most half full.
pub(super) struct PairTable {
    slots: Vec<Watched>,
    shift: u32,
    len: usize,
}

impl Default for PairTable {
    fn default() -> Self {
        Self::with_room_for(1 << 12)
    }
}

impl PairTable {
    pub(super) fn with_room_for(pairs: usize) -> Self {
        let slots = (pairs * 2 + 2).next_power_of_two().max(1024);
        Self {
            slots: vec![VACANT; slots],
            shift: 64 - slots.trailing_zeros(),
            len: 0,
        }
    }

    /// Where `pair` is or would be put.
    #[inline(always)]
    fn find(&self, pair: Pair) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (pair.hash() >> self.shift) as usize & mask;
        while self.slots[at].pair != pair && self.slots[at].pair != EMPTY {
            at = (at + 1) & mask;
        }
        at
    }

    /// Ask for the slot of `pair` ahead of a look-up.
    #[inline(always)]
    pub(super) fn prefetch(&self, pair: Pair) {
        let mask = self.slots.len() - 1;
        prefetch(&self.slots[(pair.hash() >> self.shift) as usize & mask]);
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
            if (self.len + 1) * 2 > self.slots.len() {
                self.grow();
                at = self.find(pair);
            }
            self.len += 1;
            self.slots[at].pair = pair;
        }
        &mut self.slots[at]
    }

    /// `more` pairs can be added without growing.
    pub(super) fn has_room_for(&self, more: usize) -> bool {
        (self.len + more) * 2 <= self.slots.len()
    }

    #[cold]
    fn grow(&mut self) {
        let mut larger = Self::with_room_for(self.slots.len());
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
