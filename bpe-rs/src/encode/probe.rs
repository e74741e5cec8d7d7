//! Probing the caches with a batch of pieces.
//!
//! First the keys of all pieces are made and the cache lines of their entries prefetched, then the
//! tables are read one after the other. By the time a line is read, it has arrived from memory.

use super::batch::{Batch, Indices, Pieces, BATCH};
use super::cache::{Cache, LONGEST, MEDIUM};
use super::keys::{eight_bytes, is_ambiguous, medium_key, short_key};
use crate::simd::{prefetch, Lanes};

/// Fill `batch.values` for the pieces that the tables have and `batch.missing` with the others.
/// Returns how many of each kind are missing.
#[inline(always)]
pub(super) fn probe<S: Lanes>(
    batch: &mut Batch,
    cache: &mut Cache,
    pieces: Pieces<'_>,
) -> [usize; 3] {
    let count = (pieces.bounds.len() - 1).min(BATCH);
    let longer = prepare::<S>(batch, cache, pieces);
    for (entry, &slot) in batch.entries.iter_mut().zip(&batch.slots[..count]) {
        *entry = *cache.short.entry(slot as usize);
    }
    for j in 0..count {
        batch.values[j] = batch.entries[j].value;
        batch.flags[j] = u8::from(batch.entries[j].key != batch.keys[j]);
    }
    let mut missing = [0; 3];
    missing[0] = flagged::<S>(&batch.flags, count, &mut batch.missing[0]);
    if missing[0] > 0 {
        missing[0] = probe_buckets(batch, cache, missing[0]);
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
            .bucket(cache.medium.index(batch.hashes[j]))
            .find(key);
        batch.values[j] = value;
        batch.missing[0][missing[0]] = j as u32;
        missing[0] += usize::from(!found);
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
            let piece = pieces.get(j);
            // Otherwise these are the bytes of another piece with this hash, or none.
            if cache.long_piece(batch.wide_keys[j][0]) != piece {
                let kind = 1 + usize::from(piece.len() > 32);
                batch.missing[kind][missing[kind]] = j as u32;
                missing[kind] += 1;
            }
        }
    }
    missing
}

/// Make the keys, slots and hashes of all pieces and prefetch their entries. Returns how many pieces
/// the first table cannot hold.
///
/// The loops over plain arrays have no branches, so that the compiler makes vector instructions.
#[inline(always)]
fn prepare<S: Lanes>(batch: &mut Batch, cache: &Cache, pieces: Pieces<'_>) -> usize {
    let (text, bounds) = (pieces.text, pieces.bounds);
    let count = (bounds.len() - 1).min(BATCH);
    let (starts, ends) = (&bounds[..count], &bounds[1..=count]);
    let (first, last) = (bounds[0] as usize, bounds[count] as usize);
    let keys = &mut batch.keys[..count];
    debug_assert!(starts.is_sorted());
    let has_eight_bytes = |&start: &u32| start as usize + 8 <= text.len();
    // Pieces follow each other, so those that start in the text's last seven bytes come last.
    let tail = starts
        .iter()
        .rev()
        .take_while(|start| !has_eight_bytes(start))
        .count();
    let (words, tails) = keys.split_at_mut(count - tail);
    for (key, &start) in words.iter_mut().zip(starts) {
        // SAFETY: not after the last start from which the text has eight bytes.
        let bytes = unsafe { text.as_ptr().add(start as usize).cast::<u64>() };
        // SAFETY: as above.
        *key = u64::from_le(unsafe { bytes.read_unaligned() });
    }
    for (key, &start) in tails.iter_mut().zip(&starts[count - tail..]) {
        *key = eight_bytes(text, start as usize);
    }
    let (slots, flags) = (&mut batch.slots[..count], &mut batch.flags[..count]);
    for j in 0..count {
        let len = ends[j] - starts[j];
        keys[j] = short_key(keys[j], len);
        slots[j] = cache.short.slot(cache.seeds.short(keys[j])) as u32;
        flags[j] = u8::from(len > 8);
    }
    if memchr::memchr2(0, 1, &text[first..last]).is_some() {
        for j in 0..count {
            if is_ambiguous(keys[j], ends[j] - starts[j]) {
                (keys[j], slots[j], flags[j]) = (0, 0, 1);
            }
        }
    }
    for &slot in &batch.slots[..count] {
        prefetch(cache.short.entry(slot as usize));
    }
    let longer = flagged::<S>(&batch.flags, count, &mut batch.longer);
    for q in 0..longer {
        let j = batch.longer[q] as usize % BATCH;
        let (start, len) = pieces.place(j);
        if len <= MEDIUM {
            let key = medium_key(text, start, len);
            batch.wide_keys[j] = key;
            batch.hashes[j] = cache.seeds.medium(key);
            prefetch(cache.medium.bucket(cache.medium.index(batch.hashes[j])));
        } else {
            batch.wide_keys[j][1] = 0;
            if len <= LONGEST {
                batch.hashes[j] = cache.seeds.long(pieces.get(j));
                prefetch(cache.long.bucket(cache.long.index(batch.hashes[j])));
            }
        }
    }
    longer
}

/// Write the indices of those of the first `count` pieces that are flagged; returns how many.
#[inline(always)]
fn flagged<S: Lanes>(flags: &[u8; BATCH], count: usize, indices: &mut Indices) -> usize {
    let mut n = 0;
    for (block, flags) in flags.as_chunks().0.iter().enumerate() {
        let Some(left @ 1..) = count.checked_sub(64 * block) else {
            break;
        };
        // SAFETY: `S` comes from `dispatch!`.
        let mask = unsafe { S::load(flags) }.eq(1) & (u64::MAX >> (64 - left.min(64)));
        // At most 64 for each block before, so there is always room.
        if let Some(room) = indices[n..].first_chunk_mut() {
            // SAFETY: as above.
            n += unsafe { S::positions(mask, 64 * block as u32, room) };
        }
    }
    n
}

/// Look for the short pieces `batch.missing[0][..count]` in their buckets outside their home slots,
/// and keep the indices of those that are not there; returns how many.
#[inline(always)]
fn probe_buckets(batch: &mut Batch, cache: &mut Cache, count: usize) -> usize {
    let mut missing = 0;
    for q in 0..count {
        let j = batch.missing[0][q] as usize % BATCH;
        let (value, found) = cache.short.find(batch.slots[j] as usize, batch.keys[j]);
        batch.values[j] = value;
        batch.missing[0][missing] = j as u32;
        missing += usize::from(!found);
    }
    missing
}
