//! Pieces seen before and their ids: three tables by length, small at first, bounded at last.
//!
//! A table's line is as long as a line of the processor's cache. Short texts must not pay for big
//! tables, and fresh memory costs more than a merge; so a table starts with a few kilobytes and
//! grows by four when it is a quarter (short pieces) or half full. At its limit a new piece takes an
//! old one's place.

use super::short_table::{Seeds, ShortEntry, ShortTable, WideTable};
use super::value::Value;

/// Bytes of a piece that fit the second table's key, next to their length.
pub(super) const MEDIUM: usize = 15;
/// Longer pieces are not kept.
pub(super) const LONGEST: usize = 256;

/// The three tables and what they point to.
pub(super) struct Cache {
    pub(super) seeds: Seeds,
    pub(super) short: ShortTable,
    pub(super) medium: WideTable<false>,
    pub(super) long: WideTable<true>,
    /// Ids of values that do not fit a word.
    pub(super) arena: Vec<u32>,
    /// So many of them are of pieces that are kept.
    pub(super) lasting: usize,
    /// Bytes of long pieces.
    bytes: Vec<u8>,
    limit: usize,
}

/// Default bound on a thread's tables.
pub const DEFAULT_CACHE_BYTES: usize = 64 << 20;

/// Bound on that bound: places in the arenas, which take half of it, are numbers of 32 bits.
const MOST_BYTES: u64 = 8 << 30;

impl Cache {
    /// Empty tables that may grow to about `limit` bytes together.
    pub(super) fn new(limit: usize) -> Self {
        let limit = (limit as u64).min(MOST_BYTES) as usize;
        let lines = |share: usize| 1 << (limit / 8 * share / 64).max(4).ilog2();
        Self {
            seeds: Seeds::new(),
            short: ShortTable::new(128, lines(1)),
            medium: WideTable::new(64, lines(2)),
            long: WideTable::new(32, lines(1)),
            arena: Vec::new(),
            lasting: 0,
            bytes: Vec::new(),
            limit,
        }
    }

    /// Bytes in use.
    pub(super) fn size(&self) -> usize {
        let tables = self.short.bytes() + self.medium.bytes() + self.long.bytes();
        tables + self.bytes.capacity() + 4 * self.arena.capacity()
    }

    /// Pieces that the tables hold.
    pub(super) fn pieces(&self) -> usize {
        self.short.used + self.medium.used + self.long.used
    }

    /// Forget everything once the arenas, which only grow, hold their share. Not while values
    /// into the arena are in use.
    pub(super) fn keep_bounded(&mut self) {
        if self.arena.len() > self.lasting {
            self.arena.truncate(self.lasting);
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
        self.lasting = 0;
        self.arena.shrink_to(self.limit / 16);
        self.bytes.clear();
    }

    /// The value of a short piece, wherever it lies.
    #[inline(always)]
    pub(super) fn find_short(&mut self, key: u64) -> Option<Value> {
        let slot = self.short.slot(self.seeds.short(key));
        let (value, found) = self.short.find(slot, key);
        if found {
            return Some(value);
        }
        self.short.find_beside(slot, key)
    }

    /// Keep a short piece that the table does not have.
    pub(super) fn keep_short(&mut self, key: u64, value: Value) {
        self.short.insert(ShortEntry { key, value }, self.seeds);
    }

    /// The value of a medium piece, wherever it lies.
    #[inline(always)]
    pub(super) fn find_medium(&self, key: [u64; 2]) -> Option<Value> {
        let place = self.medium.place(self.seeds.medium(key));
        self.medium.look(place, |line| {
            let (value, found) = line.find(key);
            found.then_some(value)
        })
    }

    /// Keep a medium piece that the table does not have.
    pub(super) fn keep_medium(&mut self, key: [u64; 2], value: Value) {
        self.medium.insert(key, value, self.seeds);
    }

    /// What the table has under the hash of a long piece: its value and the place of its bytes.
    #[inline(always)]
    pub(super) fn find_long(&self, hash: u64) -> Option<(Value, u64)> {
        self.long
            .look(self.long.place(hash), |line| line.find(hash))
    }

    /// The bytes at a place that [`Self::find_long`] gave.
    #[inline(always)]
    pub(super) fn long_piece(&self, place: u64) -> &[u8] {
        let start = (place >> 32) as usize;
        &self.bytes[start..start + (place as u32 as usize)]
    }

    /// Keep a long piece under a hash that the table does not have.
    pub(super) fn keep_long(&mut self, hash: u64, piece: &[u8], value: Value) {
        let place = (self.bytes.len() as u64) << 32 | piece.len() as u64;
        self.bytes.extend_from_slice(piece);
        self.long.insert([hash, place], value, self.seeds);
    }
}
