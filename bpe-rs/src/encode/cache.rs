//! Pieces seen before and their ids: three tables by length, bounded together.
//!
//! Tables begin with a few kilobytes, because fresh memory would cost a short text more than merging
//! does, and grow by four. At its limit a table replaces old entries.

use super::tables::{Seeds, ShortBucket, Table, WideBucket};
use super::value::Value;

/// Longest piece in the second table: its key holds so many bytes next to their number.
pub(super) const MEDIUM: usize = 15;
/// Longest piece in the third table; longer ones are not kept.
pub(super) const LONGEST: usize = 256;

/// The three tables and what their entries point to.
pub(super) struct Cache {
    /// Pieces of up to eight bytes, unless their key is ambiguous.
    pub(super) short: Table<ShortBucket>,
    /// Pieces of up to [`MEDIUM`] bytes.
    pub(super) medium: Table<WideBucket<false>>,
    /// Pieces of up to [`LONGEST`] bytes.
    pub(super) long: Table<WideBucket<true>>,
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
        let seeds = Seeds::new();
        Self {
            short: Table::new(128, buckets(1), seeds),
            medium: Table::new(64, buckets(2), seeds),
            long: Table::new(32, buckets(1), seeds),
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

    /// The bytes at a place that the third table gave.
    #[inline(always)]
    pub(super) fn long_piece(&self, place: u64) -> &[u8] {
        let start = (place >> 32) as usize;
        &self.bytes[start..start + (place as u32 as usize)]
    }

    /// Insert a piece of more than [`MEDIUM`] bytes under a hash that the third table does not have.
    pub(super) fn insert_long(&mut self, hash: u64, piece: &[u8], value: Value) {
        let place = (self.bytes.len() as u64) << 32 | piece.len() as u64;
        self.bytes.extend_from_slice(piece);
        self.long.insert([hash, place], value);
    }
}
