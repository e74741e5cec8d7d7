//! Pieces seen before and their ids: three tables by length, bounded together.
//!
//! Tables begin with a few kilobytes, because a short text must not pay for fresh memory, which costs
//! more than merging; they grow by four when they are a quarter (short pieces) or half full. At its
//! limit a table replaces old entries.

use super::hash::Seeds;
use super::short_table::{ShortEntry, ShortTable};
use super::value::Value;
use super::wide_table::WideTable;

/// Longest piece in the second table: its key holds so many bytes next to their number.
pub(super) const MEDIUM: usize = 15;
/// Longest piece in the third table; longer ones are not kept.
pub(super) const LONGEST: usize = 256;

/// The three tables and what their entries point to.
pub(super) struct Cache {
    pub(super) seeds: Seeds,
    pub(super) short: ShortTable,
    pub(super) medium: WideTable<false>,
    pub(super) long: WideTable<true>,
    /// Ids of values that are not packed.
    pub(super) arena: Vec<u32>,
    /// The part of the arena that belongs to entries; what is behind it is dropped after a batch.
    pub(super) arena_kept: usize,
    /// The bytes of the third table's pieces.
    bytes: Vec<u8>,
    limit: usize,
}

/// Default bound on the tables of one thread.
pub const DEFAULT_CACHE_BYTES: usize = 64 << 20;

/// The bound on that bound: places in the arena and among the bytes, which take half of it, are
/// numbers of 32 bits.
const MOST_BYTES: u64 = 8 << 30;

impl Cache {
    /// Empty tables that may grow to about `limit` bytes together.
    pub(super) fn new(limit: usize) -> Self {
        let limit = (limit as u64).min(MOST_BYTES) as usize;
        // For `share` eighths of the limit.
        let buckets = |share: usize| 1 << (limit / 8 * share / 64).max(4).ilog2();
        Self {
            seeds: Seeds::new(),
            short: ShortTable::new(128, buckets(1)),
            medium: WideTable::new(64, buckets(2)),
            long: WideTable::new(32, buckets(1)),
            arena: Vec::new(),
            arena_kept: 0,
            bytes: Vec::new(),
            limit,
        }
    }

    /// Bytes in use.
    pub(super) fn size(&self) -> usize {
        let tables = self.short.bytes() + self.medium.bytes() + self.long.bytes();
        tables + self.bytes.capacity() + 4 * self.arena.capacity()
    }

    /// The number of pieces in the tables.
    pub(super) fn pieces(&self) -> usize {
        self.short.used + self.medium.used + self.long.used
    }

    /// Drop ids that no entry holds, and forget everything once the arena or the bytes, which only
    /// grow, exceed their share. Call it only when no values are in use.
    pub(super) fn keep_bounded(&mut self) {
        if self.arena.len() > self.arena_kept {
            self.arena.truncate(self.arena_kept);
            if self.arena.capacity() > self.limit / 8 {
                self.arena.shrink_to(self.limit / 16);
            }
        }
        // The tables take up to half.
        if 4 * self.arena.len() <= self.limit / 4 && self.bytes.len() <= self.limit / 4 {
            return;
        }
        self.short.clear();
        self.medium.clear();
        self.long.clear();
        self.arena.clear();
        self.arena_kept = 0;
        self.arena.shrink_to(self.limit / 16);
        self.bytes.clear();
    }

    /// The value of a piece of up to eight bytes.
    #[inline(always)]
    pub(super) fn find_short(&mut self, key: u64) -> Option<Value> {
        let slot = self.short.slot(self.seeds.short(key));
        let (value, found) = self.short.find(slot, key);
        if found {
            return Some(value);
        }
        self.short.find_in_neighbour(slot, key)
    }

    /// Insert a piece of up to eight bytes that the table does not have.
    pub(super) fn insert_short(&mut self, key: u64, value: Value) {
        self.short.insert(ShortEntry { key, value }, self.seeds);
    }

    /// The value of a piece of up to [`MEDIUM`] bytes.
    #[inline(always)]
    pub(super) fn find_medium(&self, key: [u64; 2]) -> Option<Value> {
        let home = self.medium.index(self.seeds.medium(key));
        self.medium.find(home, |bucket| {
            let (value, found) = bucket.find(key);
            found.then_some(value)
        })
    }

    /// Insert a piece of up to [`MEDIUM`] bytes that the table does not have.
    pub(super) fn insert_medium(&mut self, key: [u64; 2], value: Value) {
        self.medium.insert(key, value, self.seeds);
    }

    /// The value under the hash of a longer piece, and the place of the bytes of the piece that it
    /// belongs to, which may be another with the same hash.
    #[inline(always)]
    pub(super) fn find_long(&self, hash: u64) -> Option<(Value, u64)> {
        let home = self.long.index(hash);
        self.long.find(home, |bucket| bucket.find(hash))
    }

    /// The bytes at a place that [`Self::find_long`] gave.
    #[inline(always)]
    pub(super) fn long_piece(&self, place: u64) -> &[u8] {
        let start = (place >> 32) as usize;
        &self.bytes[start..start + (place as u32 as usize)]
    }

    /// Insert a longer piece under a hash that the table does not have.
    pub(super) fn insert_long(&mut self, hash: u64, piece: &[u8], value: Value) {
        let place = (self.bytes.len() as u64) << 32 | piece.len() as u64;
        self.bytes.extend_from_slice(piece);
        self.long.insert([hash, place], value, self.seeds);
    }
}
