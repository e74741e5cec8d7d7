//! A hash table from words to counts, for pieces that come by the hundred.
//!
//! A word of up to 15 bytes is its own key in a slot of 32 bytes; the bytes of longer ones are in
//! an arena. A batch of pieces is hashed and its slots are prefetched before any is read, because
//! cache misses would otherwise take most of the time.

use std::hash::{BuildHasher, RandomState};

use crate::memory::{LargeVec, Zeroable};
use crate::simd::{prefetch, prefetch_at};
use crate::threads::ForkOnce;

/// Longest word that is its own key, in bytes.
const SHORT: usize = 15;
/// Pieces hashed ahead of the look-ups.
const BATCH: usize = 64;
/// How many slots ahead the bytes of long words are prefetched.
const AHEAD: usize = 16;

/// A short word: zero-padded bytes with the length in the last byte. No word is zero.
#[derive(Clone, Copy, Default)]
#[repr(C, align(32))]
struct ShortSlot {
    key: u128,
    count: u64,
    first: u64,
}

/// A long word; a count of zero marks a vacant slot.
#[derive(Clone, Copy, Default)]
struct LongSlot {
    hash: u64,
    count: u64,
    first: u64,
    offset: u64,
    len: u64,
}

// SAFETY: both are plain numbers.
unsafe impl Zeroable for ShortSlot {}
// SAFETY: as above.
unsafe impl Zeroable for LongSlot {}

/// More than three quarters of the slots are taken. Frequent words come early and lie close to
/// their hash's place, so that a rather full table costs little.
fn is_full(taken: usize, slots: usize) -> bool {
    taken * 4 > slots * 3
}

/// A set of words with their counts and the place where each was seen first.
pub(super) struct WordTable {
    short: LargeVec<ShortSlot>,
    shorts: usize,
    long: LargeVec<LongSlot>,
    longs: usize,
    arena: Vec<u8>,
}

/// Random numbers that make the hash differ from process to process, so that no text can be written
/// whose words all collide.
fn seeds() -> &'static [u64; 4] {
    static SEEDS: ForkOnce<[u64; 4]> = ForkOnce::new();
    SEEDS.get_or_init(|| {
        let random = RandomState::new();
        std::array::from_fn(|i| random.hash_one(i))
    })
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[inline(always)]
fn hash_short(key: u128, seeds: &[u64; 4]) -> u64 {
    fold(key as u64 ^ seeds[0], (key >> 64) as u64 ^ seeds[1])
}

/// The hash of a word longer than [`SHORT`].
#[inline(always)]
fn hash_long(word: &[u8], seeds: &[u64; 4]) -> u64 {
    let pair = |at: usize| {
        let half = |at: usize| u64::from_le_bytes(word[at..at + 8].try_into().unwrap_or_default());
        (half(at), half(at + 8))
    };
    let mut hash = seeds[2] ^ word.len() as u64;
    for at in (0..word.len() - 16).step_by(16) {
        let (low, high) = pair(at);
        hash = fold(low ^ hash, high ^ seeds[3]);
    }
    let (low, high) = pair(word.len() - 16);
    fold(low ^ hash, high ^ seeds[1])
}

/// By length, the bits of a short word in 16 bytes that start with it.
const MASKS: [u128; SHORT + 1] = {
    let mut masks = [0; SHORT + 1];
    let mut len = 1;
    while len <= SHORT {
        masks[len] = !0 >> (128 - 8 * len);
        len += 1;
    }
    masks
};

/// The key of `text[start..start + len]`, `1 <= len <= SHORT`.
#[inline(always)]
fn key_in(text: &[u8], start: usize, len: usize) -> u128 {
    let bytes = match text.get(start..start + 16) {
        Some(bytes) => u128::from_le_bytes(bytes.try_into().unwrap_or_default()),
        None => {
            let mut padded = [0; 16];
            padded[..len].copy_from_slice(&text[start..start + len]);
            u128::from_le_bytes(padded)
        }
    };
    bytes & MASKS[len] | (len as u128) << 120
}

impl WordTable {
    pub(super) fn new() -> Self {
        Self {
            short: LargeVec::zeroed_now(1 << 12),
            shorts: 0,
            long: LargeVec::zeroed_now(1 << 10),
            longs: 0,
            arena: Vec::new(),
        }
    }

    /// Number of distinct words.
    pub(super) fn len(&self) -> usize {
        self.shorts + self.longs
    }

    /// Count the pieces `base + bounds[i] .. base + bounds[i + 1]` of `text`. `origin` is the
    /// place of `text` in the corpus, which is behind that of all texts counted here before.
    pub(super) fn add_pieces(&mut self, text: &[u8], base: usize, bounds: &[u32], origin: u64) {
        let seeds = seeds();
        let mut keys = [(0u128, 0u64, 0u32); BATCH];
        let mut longs = [(0u32, 0u32, 0u64); BATCH];
        for batch in (0..bounds.len().saturating_sub(1)).step_by(BATCH) {
            let (mut n_short, mut n_long) = (0, 0);
            for bound in bounds[batch..bounds.len().min(batch + BATCH + 1)].windows(2) {
                let (from, len) = (bound[0], (bound[1] - bound[0]) as usize);
                let start = base + from as usize;
                if len > SHORT {
                    let hash = hash_long(&text[start..start + len], seeds);
                    prefetch(&self.long[hash as usize & (self.long.len() - 1)]);
                    longs[n_long] = (from, len as u32, hash);
                    n_long += 1;
                } else if len > 0 {
                    let key = key_in(text, start, len);
                    let hash = hash_short(key, seeds);
                    prefetch(&self.short[hash as usize & (self.short.len() - 1)]);
                    keys[n_short] = (key, hash, from);
                    n_short += 1;
                }
            }
            for &(key, hash, from) in &keys[..n_short] {
                self.add_short::<true>(key, hash, 1, origin + base as u64 + from as u64);
            }
            for &(_, _, hash) in &longs[..n_long] {
                let slot = &self.long[hash as usize & (self.long.len() - 1)];
                if slot.hash == hash {
                    prefetch_at(self.arena.as_ptr().wrapping_add(slot.offset as usize));
                }
            }
            for &(from, len, hash) in &longs[..n_long] {
                let start = base + from as usize;
                let word = &text[start..start + len as usize];
                self.add_long(word, hash, 1, origin + start as u64);
            }
        }
    }

    /// Count `word` `count` times, first seen at `first`; does nothing for a count of zero.
    pub(super) fn add(&mut self, word: &[u8], count: u64, first: u64) {
        // A long word's slot with a count of zero is vacant.
        if count == 0 {
            return;
        }
        let seeds = seeds();
        match word.len() {
            0 => {}
            len @ 1..=SHORT => {
                let key = key_in(word, 0, len);
                self.add_short::<false>(key, hash_short(key, seeds), count, first);
            }
            _ => self.add_long(word, hash_long(word, seeds), count, first),
        }
    }

    /// The slot of a short word, or the vacant one where it belongs.
    #[inline(always)]
    fn find_short(&self, key: u128, hash: u64) -> usize {
        let mask = self.short.len() - 1;
        let mut at = hash as usize & mask;
        while self.short[at].key != key && self.short[at].key != 0 {
            at = (at + 1) & mask;
        }
        at
    }

    /// The slot of a long word, or the vacant one where it belongs.
    #[inline(always)]
    fn find_long(&self, word: &[u8], hash: u64) -> usize {
        let mask = self.long.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = &self.long[at];
            let is_found = slot.hash == hash && word_of(&self.arena, slot) == word;
            if slot.count == 0 || is_found {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    /// `LATER`: `first` is behind all places that were counted here before.
    #[inline(always)]
    fn add_short<const LATER: bool>(&mut self, key: u128, hash: u64, count: u64, first: u64) {
        let at = self.find_short(key, hash);
        let slot = &mut self.short[at];
        if slot.key == key {
            slot.count = slot.count.saturating_add(count);
            if !LATER {
                slot.first = slot.first.min(first);
            }
            return;
        }
        *slot = ShortSlot { key, count, first };
        self.shorts += 1;
        if is_full(self.shorts, self.short.len()) {
            self.grow_short();
        }
    }

    fn add_long(&mut self, word: &[u8], hash: u64, count: u64, first: u64) {
        let at = self.find_long(word, hash);
        let slot = &mut self.long[at];
        if slot.count != 0 {
            slot.count = slot.count.saturating_add(count);
            slot.first = slot.first.min(first);
            return;
        }
        *slot = LongSlot {
            hash,
            count,
            first,
            offset: self.arena.len() as u64,
            len: word.len() as u64,
        };
        self.arena.extend_from_slice(word);
        self.longs += 1;
        if is_full(self.longs, self.long.len()) {
            self.grow_long();
        }
    }

    #[cold]
    fn grow_short(&mut self) {
        let seeds = seeds();
        let is_taken = |slot: &ShortSlot| slot.key != 0;
        self.short = doubled(&mut self.short, is_taken, |slot| {
            hash_short(slot.key, seeds)
        });
    }

    #[cold]
    fn grow_long(&mut self) {
        let is_taken = |slot: &LongSlot| slot.count != 0;
        self.long = doubled(&mut self.long, is_taken, |slot| slot.hash);
    }

    /// Call `visit` with every word, its count and its first place, in no order.
    pub(super) fn each(&self, visit: &mut dyn FnMut(&[u8], u64, u64)) {
        for slot in self.short.iter().filter(|slot| slot.key != 0) {
            let bytes = slot.key.to_le_bytes();
            visit(&bytes[..bytes[SHORT] as usize], slot.count, slot.first);
        }
        for (at, slot) in self.long.iter().enumerate() {
            if let Some(ahead) = self.long.get(at + AHEAD) {
                prefetch_at(self.arena.as_ptr().wrapping_add(ahead.offset as usize));
            }
            if slot.count != 0 {
                visit(word_of(&self.arena, slot), slot.count, slot.first);
            }
        }
    }

    /// The count of `word`, zero if it is not there.
    pub(super) fn get(&self, word: &[u8]) -> u64 {
        match word.len() {
            0 => 0,
            len @ 1..=SHORT => {
                let key = key_in(word, 0, len);
                self.short[self.find_short(key, hash_short(key, seeds()))].count
            }
            _ => self.long[self.find_long(word, hash_long(word, seeds()))].count,
        }
    }

    /// Add all of `other`, whose places come `shift` later.
    pub(super) fn absorb(&mut self, other: &Self, shift: u64) {
        other.each(&mut |word, count, first| self.add(word, count, first.saturating_add(shift)));
    }
}

/// The slots of `old` in a table of twice the size.
///
/// Blocks of slots are moved from the end on, and the memory of a moved block is given back at once.
/// A slot is at its hash's place or a little behind it, so both halves of the new table are filled
/// from their ends on, and old and new together never take much more memory than the new one.
fn doubled<S: Zeroable>(
    old: &mut LargeVec<S>,
    is_taken: impl Fn(&S) -> bool,
    hash: impl Fn(&S) -> u64,
) -> LargeVec<S> {
    const BLOCK: usize = 1 << 14;
    let half = old.len();
    let mut larger = LargeVec::zeroed(half * 2);
    let mask = half * 2 - 1;
    let mut end = half;
    while end > 0 {
        let from = end.saturating_sub(BLOCK);
        larger.populate(from..end);
        larger.populate(half + from..half + end);
        for slot in old[from..end].iter().filter(|slot| is_taken(slot)) {
            let mut at = hash(slot) as usize & mask;
            while is_taken(&larger[at]) {
                at = (at + 1) & mask;
            }
            larger[at] = *slot;
        }
        old.shorten(from);
        end = from;
    }
    larger
}

fn word_of<'a>(arena: &'a [u8], slot: &LongSlot) -> &'a [u8] {
    &arena[slot.offset as usize..(slot.offset + slot.len) as usize]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Enough words for tables that grow in several blocks.
    #[test]
    fn counts_what_a_map_counts() {
        let (mut table, mut map) = (WordTable::new(), HashMap::new());
        let words = if cfg!(miri) { 3_000 } else { 100_000 };
        for i in 0..words {
            let number = i * i % 65_537;
            let word = match i % 3 {
                0 => format!("a word of {number}, a long one"),
                _ => number.to_string(),
            };
            table.add(word.as_bytes(), i + 1, i);
            let (count, _) = map.entry(word.into_bytes()).or_insert((0, i));
            *count += i + 1;
        }
        assert!(table.shorts.min(table.longs) as u64 > words / 5);
        // Words with a count of zero leave no trace.
        for word in ["never", "never seen, and longer than fifteen bytes"] {
            table.add(word.as_bytes(), 0, 0);
            assert_eq!(table.get(word.as_bytes()), 0);
        }
        assert_eq!(table.len(), map.len());
        let mut seen = HashMap::new();
        table.each(&mut |word, count, first| {
            assert_eq!(table.get(word), count);
            assert!(seen.insert(word.to_vec(), (count, first)).is_none());
        });
        assert!(seen == map, "{} words, expected {}", seen.len(), map.len());
    }
}
