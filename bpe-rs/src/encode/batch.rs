//! Pieces to ids through the caches, a batch at a time.
//!
//! One loop per step over a few hundred pieces: keys and prefetches, look-ups, misses, output.
//! By the time a table's line is looked at, it has arrived from memory.

use super::cache::{Cache, LONGEST, MEDIUM, SHORT};
use super::value::{Value, FAR_LIMIT};
use super::PieceEncoder;
use crate::error::{Error, Result};
use crate::simd::{dispatch, prefetch, Lanes};
use crate::vocab::{SmallMerge, Vocab, SMALL};

/// Merges side by side: enough to wait for memory together, few enough for the registers.
const ABREAST: usize = 4;
const _: () = assert!(MEDIUM <= SMALL);

/// Pieces in a batch.
pub(super) const BATCH: usize = 256;

/// A batch on its way: the places of the pieces, their keys, their values.
pub(super) struct Batch {
    keys: [u64; BATCH],
    slots: [u32; BATCH],
    pub(super) values: [Value; BATCH],
    /// The pieces that the first table does not take, and those it did not have.
    longer: [u16; BATCH + 1],
    missed: [u16; BATCH + 1],
    medium_keys: [[u64; 2]; BATCH],
    hashes: [u64; BATCH],
}

impl Batch {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            keys: [0; BATCH],
            slots: [0; BATCH],
            values: [Value::default(); BATCH],
            longer: [0; BATCH + 1],
            missed: [0; BATCH + 1],
            medium_keys: [[0; 2]; BATCH],
            hashes: [0; BATCH],
        })
    }
}

/// The eight bytes at `text[at..]`, which may end before.
#[inline(always)]
fn word(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(bytes)
        }
    }
}

/// The first `len` of up to eight bytes.
#[inline(always)]
fn first_bytes(word: u64, len: usize) -> u64 {
    // In two steps: a shift by 64 is none.
    word & !(u64::MAX << (4 * len) << (4 * len))
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
        look_up_with::<S>(batch, cache, pieces, vocab, text, bounds)
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
    text: &[u8],
    bounds: &[u32],
) -> Result<()> {
    let count = bounds.len() - 1;
    let mut longer = 0;
    for (j, ends) in bounds.windows(2).enumerate().take(BATCH) {
        let (start, len) = (ends[0] as usize, (ends[1] - ends[0]) as usize);
        let kept = len.min(SHORT);
        let key = first_bytes(word(text, start), kept) | (kept as u64) << 56;
        let slot = cache.short.slot(cache.seeds.short(key));
        batch.keys[j] = key;
        batch.slots[j] = slot as u32;
        prefetch(cache.short.at(slot));
        batch.longer[longer] = j as u16;
        longer += usize::from(len > SHORT);
    }
    let place = |j: usize| (bounds[j] as usize, (bounds[j + 1] - bounds[j]) as usize);
    for q in 0..longer {
        let (start, len) = place(usize::from(batch.longer[q]));
        if len <= MEDIUM {
            let high = first_bytes(word(text, start + 8), len - 8) | (len as u64) << 56;
            let key = [word(text, start), high];
            batch.medium_keys[q] = key;
            batch.hashes[q] = cache.seeds.medium(key);
            prefetch(cache.medium.at(cache.medium.slot(batch.hashes[q])));
        } else if len <= LONGEST {
            batch.hashes[q] = cache.seeds.long(&text[start..start + len]);
            prefetch(cache.long.at(cache.long.slot(batch.hashes[q])));
        }
    }
    let mut missed = 0;
    for j in 0..count.min(BATCH) {
        let entry = cache.short.at(batch.slots[j] as usize);
        batch.values[j] = entry.value;
        batch.missed[missed] = j as u16;
        missed += usize::from(entry.key != batch.keys[j]);
    }
    // What no table has, by length: up to sixteen bytes, and more.
    let mut small = 0;
    for q in 0..missed {
        let j = usize::from(batch.missed[q]);
        if place(j).1 > SHORT {
            continue;
        }
        match cache.find_short(batch.slots[j] as usize, batch.keys[j]) {
            Some(value) => batch.values[j] = value,
            None => {
                batch.missed[small] = j as u16;
                small += 1;
            }
        }
    }
    let short = small;
    for q in 0..longer {
        let j = usize::from(batch.longer[q]);
        let (start, len) = place(j);
        let piece = &text[start..start + len];
        let hash = batch.hashes[q];
        let known = if len <= MEDIUM {
            cache.find_medium(cache.medium.slot(hash), batch.medium_keys[q])
        } else if len <= LONGEST {
            cache.find_long(hash, piece)
        } else {
            None
        };
        batch.values[j] = match known {
            Some(value) => value,
            None if len <= MEDIUM => {
                batch.missed[small] = q as u16;
                small += 1;
                continue;
            }
            None => {
                let value = pieces.value::<S>(vocab, piece, &mut cache.arena)?;
                if len <= LONGEST {
                    cache.keep_long(hash, piece, value);
                }
                value
            }
        };
    }
    // Small ones four at a time.
    let pairs = vocab.pairs();
    let byte_pairs = vocab.byte_pairs();
    let byte_pair = |a, b| byte_pairs[usize::from(a) << 8 | usize::from(b)];
    for from in (0..small).step_by(ABREAST) {
        let group = from..small.min(from + ABREAST);
        let index = |at: usize, batch: &Batch| {
            let q = usize::from(batch.missed[at]);
            if at < short {
                (q, q)
            } else {
                (usize::from(batch.longer[q]), q)
            }
        };
        let mut merges = [SmallMerge::EMPTY; ABREAST];
        for at in group.clone() {
            let (start, len) = place(index(at, batch).0);
            merges[at - from] = SmallMerge::new(&text[start..start + len], byte_pair);
        }
        while merges
            .iter_mut()
            .fold(false, |more, merge| merge.step::<S>(pairs) | more)
        {}
        for at in group {
            let (j, q) = index(at, batch);
            let (start, len) = place(j);
            let piece = &text[start..start + len];
            let value = pieces.finish(vocab, piece, &merges[at - from], &mut cache.arena)?;
            batch.values[j] = value;
            if at < short {
                let key = batch.keys[j];
                // The same word may have been missed twice; and not the slot from above: the
                // table may have grown.
                if cache
                    .find_short(cache.short.slot(cache.seeds.short(key)), key)
                    .is_none()
                {
                    cache.keep_short(key, value);
                }
            } else {
                let key = batch.medium_keys[q];
                if cache
                    .find_medium(cache.medium.slot(batch.hashes[q]), key)
                    .is_none()
                {
                    cache.keep_medium(key, value);
                }
            }
        }
    }
    Ok(())
}

impl PieceEncoder {
    /// The ids of `piece`, by merging.
    ///
    /// Errors: `Invalid` for a byte without a token, or a piece of 2^28 tokens.
    #[inline(always)]
    fn value<S: Lanes>(
        &mut self,
        vocab: &Vocab,
        piece: &[u8],
        arena: &mut Vec<u32>,
    ) -> Result<Value> {
        self.pack(arena, piece, |this, ids| {
            this.encode_with::<S>(vocab, piece, ids)
        })
    }

    /// The ids of `piece`, merged by `small`.
    ///
    /// Errors: `Invalid` for a byte without a token.
    #[inline(always)]
    fn finish(
        &mut self,
        vocab: &Vocab,
        piece: &[u8],
        small: &SmallMerge,
        arena: &mut Vec<u32>,
    ) -> Result<Value> {
        self.pack(arena, piece, |this, ids| match vocab.whole_piece(piece) {
            Some(id) => {
                ids.push(id);
                Ok(())
            }
            None => {
                this.numbers.clear();
                small.write(&mut this.numbers);
                this.ids_of_numbers(vocab, ids)
            }
        })
    }

    #[inline(always)]
    fn pack(
        &mut self,
        arena: &mut Vec<u32>,
        piece: &[u8],
        encode: impl FnOnce(&mut Self, &mut Vec<u32>) -> Result<()>,
    ) -> Result<Value> {
        let mut ids = std::mem::take(&mut self.ids);
        ids.clear();
        let encoded = encode(self, &mut ids);
        let fits = ids.len() <= FAR_LIMIT && arena.len() <= u32::MAX as usize - FAR_LIMIT;
        let value = match encoded {
            Ok(()) if fits => Ok(Value::new(&ids, arena)),
            Ok(()) => Err(Error::invalid(format!(
                "expected pieces of fewer than 2^28 tokens, got one of {} bytes",
                piece.len()
            ))),
            Err(error) => Err(error),
        };
        if ids.capacity() > 1 << 16 {
            ids = Vec::new();
        }
        self.ids = ids;
        value
    }
}

/// Append the ids of `values` to `out`.
#[inline]
pub(super) fn write(values: &[Value], arena: &[u32], out: &mut Vec<u32>) {
    /// Words written per value, needed or not: a fixed number is faster than the right one.
    const WIDTH: usize = 3;
    out.reserve(WIDTH * values.len());
    let mut len = out.len();
    let mut room = out.as_mut_ptr();
    for (j, value) in values.iter().enumerate() {
        if let Some(place) = value.far() {
            // SAFETY: the `len` words so far are written.
            unsafe { out.set_len(len) };
            out.extend_from_slice(&arena[place]);
            out.reserve(WIDTH * (values.len() - j));
            (len, room) = (out.len(), out.as_mut_ptr());
            continue;
        }
        // SAFETY: at least WIDTH words per remaining value are reserved, this one included.
        unsafe {
            room.add(len)
                .cast::<[u32; WIDTH]>()
                .write_unaligned(value.near())
        };
        len += value.count();
    }
    // SAFETY: `len` grew by at most WIDTH per value, each time over words just written.
    unsafe { out.set_len(len) };
}
