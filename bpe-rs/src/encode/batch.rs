//! Pieces to ids through the caches, a batch at a time.
//!
//! One loop per step over a few hundred pieces: keys and prefetches, look-ups, misses, output.
//! By the time a table's line is looked at, it has arrived from memory.

use super::cache::{Cache, LONGEST, MEDIUM};
use super::keys::{is_odd, medium_key, short_key, word, Pieces};
use super::misses::merge_missed;
use super::value::Value;
use super::PieceEncoder;
use crate::error::Result;
use crate::simd::{dispatch, prefetch, Lanes};
use crate::vocab::Vocab;

/// Pieces in a batch.
pub(super) const BATCH: usize = 256;

/// Numbers of pieces of a batch.
type Numbers = [u16; BATCH + 1];

/// A batch on its way: the keys of the pieces, their slots in the first table, their values.
pub(super) struct Batch {
    pub(super) keys: [u64; BATCH],
    slots: [u32; BATCH],
    pub(super) values: [Value; BATCH],
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
        Box::new(Self {
            keys: [0; BATCH],
            slots: [0; BATCH],
            values: [Value::default(); BATCH],
            longer: [0; BATCH + 1],
            long: [0; BATCH + 1],
            missed: [[0; BATCH + 1]; 3],
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
    let longer = prepare(batch, cache, all);
    let mut missed = [0; 3];
    for j in 0..(all.bounds.len() - 1).min(BATCH) {
        let entry = cache.short.at(batch.slots[j] as usize);
        batch.values[j] = entry.value;
        // SAFETY: `missed` grew by at most one in each of fewer than BATCH rounds.
        unsafe { *batch.missed[0].get_unchecked_mut(missed[0]) = j as u16 };
        missed[0] += usize::from(entry.key != batch.keys[j]);
    }
    if missed[0] > 0 {
        missed[0] = look_aside(batch, cache, missed[0]);
    }
    let mut long = 0;
    for q in 0..longer {
        let j = usize::from(batch.longer[q]) % BATCH;
        let key = batch.wide_keys[j];
        if key[1] == 0 {
            batch.long[long] = j as u16;
            long += 1;
            continue;
        }
        let (value, found) = cache
            .medium
            .line(cache.medium.place(batch.hashes[j]))
            .find(key);
        batch.values[j] = value;
        batch.missed[0][missed[0]] = j as u16;
        missed[0] += usize::from(!found);
    }
    if long > 0 {
        for q in 0..long {
            let j = usize::from(batch.long[q]) % BATCH;
            let found = cache.find_long(batch.hashes[j]);
            let (value, place) = found.unwrap_or_default();
            prefetch(cache.long_piece(place));
            (batch.values[j], batch.wide_keys[j][0]) = (value, place);
        }
        for q in 0..long {
            let j = usize::from(batch.long[q]) % BATCH;
            let piece = all.get(j);
            if cache.long_piece(batch.wide_keys[j][0]) != piece {
                let class = 1 + usize::from(piece.len() > 32);
                batch.missed[class][missed[class]] = j as u16;
                missed[class] += 1;
            }
        }
    }
    merge_missed::<S, 16>(batch, cache, pieces, vocab, all, missed[0])?;
    merge_missed::<S, 32>(batch, cache, pieces, vocab, all, missed[1])?;
    for q in 0..missed[2] {
        let j = usize::from(batch.missed[2][q]);
        let piece = all.get(j);
        let value = pieces.value::<S>(vocab, piece, &mut cache.arena)?;
        batch.values[j] = value;
        if piece.len() <= LONGEST {
            cache.keep_long(batch.hashes[j], piece, value);
        }
    }
    Ok(())
}

/// Keys and slots of all pieces, their lines on the way; returns how many are longer.
#[inline(always)]
fn prepare(batch: &mut Batch, cache: &Cache, all: Pieces<'_>) -> usize {
    let count = (all.bounds.len() - 1).min(BATCH);
    let (first, last) = (all.bounds[0] as usize, all.bounds[count] as usize);
    let odd = memchr::memchr2(0, 1, &all.text[first..last]).is_some();
    // As long as eight bytes can be read at once.
    let whole = if last + 8 <= all.text.len() {
        count
    } else {
        let readable = |end: &&u32| **end as usize + 8 <= all.text.len();
        all.bounds[..count].iter().take_while(readable).count()
    };
    let mut longer = 0;
    let mut enter = |batch: &mut Batch, j: usize, word: u64, len: usize| {
        let mut key = short_key(word, len);
        let mut other = len > 8;
        if odd && is_odd(key, len) {
            (key, other) = (0, true);
        }
        let slot = cache.short.slot(cache.seeds.short(key));
        batch.keys[j] = key;
        batch.slots[j] = slot as u32;
        prefetch(cache.short.at(slot));
        // SAFETY: `longer` grew by at most one in each of fewer than BATCH rounds.
        unsafe { *batch.longer.get_unchecked_mut(longer) = j as u16 };
        longer += usize::from(other);
    };
    let mut start = first;
    for (j, &end) in all.bounds[1..=whole].iter().enumerate().take(BATCH) {
        // SAFETY: the first `whole` pieces start at least eight bytes before the text's end.
        let word = unsafe { all.text.as_ptr().add(start).cast::<u64>().read_unaligned() };
        enter(batch, j, u64::from_le(word), end as usize - start);
        start = end as usize;
    }
    for j in whole..count {
        let (start, len) = all.place(j);
        enter(batch, j, word(all.text, start), len);
    }
    for q in 0..longer {
        let j = usize::from(batch.longer[q]) % BATCH;
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

/// Look for the first `missed` short pieces beside their slots; returns how many are new.
#[inline(always)]
fn look_aside(batch: &mut Batch, cache: &mut Cache, missed: usize) -> usize {
    let mut new = 0;
    for q in 0..missed {
        let j = usize::from(batch.missed[0][q]) % BATCH;
        match cache.short.find(batch.slots[j] as usize, batch.keys[j]) {
            Some(value) => batch.values[j] = value,
            None => {
                batch.missed[0][new] = j as u16;
                new += 1;
            }
        }
    }
    new
}
