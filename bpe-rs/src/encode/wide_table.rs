//! The tables of pieces of more than eight bytes.
//!
//! A bucket of two entries is one cache line. A key lies in its home bucket; if that is full in the
//! neighbouring one (index ^ 1); if both are full, in one of the two after them (index ^ 2, ^ 3).

use super::hash::Seeds;
use super::value::Value;
use crate::memory::{LargeVec, Zeroable};

/// Two entries. A key is either a piece's bytes and length (up to 15 bytes), or, if `LONG`, its hash
/// and the place of its bytes. The second half of a key is never 0: a zero marks a free entry.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct Bucket<const LONG: bool> {
    low: [u64; 2],
    high: [u64; 2],
    values: [Value; 2],
}

// SAFETY: numbers only; buckets of 64 bytes.
unsafe impl<const LONG: bool> Zeroable for Bucket<LONG> {}

impl Bucket<false> {
    /// The value of `key`, and whether the bucket has the key.
    #[inline(always)]
    pub(super) fn find(&self, key: [u64; 2]) -> (Value, bool) {
        let found = [0, 1].map(|way| (self.low[way] == key[0]) & (self.high[way] == key[1]));
        (self.values[usize::from(found[1])], found[0] | found[1])
    }
}

impl Bucket<true> {
    /// The value under `hash` and the place of the piece's bytes.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64) -> Option<(Value, u64)> {
        let found = [0, 1].map(|way| (self.low[way] == hash) & (self.high[way] != 0));
        let way = usize::from(found[1]);
        (found[0] | found[1]).then(|| (self.values[way], self.high[way]))
    }
}

impl<const LONG: bool> Bucket<LONG> {
    fn is_used(&self, way: usize) -> bool {
        self.high[way] != 0
    }

    #[inline(always)]
    fn hash(key: [u64; 2], seeds: Seeds) -> u64 {
        if LONG {
            key[0]
        } else {
            seeds.medium(key)
        }
    }
}

/// A table of pieces of up to 15 bytes, or of longer ones if `LONG`.
pub(super) struct WideTable<const LONG: bool> {
    buckets: LargeVec<Bucket<LONG>>,
    /// 64 minus the bits of a bucket's index.
    shift: u32,
    pub(super) used: usize,
    /// Most buckets.
    limit: usize,
    /// Entries replaced so far.
    evictions: usize,
}

impl<const LONG: bool> WideTable<LONG> {
    /// An empty table of `buckets` buckets, at least four, that grows to `limit`, both powers of two.
    pub(super) fn new(buckets: usize, limit: usize) -> Self {
        Self {
            buckets: LargeVec::table(buckets),
            shift: 64 - buckets.trailing_zeros(),
            used: 0,
            limit: limit.max(buckets),
            evictions: 0,
        }
    }

    /// The index of the home bucket of a key with this hash.
    #[inline(always)]
    pub(super) fn index(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    /// The bucket at `index`, which [`Self::index`] has given since the table last grew, or which
    /// differs from such an index in the lowest two bits.
    #[inline(always)]
    pub(super) fn bucket(&self, index: usize) -> &Bucket<LONG> {
        debug_assert!(index < self.buckets.len());
        // SAFETY: an index is a hash of which the top bits are left, as many as the number of
        // buckets has trailing zeros; that number is a power of two, at least four, that only grows.
        // So an index is below it, whatever its lowest two bits.
        unsafe { self.buckets.get_unchecked(index) }
    }

    /// What `find` finds first in the buckets where a key with the home bucket `home` may lie.
    #[inline(always)]
    pub(super) fn find<T>(
        &self,
        home: usize,
        find: impl Fn(&Bucket<LONG>) -> Option<T>,
    ) -> Option<T> {
        let pair = [home, home ^ 1].map(|index| self.bucket(index));
        let found = find(pair[0]).or_else(|| find(pair[1]));
        // Entries are never removed one by one: unless both are full, nothing lies beyond them.
        let is_full = |bucket: &&Bucket<LONG>| bucket.is_used(0) && bucket.is_used(1);
        if found.is_none() && pair.iter().all(is_full) {
            return self.find_beyond(home, find);
        }
        found
    }

    #[cold]
    fn find_beyond<T>(&self, home: usize, find: impl Fn(&Bucket<LONG>) -> Option<T>) -> Option<T> {
        [home ^ 2, home ^ 3]
            .into_iter()
            .find_map(|index| find(self.bucket(index)))
    }

    /// Insert a key that the table does not have. At its limit a new entry replaces another.
    pub(super) fn insert(&mut self, key: [u64; 2], value: Value, seeds: Seeds) {
        if self.buckets.len() < self.limit && self.used >= self.buckets.len() {
            self.grow(seeds);
        }
        let home = self.index(Bucket::<LONG>::hash(key, seeds));
        let free = (0..8)
            .map(|at| (home ^ (at / 2), at % 2))
            .find(|&(index, way)| !self.buckets[index].is_used(way));
        let (index, way) = free.unwrap_or_else(|| {
            self.evictions += 1;
            (home, self.evictions % 2)
        });
        self.used += usize::from(free.is_some());
        let bucket = &mut self.buckets[index];
        (bucket.low[way], bucket.high[way], bucket.values[way]) = (key[0], key[1], value);
    }

    #[cold]
    fn grow(&mut self, seeds: Seeds) {
        let buckets = (4 * self.buckets.len()).min(self.limit);
        let old = std::mem::replace(self, Self::new(buckets, self.limit));
        for bucket in old.buckets.iter() {
            for way in (0..2).filter(|&way| bucket.is_used(way)) {
                let key = [bucket.low[way], bucket.high[way]];
                self.insert(key, bucket.values[way], seeds);
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
