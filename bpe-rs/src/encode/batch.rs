//! A batch of up to 512 pieces, and probing the caches with it.
//!
//! First the keys of all pieces are made and the cache lines of their entries prefetched, then the
//! tables are read one after the other. By the time a line is read, it has arrived from memory.

use super::cache::{Cache, LONGEST, MEDIUM};
use super::tables::ShortEntry;
use super::value::Value;
use super::BATCH;
use crate::simd::{prefetch, Lanes};

/// Indices of pieces in the batch, and room for the 64 that are written at once.
type Indices = [u32; BATCH + 64];

/// The pieces of a batch in their text: piece `j` is `text[bounds[j]..bounds[j + 1]]`.
#[derive(Clone, Copy)]
pub(super) struct Pieces<'a> {
    pub(super) text: &'a [u8],
    pub(super) bounds: &'a [u32],
}

impl<'a> Pieces<'a> {
    /// The number of pieces.
    #[inline(always)]
    pub(super) fn count(self) -> usize {
        (self.bounds.len() - 1).min(BATCH)
    }

    /// What they consist of together.
    #[inline(always)]
    pub(super) fn all(self) -> &'a [u8] {
        &self.text[self.bounds[0] as usize..self.bounds[self.count()] as usize]
    }

    /// Where piece `j` starts, and its length.
    #[inline(always)]
    pub(super) fn place(self, j: usize) -> (usize, usize) {
        let start = self.bounds[j];
        (start as usize, (self.bounds[j + 1] - start) as usize)
    }

    #[inline(always)]
    pub(super) fn get(self, j: usize) -> &'a [u8] {
        let (start, len) = self.place(j);
        &self.text[start..start + len]
    }
}

/// The eight bytes from `text[at]` on as a little-endian number, with zeros behind the text's end.
#[inline(always)]
fn eight_bytes(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    match (rest.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(bytes), _) => u64::from_le_bytes(*bytes),
        (None, Some(last)) if !rest.is_empty() => {
            u64::from_le_bytes(*last) >> (64 - 8 * rest.len())
        }
        _ => {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(bytes)
        }
    }
}

/// The key of a piece of `len` bytes that begins with `word`; 0 for more than eight bytes.
///
/// A one bit behind the piece tells "a" from "a\0". A piece of eight bytes has no room for that
/// bit, so its key is unique unless [`is_ambiguous`].
#[inline(always)]
fn short_key(word: u64, len: u32) -> u64 {
    // Two shifts, because shifting by 64 at once is not allowed.
    let half = 4 * len.min(8);
    let end = 1 << half << half;
    let key = word & !(u64::MAX << half << half) | end;
    if len > 8 {
        0
    } else {
        key
    }
}

/// Whether the key of a piece of eight bytes may be that of a shorter piece: its eighth byte is 0
/// or 1. Such a piece is not kept in the table of short pieces.
#[inline(always)]
fn is_ambiguous(key: u64, len: u32) -> bool {
    len == 8 && key >> 57 == 0
}

/// The key of a piece of 8 to 15 bytes: the bytes, and the length in the last byte.
#[inline(always)]
fn medium_key(text: &[u8], start: usize, len: usize) -> [u64; 2] {
    let bits = 4 * (len - 8);
    let high = eight_bytes(text, start + 8) & !(u64::MAX << bits << bits);
    [eight_bytes(text, start), high | (len as u64) << 56]
}

/// What is known of each piece, by its index in the batch.
pub(super) struct Batch {
    /// Keys of short pieces; 0 for pieces that the first table cannot hold.
    pub(super) keys: [u64; BATCH],
    /// Their home slots in the first table.
    slots: [u32; BATCH],
    /// The entries in these slots.
    entries: [ShortEntry; BATCH],
    /// The result.
    pub(super) values: [Value; BATCH],
    /// 1 for each piece that the next step is about, else 0.
    flags: [u8; BATCH],
    /// The pieces that the first table cannot hold, and those of them that the second cannot either.
    longer: Indices,
    long: Indices,
    /// The pieces that the tables lack, by how they are merged: of up to 15 bytes, of up to 32, and
    /// longer ones.
    pub(super) missing: [Indices; 3],
    /// Keys of medium pieces; for a longer piece the place of the bytes found under its hash, and 0.
    pub(super) wide_keys: [[u64; 2]; BATCH],
    /// Hashes of medium and long pieces.
    pub(super) hashes: [u64; BATCH],
}

impl Batch {
    pub(super) fn new() -> Box<Self> {
        const NONE: Indices = [0; BATCH + 64];
        Box::new(Self {
            keys: [0; BATCH],
            slots: [0; BATCH],
            entries: [ShortEntry::default(); BATCH],
            values: [Value::default(); BATCH],
            flags: [0; BATCH],
            longer: NONE,
            long: NONE,
            missing: [NONE; 3],
            wide_keys: [[0; 2]; BATCH],
            hashes: [0; BATCH],
        })
    }
}

/// Fill `batch.values` for the pieces that the tables have and `batch.missing` with the others.
/// Returns how many of each kind are missing.
#[inline(always)]
pub(super) fn probe<S: Lanes>(
    batch: &mut Batch,
    cache: &mut Cache,
    pieces: Pieces<'_>,
) -> [usize; 3] {
    let count = pieces.count();
    let longer = prepare::<S>(batch, cache, pieces);
    for (entry, &slot) in batch.entries.iter_mut().zip(&batch.slots[..count]) {
        *entry = *cache.short.entry(slot as usize);
    }
    for j in 0..count {
        batch.values[j] = batch.entries[j].value;
        batch.flags[j] = u8::from(batch.entries[j].key != batch.keys[j]);
    }
    let mut missing = [0; 3];
    // Outside their home slots, elsewhere in the bucket.
    for q in 0..flagged::<S>(&batch.flags, count, &mut batch.missing[0]) {
        let j = batch.missing[0][q] as usize % BATCH;
        let slot = batch.slots[j] as usize;
        let (value, found) = cache.short.find_in_bucket(slot, batch.keys[j]);
        batch.values[j] = value;
        batch.missing[0][missing[0]] = j as u32;
        missing[0] += usize::from(!found);
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
        let bucket = cache.medium.bucket(cache.medium.place(batch.hashes[j]));
        let (value, found) = bucket.find(key);
        batch.values[j] = value;
        batch.missing[0][missing[0]] = j as u32;
        missing[0] += usize::from(!found);
    }
    for q in 0..long {
        let j = batch.long[q] as usize % BATCH;
        let found = cache.long.find(batch.hashes[j]);
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
    missing
}

/// Make the keys, slots and hashes of all pieces and prefetch their entries. Returns how many pieces
/// the first table cannot hold.
///
/// The loops over plain arrays have no branches, so that the compiler makes vector instructions.
#[inline(always)]
fn prepare<S: Lanes>(batch: &mut Batch, cache: &Cache, pieces: Pieces<'_>) -> usize {
    let (text, bounds, count) = (pieces.text, pieces.bounds, pieces.count());
    let (starts, ends) = (&bounds[..count], &bounds[1..=count]);
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
        slots[j] = cache.short.slot(keys[j]) as u32;
        flags[j] = u8::from(len > 8);
    }
    let (first, last) = (bounds[0] as usize, bounds[count] as usize);
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
            batch.hashes[j] = cache.medium.seeds.medium(key);
            prefetch(cache.medium.bucket(cache.medium.place(batch.hashes[j])));
        } else {
            batch.wide_keys[j][1] = 0;
            if len <= LONGEST {
                batch.hashes[j] = cache.long.seeds.long(pieces.get(j));
                prefetch(cache.long.bucket(cache.long.place(batch.hashes[j])));
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
