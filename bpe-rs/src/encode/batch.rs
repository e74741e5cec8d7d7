//! Pieces to ids through the caches, a batch at a time.
//!
//! One loop per step over a few hundred pieces: keys and prefetches, look-ups, misses, output.
//! By the time a table's line is looked at, it has arrived from memory.

use super::cache::{Cache, LONGEST, MEDIUM};
use super::keys::{is_odd, medium_key, short_key, word, Pieces};
use super::merge::{merge_long, merge_missed};
use super::output;
use super::short_table::ShortEntry;
use super::value::Value;
use super::PieceEncoder;
use crate::error::Result;
use crate::simd::{dispatch, prefetch, prefetch_at, Lanes};
use crate::vocab::Vocab;

/// Pieces in a batch.
pub(super) const BATCH: usize = 256;

/// Numbers of pieces of a batch, and room for the 64 that are written at once.
type Numbers = [u32; BATCH + 64];

/// A batch on its way: the keys of the pieces, their slots in the first table, their values.
pub(super) struct Batch {
    pub(super) keys: [u64; BATCH],
    slots: [u32; BATCH],
    /// What the slots hold.
    entries: [ShortEntry; BATCH],
    pub(super) values: [Value; BATCH],
    /// 1 for each piece that the next step is about.
    flags: [u8; BATCH],
    /// The pieces that are not the first table's: all, and those that are not the second's either.
    longer: Numbers,
    long: Numbers,
    /// Pieces that no table has: up to 16 bytes, up to 32 bytes, and longer ones.
    pub(super) missed: [Numbers; 3],
    pub(super) wide_keys: [[u64; 2]; BATCH],
    pub(super) hashes: [u64; BATCH],
}

impl Batch {
    pub(super) fn new() -> Box<Self> {
        const NONE: Numbers = [0; BATCH + 64];
        Box::new(Self {
            keys: [0; BATCH],
            slots: [0; BATCH],
            entries: [ShortEntry::default(); BATCH],
            values: [Value::default(); BATCH],
            flags: [0; BATCH],
            longer: NONE,
            long: NONE,
            missed: [NONE; 3],
            wide_keys: [[0; 2]; BATCH],
            hashes: [0; BATCH],
        })
    }
}

dispatch! { S =>
    pub(super) fn look_up(
        batch: &mut Batch,
        cache: &mut Cache,
        pieces: &mut PieceEncoder,
        vocab: &Vocab,
        text: &[u8],
        bounds: &[u32],
    ) -> Result<()> {
        look_up_with::<S>(batch, cache, pieces, vocab, Pieces { text, bounds })
    }
}

/// Fill `batch.values` for the pieces `bounds[i]..bounds[i + 1]` of `text`, at most [`BATCH`].
///
/// Errors: `Invalid` for a byte without a token.
#[inline(always)]
fn look_up_with<S: Lanes>(
    batch: &mut Batch,
    cache: &mut Cache,
    pieces: &mut PieceEncoder,
    vocab: &Vocab,
    all: Pieces<'_>,
) -> Result<()> {
    let count = (all.bounds.len() - 1).min(BATCH);
    let longer = prepare::<S>(batch, cache, all);
    for (entry, &slot) in batch.entries.iter_mut().zip(&batch.slots[..count]) {
        *entry = *cache.short.at(slot as usize);
    }
    for j in 0..count {
        batch.values[j] = batch.entries[j].value;
        batch.flags[j] = u8::from(batch.entries[j].key != batch.keys[j]);
    }
    let mut missed = [0; 3];
    missed[0] = numbers::<S>(&batch.flags, count, &mut batch.missed[0]);
    if missed[0] > 0 {
        missed[0] = look_aside(batch, cache, missed[0]);
    }
    let mut long = 0;
    for q in 0..longer {
        let j = batch.longer[q] as usize % BATCH;
        let key = batch.wide_keys[j];
        if key[1] == 0 {
            batch.long[long] = j as u32;
            long += 1;
            continue;
        }
        let (value, found) = cache
            .medium
            .line(cache.medium.place(batch.hashes[j]))
            .find(key);
        batch.values[j] = value;
        batch.missed[0][missed[0]] = j as u32;
        missed[0] += usize::from(!found);
    }
    if long > 0 {
        for q in 0..long {
            let j = batch.long[q] as usize % BATCH;
            let found = cache.find_long(batch.hashes[j]);
            let (value, place) = found.unwrap_or_default();
            prefetch(cache.long_piece(place));
            (batch.values[j], batch.wide_keys[j][0]) = (value, place);
        }
        for q in 0..long {
            let j = batch.long[q] as usize % BATCH;
            let piece = all.get(j);
            if cache.long_piece(batch.wide_keys[j][0]) != piece {
                let class = 1 + usize::from(piece.len() > 32);
                batch.missed[class][missed[class]] = j as u32;
                missed[class] += 1;
            }
        }
    }
    merge_missed::<S, 16>(batch, cache, pieces, vocab, all, missed[0])?;
    merge_missed::<S, 32>(batch, cache, pieces, vocab, all, missed[1])?;
    merge_long::<S>(batch, cache, pieces, vocab, all, missed[2])?;
    if output::is_mixed(&batch.values[..count]) {
        // For all, since which are there cannot be foretold: the others ask for what is here.
        for value in &batch.values[..count] {
            let here: *const u32 = std::ptr::from_ref(value).cast();
            let there = cache
                .arena
                .as_ptr()
                .wrapping_add(value.bits() as u32 as usize);
            prefetch_at(if value.is_far() { there } else { here });
        }
    }
    Ok(())
}

/// Keys and slots of all pieces, their lines on the way; returns how many are longer.
///
/// Loops without branches over plain arrays, which compilers turn into vector instructions.
#[inline(always)]
fn prepare<S: Lanes>(batch: &mut Batch, cache: &Cache, all: Pieces<'_>) -> usize {
    let count = (all.bounds.len() - 1).min(BATCH);
    let (starts, ends) = (&all.bounds[..count], &all.bounds[1..=count]);
    let (first, last) = (all.bounds[0] as usize, all.bounds[count] as usize);
    let keys = &mut batch.keys[..count];
    debug_assert!(starts.is_sorted());
    let has_word = |&start: &u32| start as usize + 8 <= all.text.len();
    // Pieces follow each other: these start in the text's last seven bytes.
    let tail = starts
        .iter()
        .rev()
        .take_while(|start| !has_word(start))
        .count();
    let (words, tails) = keys.split_at_mut(count - tail);
    for (key, &start) in words.iter_mut().zip(starts) {
        // SAFETY: not after the last start that has eight bytes from there on.
        let bytes = unsafe { all.text.as_ptr().add(start as usize).cast::<u64>() };
        // SAFETY: as above.
        *key = u64::from_le(unsafe { bytes.read_unaligned() });
    }
    for (key, &start) in tails.iter_mut().zip(&starts[count - tail..]) {
        *key = word(all.text, start as usize);
    }
    let (slots, flags) = (&mut batch.slots[..count], &mut batch.flags[..count]);
    for j in 0..count {
        let len = ends[j] - starts[j];
        keys[j] = short_key(keys[j], len);
        slots[j] = cache.short.slot(cache.seeds.short(keys[j])) as u32;
        flags[j] = u8::from(len > 8);
    }
    if memchr::memchr2(0, 1, &all.text[first..last]).is_some() {
        for j in 0..count {
            if is_odd(keys[j], ends[j] - starts[j]) {
                (keys[j], slots[j], flags[j]) = (0, 0, 1);
            }
        }
    }
    for &slot in &batch.slots[..count] {
        prefetch(cache.short.at(slot as usize));
    }
    let longer = numbers::<S>(&batch.flags, count, &mut batch.longer);
    for q in 0..longer {
        let j = batch.longer[q] as usize % BATCH;
        let (start, len) = all.place(j);
        if len <= MEDIUM {
            let key = medium_key(all.text, start, len);
            batch.wide_keys[j] = key;
            batch.hashes[j] = cache.seeds.medium(key);
            prefetch(cache.medium.line(cache.medium.place(batch.hashes[j])));
        } else {
            batch.wide_keys[j][1] = 0;
            if len <= LONGEST {
                batch.hashes[j] = cache.seeds.long(all.get(j));
                prefetch(cache.long.line(cache.long.place(batch.hashes[j])));
            }
        }
    }
    longer
}

/// Write the numbers of the first `count` pieces that are flagged to `found`; returns how many.
#[inline(always)]
fn numbers<S: Lanes>(flags: &[u8; BATCH], count: usize, found: &mut Numbers) -> usize {
    let mut n = 0;
    for (block, flags) in flags.as_chunks().0.iter().enumerate() {
        let Some(left @ 1..) = count.checked_sub(64 * block) else {
            break;
        };
        // SAFETY: `S` comes from `dispatch!`.
        let mask = unsafe { S::load(flags) }.eq(1) & (u64::MAX >> (64 - left.min(64)));
        // Not more than 64 for each block before, so there is room.
        if let Some(room) = found[n..].first_chunk_mut() {
            // SAFETY: as above.
            n += unsafe { S::positions(mask, 64 * block as u32, room) };
        }
    }
    n
}

/// Look for the first `missed` short pieces beside their slots; returns how many are new.
#[inline(always)]
fn look_aside(batch: &mut Batch, cache: &mut Cache, missed: usize) -> usize {
    let mut new = 0;
    for q in 0..missed {
        let j = batch.missed[0][q] as usize % BATCH;
        let (value, found) = cache.short.find(batch.slots[j] as usize, batch.keys[j]);
        batch.values[j] = value;
        batch.missed[0][new] = j as u32;
        new += usize::from(!found);
    }
    new
}
