//! Tables of pieces: lines as long as a line of the processor's cache.

use std::hash::{BuildHasher, RandomState};

use super::value::Value;
use crate::memory::{LargeVec, Zeroable};

/// Odd multipliers, random in every process: nobody can make up words that collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeds(u64, u64);

impl Seeds {
    pub(super) fn new() -> Self {
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

/// A piece of up to eight bytes. No piece has the key 0.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct ShortEntry {
    pub(super) key: u64,
    pub(super) value: Value,
}

/// Entries that share a cache line.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct ShortLine([ShortEntry; 4]);

// SAFETY: numbers only; lines of 64 bytes.
unsafe impl Zeroable for ShortLine {}

/// The table of short pieces. Each has a slot where it would best be, three others in the same
/// line, and where that is full those of the line next to it. Slot 0 stays empty, so that a
/// look-up of the key 0 finds what it asks for.
pub(super) struct ShortTable {
    lines: LargeVec<ShortLine>,
    shift: u32,
    pub(super) used: usize,
    limit: usize,
    /// Keys found beside their slots since one was last moved.
    turns: usize,
    /// Entries that made room.
    victims: usize,
}

impl ShortTable {
    /// `lines` and `limit` are powers of two.
    pub(super) fn new(lines: usize, limit: usize) -> Self {
        Self {
            lines: LargeVec::table(lines),
            shift: 64 - (4 * lines).trailing_zeros(),
            used: 0,
            limit: limit.max(lines),
            turns: 0,
            victims: 0,
        }
    }

    /// Where `hash` would best be.
    #[inline(always)]
    pub(super) fn slot(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    /// The entry at `slot`, which [`Self::slot`] gave since the table last grew.
    #[inline(always)]
    pub(super) fn at(&self, slot: usize) -> &ShortEntry {
        debug_assert!(slot < 4 * self.lines.len());
        // SAFETY: a slot is a hash shifted right until as many bits remain as four times the
        // number of lines, a power of two that only grows, has zeros; lines are four entries
        // each and nothing else.
        unsafe { &*self.lines.as_ptr().cast::<ShortEntry>().add(slot) }
    }

    #[inline(always)]
    fn entry(&mut self, slot: usize) -> &mut ShortEntry {
        &mut self.lines[slot / 4].0[slot % 4]
    }

    /// The value of `key`, in whatever place of its line, and whether it is there.
    ///
    /// Without branches but one that is seldom taken: which place it is cannot be foretold.
    #[inline(always)]
    pub(super) fn find(&mut self, slot: usize, key: u64) -> (Value, bool) {
        let is_at = |way: usize| usize::from(self.at(slot ^ way).key == key);
        let way = is_at(1) + 2 * is_at(2) + 3 * is_at(3);
        let found = *self.at(slot ^ way);
        // A word found often on a side road moves to the main one.
        self.turns += usize::from(way > 0);
        if self.turns > 8 {
            self.turns = 0;
            if slot > 0 {
                *self.entry(slot ^ way) = *self.at(slot);
                *self.entry(slot) = found;
            }
        }
        (found.value, found.key == key)
    }

    /// The value of `key` where [`Self::find`] does not find it: a full line's rest is in the next.
    #[inline]
    pub(super) fn find_beside(&self, slot: usize, key: u64) -> Option<Value> {
        if self.free(slot).is_some() {
            return None;
        }
        let beside = (4..8).map(|way| self.at(slot ^ way));
        beside
            .into_iter()
            .find(|entry| entry.key == key)
            .map(|entry| entry.value)
    }

    /// A free place in the line of `slot`.
    #[inline(always)]
    fn free(&self, slot: usize) -> Option<usize> {
        (0..4)
            .map(|way| slot ^ way)
            .find(|&at| at > 0 && self.at(at).key == 0)
    }

    /// Enter a key that is not in the table.
    pub(super) fn insert(&mut self, entry: ShortEntry, seeds: Seeds) {
        let slot = self.slot(seeds.short(entry.key));
        let place = self.free(slot);
        // A full line: time to grow, unless only this line is. Fuller than a quarter, words lie
        // beside their slots too often; emptier, the tables push out of the processor's caches what
        // merging needs.
        let load = if place.is_none() { 4 } else { 2 };
        if self.lines.len() < self.limit && load * self.used >= 4 * self.lines.len() {
            self.grow(seeds);
            return self.insert(entry, seeds);
        }
        let place = place.or_else(|| self.free(slot ^ 4));
        let at = place.unwrap_or_else(|| {
            self.victims += 1;
            (slot ^ (1 + self.victims % 3)).max(1)
        });
        self.used += usize::from(place.is_some());
        *self.entry(at) = entry;
        // What is in the new one's place without belonging there makes room.
        if at != slot && slot > 0 {
            let there = *self.at(slot);
            if self.slot(seeds.short(there.key)) != slot {
                *self.entry(at) = there;
                *self.entry(slot) = entry;
            }
        }
    }

    #[cold]
    fn grow(&mut self, seeds: Seeds) {
        let lines = (4 * self.lines.len()).min(self.limit);
        let old = std::mem::replace(self, Self::new(lines, self.limit));
        for entry in old.lines.iter().flat_map(|line| line.0) {
            if entry.key != 0 {
                self.insert(entry, seeds);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear_to_zero();
        self.used = 0;
    }

    pub(super) fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.lines)
    }
}

/// Two pieces of more bytes: all of up to fifteen, or a longer one's hash and the place of its
/// bytes. A key that ends in zeros marks a free place.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct WideLine<const LONG: bool> {
    low: [u64; 2],
    high: [u64; 2],
    values: [Value; 2],
}

// SAFETY: numbers only; lines of 64 bytes.
unsafe impl<const LONG: bool> Zeroable for WideLine<LONG> {}

impl WideLine<false> {
    /// The value under `key`, and whether there is one.
    #[inline(always)]
    pub(super) fn find(&self, key: [u64; 2]) -> (Value, bool) {
        let found = [0, 1].map(|way| (self.low[way] == key[0]) & (self.high[way] == key[1]));
        (self.values[usize::from(found[1])], found[0] | found[1])
    }
}

impl WideLine<true> {
    /// The value under a hash and the place of the bytes, if there is an entry.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64) -> Option<(Value, u64)> {
        let found = [0, 1].map(|way| (self.low[way] == hash) & (self.high[way] != 0));
        let way = usize::from(found[1]);
        (found[0] | found[1]).then(|| (self.values[way], self.high[way]))
    }
}

impl<const LONG: bool> WideLine<LONG> {
    fn used(&self, way: usize) -> bool {
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

/// The table of longer pieces: each lies in the line of its hash or, if that is full, in the one
/// next to it or, if both are, in one of the two beside them.
pub(super) struct WideTable<const LONG: bool> {
    lines: LargeVec<WideLine<LONG>>,
    shift: u32,
    pub(super) used: usize,
    limit: usize,
    turns: usize,
}

impl<const LONG: bool> WideTable<LONG> {
    /// `lines` and `limit` are powers of two, `lines` at least four.
    pub(super) fn new(lines: usize, limit: usize) -> Self {
        Self {
            lines: LargeVec::table(lines),
            shift: 64 - lines.trailing_zeros(),
            used: 0,
            limit: limit.max(lines),
            turns: 0,
        }
    }

    /// The number of the line of `hash`.
    #[inline(always)]
    pub(super) fn place(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    /// The line at `place`, which [`Self::place`] gave since the table last grew.
    #[inline(always)]
    pub(super) fn line(&self, place: usize) -> &WideLine<LONG> {
        debug_assert!(place < self.lines.len());
        // SAFETY: `place` is a hash shifted right until as many bits remain as the length has
        // zeros, or differs from one in the lowest two bits; the length is a power of two, at least
        // four, that only grows.
        unsafe { self.lines.get_unchecked(place) }
    }

    /// What `find` finds in the lines that a piece of the line `home` may lie in.
    #[inline(always)]
    pub(super) fn look<T>(
        &self,
        home: usize,
        find: impl Fn(&WideLine<LONG>) -> Option<T>,
    ) -> Option<T> {
        let pair = [home, home ^ 1].map(|place| self.line(place));
        let found = find(pair[0]).or_else(|| find(pair[1]));
        // Places once taken stay taken: without these two being full there is nothing beside them.
        if found.is_none() && pair.iter().all(|line| line.used(0) && line.used(1)) {
            return self.look_beside(home, find);
        }
        found
    }

    #[cold]
    fn look_beside<T>(
        &self,
        home: usize,
        find: impl Fn(&WideLine<LONG>) -> Option<T>,
    ) -> Option<T> {
        [home ^ 2, home ^ 3]
            .into_iter()
            .find_map(|place| find(self.line(place)))
    }

    /// Enter a key that is not in the table.
    pub(super) fn insert(&mut self, key: [u64; 2], value: Value, seeds: Seeds) {
        if self.lines.len() < self.limit && self.used >= self.lines.len() {
            self.grow(seeds);
        }
        let home = self.place(WideLine::<LONG>::hash(key, seeds));
        let free = (0..8)
            .map(|at| (home ^ (at / 2), at % 2))
            .find(|&(place, way)| !self.lines[place].used(way));
        let (place, way) = free.unwrap_or_else(|| {
            self.turns += 1;
            (home, self.turns % 2)
        });
        self.used += usize::from(free.is_some());
        let line = &mut self.lines[place];
        (line.low[way], line.high[way], line.values[way]) = (key[0], key[1], value);
    }

    #[cold]
    fn grow(&mut self, seeds: Seeds) {
        let lines = (4 * self.lines.len()).min(self.limit);
        let old = std::mem::replace(self, Self::new(lines, self.limit));
        for line in old.lines.iter() {
            for way in (0..2).filter(|&way| line.used(way)) {
                self.insert([line.low[way], line.high[way]], line.values[way], seeds);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear_to_zero();
        self.used = 0;
    }

    pub(super) fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.lines)
    }
}
