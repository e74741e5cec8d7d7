//! Hash tables of pieces seen before. A bucket is one cache line, so that a look-up mostly costs
//! one memory access.
//!
//! Pieces of up to eight bytes lie four to a bucket. An entry's hash gives its home slot; most
//! entries are there, so a look-up compares that slot alone first, then the others of the bucket,
//! and where the bucket is full those of the neighbouring one. Longer pieces lie two to a bucket: in
//! the home bucket, where that is full in the neighbouring one (index ^ 1), and where both are full
//! in one of the two after them (index ^ 2, ^ 3).

use std::hash::{BuildHasher, RandomState};

use super::value::Value;
use crate::memory::{LargeVec, Zeroable};

/// Odd multipliers for multiply-shift hashing, whose best bits are the top ones. They are random in
/// each cache, so that no text can be made of pieces that collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeds(u64, u64);

impl Seeds {
    pub(super) fn new() -> Self {
        let state = RandomState::new();
        Self(state.hash_one(1) | 1, state.hash_one(2) | 1)
    }

    /// Hash the key of a piece of up to eight bytes.
    #[inline(always)]
    pub(super) fn short(self, key: u64) -> u64 {
        key.wrapping_mul(self.0)
    }

    /// Hash the key of a piece of up to 15 bytes.
    #[inline(always)]
    pub(super) fn medium(self, key: [u64; 2]) -> u64 {
        let (low, high) = (key[0].wrapping_mul(self.0), key[1].wrapping_mul(self.1));
        low.wrapping_add(high)
    }

    /// Hash the bytes of a piece of at least eight bytes.
    #[inline]
    pub(super) fn long(self, piece: &[u8]) -> u64 {
        let mut hash = piece.len() as u64;
        let mut mix = |word: [u8; 8]| {
            let product =
                u128::from(hash ^ u64::from_le_bytes(word)) * u128::from(self.0 ^ self.1 << 1);
            hash = (product as u64 ^ (product >> 64) as u64).wrapping_add(self.1);
        };
        let (words, _) = piece.as_chunks::<8>();
        words.iter().for_each(|word| mix(*word));
        mix(*piece.last_chunk().unwrap_or(&[0; 8]));
        hash.wrapping_mul(self.0)
    }
}

/// Entries that share a cache line.
pub(super) trait Bucket: Zeroable {
    /// How many places in a bucket a hash tells apart.
    const PLACES: usize;
}

/// A piece of up to eight bytes and its ids. The key 0, which no piece has, marks a free slot.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct ShortEntry {
    pub(super) key: u64,
    pub(super) value: Value,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct ShortBucket([ShortEntry; 4]);

// SAFETY: numbers only; buckets of 64 bytes.
unsafe impl Zeroable for ShortBucket {}

impl Bucket for ShortBucket {
    const PLACES: usize = 4;
}

/// Two entries. A key is either a piece's bytes and length (up to 15 bytes), or, if `LONG`, its hash
/// and the place of its bytes. The second half of a key is never 0: a zero marks a free entry.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct WideBucket<const LONG: bool> {
    low: [u64; 2],
    high: [u64; 2],
    values: [Value; 2],
}

// SAFETY: numbers only; buckets of 64 bytes.
unsafe impl<const LONG: bool> Zeroable for WideBucket<LONG> {}

impl<const LONG: bool> Bucket for WideBucket<LONG> {
    const PLACES: usize = 1;
}

impl WideBucket<false> {
    /// The value of `key`, and whether the bucket has the key.
    #[inline(always)]
    pub(super) fn find(&self, key: [u64; 2]) -> (Value, bool) {
        let found = [0, 1].map(|way| (self.low[way] == key[0]) & (self.high[way] == key[1]));
        (self.values[usize::from(found[1])], found[0] | found[1])
    }
}

impl WideBucket<true> {
    /// The value under `hash` and the place of the piece's bytes.
    #[inline(always)]
    fn find(&self, hash: u64) -> Option<(Value, u64)> {
        let found = [0, 1].map(|way| (self.low[way] == hash) & (self.high[way] != 0));
        let way = usize::from(found[1]);
        (found[0] | found[1]).then(|| (self.values[way], self.high[way]))
    }
}

/// A table. Its number of buckets is a power of two that only grows, up to a limit.
pub(super) struct Table<B> {
    buckets: LargeVec<B>,
    pub(super) seeds: Seeds,
    /// 64 minus the bits of a place.
    shift: u32,
    /// Entries in use.
    pub(super) used: usize,
    /// Most buckets.
    limit: usize,
    /// Entries replaced so far.
    evictions: usize,
    /// Short pieces: hits outside the home slot since the last swap.
    hits_outside: usize,
}

impl<B: Bucket> Table<B> {
    /// An empty table of `buckets` buckets, at least four, that grows to `limit`, both powers of two.
    pub(super) fn new(buckets: usize, limit: usize, seeds: Seeds) -> Self {
        Self {
            buckets: LargeVec::table(buckets),
            seeds,
            shift: 64 - (B::PLACES * buckets).trailing_zeros(),
            used: 0,
            limit: limit.max(buckets),
            evictions: 0,
            hits_outside: 0,
        }
    }

    /// The home place of a key with this hash: the hash's top bits, as many as the number of places
    /// has trailing zeros.
    #[inline(always)]
    pub(super) fn place(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    /// Make the table four times as large and empty; returns the old one.
    fn grow(&mut self) -> Self {
        let buckets = (4 * self.buckets.len()).min(self.limit);
        std::mem::replace(self, Self::new(buckets, self.limit, self.seeds))
    }

    pub(super) fn clear(&mut self) {
        self.buckets.clear_to_zero();
        self.used = 0;
    }

    pub(super) fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.buckets)
    }
}

/// A place is a slot: slot `s` is entry `s % 4` of bucket `s / 4`, so `s ^ way` for `way` below 4
/// are the slots of the same bucket and `s ^ 4` is in the neighbouring one. Slot 0 stays empty, so
/// that looking up the key 0 finds an entry with that key and the value of no ids.
impl Table<ShortBucket> {
    /// The home slot of `key`.
    #[inline(always)]
    pub(super) fn slot(&self, key: u64) -> usize {
        self.place(self.seeds.short(key))
    }

    /// The entry in `slot`, which [`Self::slot`] has given since the table last grew.
    #[inline(always)]
    pub(super) fn entry(&self, slot: usize) -> &ShortEntry {
        debug_assert!(slot < 4 * self.buckets.len());
        // SAFETY: a place is below the number of places (see `place`), which only grows. Buckets
        // are four entries each and nothing else.
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
    pub(super) fn find_in_bucket(&mut self, slot: usize, key: u64) -> (Value, bool) {
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

    /// The value of `key`, wherever it is.
    #[inline(always)]
    pub(super) fn find(&mut self, key: u64) -> Option<Value> {
        let slot = self.slot(key);
        match self.find_in_bucket(slot, key) {
            (value, true) => Some(value),
            _ => self.find_in_neighbour(slot, key),
        }
    }

    #[inline]
    fn find_in_neighbour(&self, slot: usize, key: u64) -> Option<Value> {
        // Only what a full bucket has no room for is there.
        if self.free_slot(slot).is_some() {
            return None;
        }
        let mut entries = (4..8).map(|way| self.entry(slot ^ way));
        entries.find(|entry| entry.key == key).map(|e| e.value)
    }

    /// A free slot in the bucket of `slot`.
    #[inline(always)]
    fn free_slot(&self, slot: usize) -> Option<usize> {
        let mut slots = (0..4).map(|way| slot ^ way);
        slots.find(|&at| at > 0 && self.entry(at).key == 0)
    }

    /// Insert a key that the table does not have. At its limit a new entry replaces another.
    pub(super) fn insert(&mut self, entry: ShortEntry) {
        let slot = self.slot(entry.key);
        let free = self.free_slot(slot);
        // The table grows when it is half full, or a quarter full with this bucket full. Fuller, too
        // many entries are outside their home slots; emptier, it pushes the pair table out of the
        // processor's caches.
        let load = if free.is_none() { 4 } else { 2 };
        if self.buckets.len() < self.limit && load * self.used >= 4 * self.buckets.len() {
            self.move_to_larger();
            return self.insert(entry);
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
            if self.slot(present.key) != slot {
                *self.entry_mut(at) = present;
                *self.entry_mut(slot) = entry;
            }
        }
    }

    #[cold]
    fn move_to_larger(&mut self) {
        let entries = self.grow().buckets;
        let entries = entries.iter().flat_map(|bucket| bucket.0);
        entries.filter(|e| e.key != 0).for_each(|e| self.insert(e));
    }
}

/// A place is the index of a bucket.
impl<const LONG: bool> Table<WideBucket<LONG>> {
    /// The bucket at `index`, which [`Self::place`] has given since the table last grew, or which
    /// differs from such an index in the lowest two bits.
    #[inline(always)]
    pub(super) fn bucket(&self, index: usize) -> &WideBucket<LONG> {
        debug_assert!(index < self.buckets.len());
        // SAFETY: a place is below the number of buckets (see `place`), a power of two, at least
        // four, that only grows; so it is, whatever its lowest two bits.
        unsafe { self.buckets.get_unchecked(index) }
    }

    /// What `find` finds first in the buckets where a key with the home bucket `home` may lie.
    #[inline(always)]
    fn find_in<T>(&self, home: usize, find: impl Fn(&WideBucket<LONG>) -> Option<T>) -> Option<T> {
        let pair = [home, home ^ 1].map(|index| self.bucket(index));
        let found = find(pair[0]).or_else(|| find(pair[1]));
        // Entries are never removed one by one: unless both are full, nothing lies beyond them.
        let is_full = |bucket: &&WideBucket<LONG>| !bucket.high.contains(&0);
        if found.is_none() && pair.iter().all(is_full) {
            return self.find_beyond(home, find);
        }
        found
    }

    #[cold]
    fn find_beyond<T>(
        &self,
        home: usize,
        find: impl Fn(&WideBucket<LONG>) -> Option<T>,
    ) -> Option<T> {
        let mut indices = [home ^ 2, home ^ 3].into_iter();
        indices.find_map(|index| find(self.bucket(index)))
    }

    /// Insert a key that the table does not have. At its limit a new entry replaces another.
    pub(super) fn insert(&mut self, key: [u64; 2], value: Value) {
        if self.buckets.len() < self.limit && self.used >= self.buckets.len() {
            self.move_to_larger();
        }
        let hash = if LONG { key[0] } else { self.seeds.medium(key) };
        let home = self.place(hash);
        let free = (0..8)
            .map(|at| (home ^ (at / 2), at % 2))
            .find(|&(index, way)| self.buckets[index].high[way] == 0);
        let (index, way) = free.unwrap_or_else(|| {
            self.evictions += 1;
            (home, self.evictions % 2)
        });
        self.used += usize::from(free.is_some());
        let bucket = &mut self.buckets[index];
        (bucket.low[way], bucket.high[way], bucket.values[way]) = (key[0], key[1], value);
    }

    #[cold]
    fn move_to_larger(&mut self) {
        for bucket in self.grow().buckets.iter() {
            for way in (0..2).filter(|&way| bucket.high[way] != 0) {
                let key = [bucket.low[way], bucket.high[way]];
                self.insert(key, bucket.values[way]);
            }
        }
    }
}

impl Table<WideBucket<false>> {
    /// The value of `key`.
    #[inline(always)]
    pub(super) fn find(&self, key: [u64; 2]) -> Option<Value> {
        self.find_in(self.place(self.seeds.medium(key)), |bucket| {
            let (value, found) = bucket.find(key);
            found.then_some(value)
        })
    }
}

impl Table<WideBucket<true>> {
    /// The value under `hash`, and the place of the bytes of the piece that it belongs to, which may
    /// be another with the same hash.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64) -> Option<(Value, u64)> {
        self.find_in(self.place(hash), |bucket| bucket.find(hash))
    }
}
