//! The table of pieces of up to eight bytes.
//!
//! A bucket of four entries is one cache line. An entry's hash gives its home slot; most entries are
//! there, so a look-up compares that slot alone first, then the other three of the bucket, and where
//! the bucket is full those of the neighbouring one.

use super::hash::Seeds;
use super::value::Value;
use crate::memory::{LargeVec, Zeroable};

/// A piece of up to eight bytes and its ids. The key 0, which no piece has, marks a free slot.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct ShortEntry {
    pub(super) key: u64,
    pub(super) value: Value,
}

/// Entries that share a cache line.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Bucket([ShortEntry; 4]);

// SAFETY: numbers only; buckets of 64 bytes.
unsafe impl Zeroable for Bucket {}

/// The table. Slot `s` is entry `s % 4` of bucket `s / 4`, so `s ^ way` for `way` below 4 are the
/// slots of the same bucket and `s ^ 4` is in the neighbouring one. Slot 0 stays empty, so that
/// looking up the key 0 finds an entry with that key and the value of no ids.
pub(super) struct ShortTable {
    buckets: LargeVec<Bucket>,
    /// 64 minus the bits of a slot number.
    shift: u32,
    pub(super) used: usize,
    /// Most buckets.
    limit: usize,
    /// Hits outside the home slot since the last swap.
    hits_outside: usize,
    /// Entries replaced so far.
    evictions: usize,
}

impl ShortTable {
    /// An empty table of `buckets` buckets that grows to `limit`, both powers of two.
    pub(super) fn new(buckets: usize, limit: usize) -> Self {
        Self {
            buckets: LargeVec::table(buckets),
            shift: 64 - (4 * buckets).trailing_zeros(),
            used: 0,
            limit: limit.max(buckets),
            hits_outside: 0,
            evictions: 0,
        }
    }

    /// The home slot of a key with this hash.
    #[inline(always)]
    pub(super) fn slot(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    /// The entry in `slot`, which [`Self::slot`] has given since the table last grew.
    #[inline(always)]
    pub(super) fn entry(&self, slot: usize) -> &ShortEntry {
        debug_assert!(slot < 4 * self.buckets.len());
        // SAFETY: a slot is a hash of which the top bits are left, as many as the number of entries
        // (four a bucket, and a power of two that only grows) has trailing zeros; so it is below
        // that number. Buckets are four entries each and nothing else.
        unsafe { &*self.buckets.as_ptr().cast::<ShortEntry>().add(slot) }
    }

    #[inline(always)]
    fn entry_mut(&mut self, slot: usize) -> &mut ShortEntry {
        &mut self.buckets[slot / 4].0[slot % 4]
    }

    /// The value of a key that is not in its home slot `slot`, and whether the bucket has the key.
    ///
    /// Branch-free except for the swap, which is rare: a branch on the way would mispredict.
    #[inline(always)]
    pub(super) fn find(&mut self, slot: usize, key: u64) -> (Value, bool) {
        let is_at = |way: usize| usize::from(self.entry(slot ^ way).key == key);
        let way = is_at(1) + 2 * is_at(2) + 3 * is_at(3);
        let found = *self.entry(slot ^ way);
        // Every ninth hit outside an entry's home slot swaps it into that slot.
        self.hits_outside += usize::from(way > 0);
        if self.hits_outside > 8 {
            self.hits_outside = 0;
            if slot > 0 {
                *self.entry_mut(slot ^ way) = *self.entry(slot);
                *self.entry_mut(slot) = found;
            }
        }
        (found.value, found.key == key)
    }

    /// The value of a key that [`Self::find`] does not find, from the neighbouring bucket.
    #[inline]
    pub(super) fn find_in_neighbour(&self, slot: usize, key: u64) -> Option<Value> {
        // Only what a full bucket has no room for is there.
        if self.free_slot(slot).is_some() {
            return None;
        }
        (4..8)
            .map(|way| self.entry(slot ^ way))
            .find(|entry| entry.key == key)
            .map(|entry| entry.value)
    }

    /// A free slot in the bucket of `slot`.
    #[inline(always)]
    fn free_slot(&self, slot: usize) -> Option<usize> {
        (0..4)
            .map(|way| slot ^ way)
            .find(|&at| at > 0 && self.entry(at).key == 0)
    }

    /// Insert a key that the table does not have. At its limit a new entry replaces another.
    pub(super) fn insert(&mut self, entry: ShortEntry, seeds: Seeds) {
        let slot = self.slot(seeds.short(entry.key));
        let free = self.free_slot(slot);
        // The table grows when it is half full, or a quarter full with this bucket full. Fuller, too
        // many entries are outside their home slots; emptier, it pushes the pair table out of the
        // processor's caches.
        let load = if free.is_none() { 4 } else { 2 };
        if self.buckets.len() < self.limit && load * self.used >= 4 * self.buckets.len() {
            self.grow(seeds);
            return self.insert(entry, seeds);
        }
        let free = free.or_else(|| self.free_slot(slot ^ 4));
        let at = free.unwrap_or_else(|| {
            self.evictions += 1;
            (slot ^ (1 + self.evictions % 3)).max(1)
        });
        self.used += usize::from(free.is_some());
        *self.entry_mut(at) = entry;
        // The new entry gets its home slot unless that is also the present entry's.
        if at != slot && slot > 0 {
            let present = *self.entry(slot);
            if self.slot(seeds.short(present.key)) != slot {
                *self.entry_mut(at) = present;
                *self.entry_mut(slot) = entry;
            }
        }
    }

    #[cold]
    fn grow(&mut self, seeds: Seeds) {
        let buckets = (4 * self.buckets.len()).min(self.limit);
        let old = std::mem::replace(self, Self::new(buckets, self.limit));
        for entry in old.buckets.iter().flat_map(|bucket| bucket.0) {
            if entry.key != 0 {
                self.insert(entry, seeds);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.buckets.clear_to_zero();
        self.used = 0;
    }

    pub(super) fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.buckets)
    }
}
