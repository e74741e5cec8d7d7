//! Pieces seen before and their ids: three tables by length, small at first, bounded at last.
//!
//! Short texts must not pay for big tables, and fresh memory costs more than a merge; so a table
//! starts with a few kilobytes and grows by four when it is half full. At its limit a new piece
//! takes an old one's place.

use std::hash::{BuildHasher, RandomState};

use super::value::Value;

/// Bytes of a piece that fit the first table's key, next to their length.
pub(super) const SHORT: usize = 7;
/// The same for the second table.
pub(super) const MEDIUM: usize = 15;
/// Longer pieces are not kept.
pub(super) const LONGEST: usize = 256;

/// Odd multipliers, random in every process: nobody can make up words that collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeds(u64, u64);

impl Seeds {
    fn new() -> Self {
        let state = RandomState::new();
        Self(state.hash_one(1) | 1, state.hash_one(2) | 1)
    }

    /// Multiply-shift hashing: the top bits are what counts.
    #[inline(always)]
    pub(super) fn short(self, key: u64) -> u64 {
        key.wrapping_mul(self.0)
    }

    #[inline(always)]
    pub(super) fn medium(self, key: [u64; 2]) -> u64 {
        key[0]
            .wrapping_mul(self.0)
            .wrapping_add(key[1].wrapping_mul(self.1))
    }

    /// Of a piece of at least eight bytes.
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

/// A table entry: its key tells whether it is in use.
pub(super) trait Entry: Copy + Default {
    type Key: Copy + PartialEq;
    fn key(&self) -> Self::Key;
    fn used(&self) -> bool;
    fn hash(&self, seeds: Seeds) -> u64;
}

/// A piece of up to seven bytes.
#[derive(Clone, Copy, Default)]
#[repr(C, align(16))]
pub(super) struct ShortEntry {
    pub(super) key: u64,
    pub(super) value: Value,
}

impl Entry for ShortEntry {
    type Key = u64;
    fn key(&self) -> u64 {
        self.key
    }
    fn used(&self) -> bool {
        self.key != 0
    }
    fn hash(&self, seeds: Seeds) -> u64 {
        seeds.short(self.key)
    }
}

/// A piece of eight to fifteen bytes.
#[derive(Clone, Copy, Default)]
#[repr(C, align(32))]
pub(super) struct MediumEntry {
    pub(super) key: [u64; 2],
    pub(super) value: Value,
}

impl Entry for MediumEntry {
    type Key = [u64; 2];
    fn key(&self) -> [u64; 2] {
        self.key
    }
    fn used(&self) -> bool {
        self.key[1] != 0
    }
    fn hash(&self, seeds: Seeds) -> u64 {
        seeds.medium(self.key)
    }
}

/// A longer piece: its hash, where its bytes are kept.
#[derive(Clone, Copy, Default)]
#[repr(C, align(32))]
pub(super) struct LongEntry {
    hash: u64,
    value: Value,
    start: u32,
    len: u32,
}

impl Entry for LongEntry {
    type Key = u64;
    fn key(&self) -> u64 {
        self.hash
    }
    fn used(&self) -> bool {
        self.len != 0
    }
    fn hash(&self, _: Seeds) -> u64 {
        self.hash
    }
}

/// Open addressing inside a line of `WAYS` entries.
pub(super) struct Table<E, const WAYS: usize> {
    entries: Box<[E]>,
    shift: u32,
    used: usize,
    limit: usize,
    victim: usize,
}

impl<E: Entry, const WAYS: usize> Table<E, WAYS> {
    fn new(entries: usize, limit: usize) -> Self {
        Self {
            entries: vec![E::default(); entries].into_boxed_slice(),
            shift: 64 - entries.trailing_zeros(),
            used: 0,
            limit: limit.max(entries),
            victim: 0,
        }
    }

    /// Where `hash` would best be.
    #[inline(always)]
    pub(super) fn slot(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    /// The entry at `slot`, which this table's [`Self::slot`] gave since it last grew.
    #[inline(always)]
    pub(super) fn at(&self, slot: usize) -> &E {
        debug_assert!(slot < self.entries.len());
        // SAFETY: `slot` is a hash shifted right until fewer bits remain than the length has; the
        // length is a power of two that only grows.
        unsafe { self.entries.get_unchecked(slot) }
    }

    /// The entry with `key` in the line of `slot`.
    #[inline]
    fn find(&self, slot: usize, key: E::Key) -> Option<usize> {
        (0..WAYS)
            .map(|way| slot ^ way)
            .find(|&at| self.entries[at].key() == key && self.entries[at].used())
    }

    /// Put `entry` into its line: at `slot` itself, moving what is there aside if that would
    /// rather be elsewhere too.
    fn insert(&mut self, entry: E, seeds: Seeds) {
        let find_free = |this: &Self, slot: usize| {
            (0..WAYS)
                .map(|way| slot ^ way)
                .find(|&at| !this.entries[at].used())
        };
        let mut slot = self.slot(entry.hash(seeds));
        let mut free = find_free(self, slot);
        // A line is full: time to grow, unless only this line is.
        let load = if free.is_none() { 8 } else { 2 };
        if self.entries.len() < self.limit && load * self.used >= self.entries.len() {
            self.grow(seeds);
            slot = self.slot(entry.hash(seeds));
            free = find_free(self, slot);
        }
        let at = free.unwrap_or_else(|| {
            self.victim = self.victim % (WAYS - 1).max(1) + 1;
            slot ^ (self.victim % WAYS)
        });
        self.used += usize::from(free.is_some());
        self.entries[at] = entry;
        if at != slot && self.slot(self.entries[slot].hash(seeds)) != slot {
            self.entries.swap(at, slot);
        }
    }

    fn grow(&mut self, seeds: Seeds) {
        let entries = (4 * self.entries.len()).min(self.limit);
        let old = std::mem::replace(self, Self::new(entries, self.limit));
        for entry in old.entries.iter().filter(|entry| entry.used()) {
            self.insert(*entry, seeds);
        }
    }

    fn clear(&mut self) {
        self.entries.fill(E::default());
        self.used = 0;
    }

    fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.entries)
    }
}

/// The three tables and what they point to.
pub(super) struct Cache {
    pub(super) seeds: Seeds,
    pub(super) short: Table<ShortEntry, 4>,
    pub(super) medium: Table<MediumEntry, 2>,
    pub(super) long: Table<LongEntry, 2>,
    /// Ids of values that do not fit a word.
    pub(super) arena: Vec<u32>,
    /// Bytes of long pieces.
    bytes: Vec<u8>,
    limit: usize,
}

/// Default bound on a thread's tables.
pub const DEFAULT_CACHE_BYTES: usize = 32 << 20;

impl Cache {
    /// Empty tables that may grow to about `limit` bytes together.
    pub(super) fn new(limit: usize) -> Self {
        let entries = |share: usize, size: usize, first: usize| {
            let most = (limit / 8 * share / size).max(1);
            (first, 1 << most.ilog2())
        };
        let (short, short_limit) = entries(1, 16, 512);
        let (medium, medium_limit) = entries(2, 32, 128);
        let (long, long_limit) = entries(1, 32, 64);
        Self {
            seeds: Seeds::new(),
            short: Table::new(short, short_limit),
            medium: Table::new(medium, medium_limit),
            long: Table::new(long, long_limit),
            arena: Vec::new(),
            bytes: Vec::new(),
            limit,
        }
    }

    /// Bytes in use.
    pub(super) fn size(&self) -> usize {
        let tables = self.short.bytes() + self.medium.bytes() + self.long.bytes();
        tables + self.bytes.capacity() + 4 * self.arena.capacity()
    }

    /// Forget everything once the arenas, which only grow, hold their share. Not while values
    /// into the arena are in use.
    pub(super) fn keep_bounded(&mut self) {
        if 4 * self.arena.len() <= self.limit / 3 && self.bytes.len() <= self.limit / 3 {
            return;
        }
        self.short.clear();
        self.medium.clear();
        self.long.clear();
        self.arena.clear();
        self.arena.shrink_to(self.limit / 12);
        self.bytes.clear();
    }

    #[inline]
    pub(super) fn find_short(&mut self, slot: usize, key: u64) -> Option<Value> {
        let at = self.short.find(slot, key)?;
        let value = self.short.entries[at].value;
        // A word found twice on a side road moves to the main one.
        self.short.victim += 1;
        if self.short.victim & 3 == 0 {
            self.short.entries.swap(at, slot);
        }
        Some(value)
    }

    pub(super) fn keep_short(&mut self, key: u64, value: Value) {
        self.short.insert(ShortEntry { key, value }, self.seeds);
    }

    #[inline]
    pub(super) fn find_medium(&self, slot: usize, key: [u64; 2]) -> Option<Value> {
        self.medium
            .find(slot, key)
            .map(|at| self.medium.entries[at].value)
    }

    pub(super) fn keep_medium(&mut self, key: [u64; 2], value: Value) {
        self.medium.insert(MediumEntry { key, value }, self.seeds);
    }

    #[inline]
    pub(super) fn find_long(&self, hash: u64, piece: &[u8]) -> Option<Value> {
        let at = self.long.find(self.long.slot(hash), hash)?;
        let entry = &self.long.entries[at];
        let kept = &self.bytes[entry.start as usize..(entry.start + entry.len) as usize];
        (kept == piece).then_some(entry.value)
    }

    pub(super) fn keep_long(&mut self, hash: u64, piece: &[u8], value: Value) {
        let (start, len) = (self.bytes.len() as u32, piece.len() as u32);
        self.bytes.extend_from_slice(piece);
        self.long.insert(
            LongEntry {
                hash,
                value,
                start,
                len,
            },
            self.seeds,
        );
    }
}
