//! Pieces to ids through the caches, a batch at a time.
//!
//! One loop per step over a few hundred pieces: keys and prefetches, look-ups, misses, output.
//! By the time a table's line is looked at, it has arrived from memory.

use std::mem::MaybeUninit;

use super::cache::{Cache, LONGEST, MEDIUM};
use super::value::{Value, FAR_LIMIT};
use super::PieceEncoder;
use crate::error::{Error, Result};
use crate::simd::{dispatch, prefetch, Lanes};
use crate::vocab::{SmallMerge, Vocab};

/// Merges side by side: enough to wait for memory together, few enough for the registers.
const ABREAST: usize = 8;

/// Pieces in a batch.
pub(super) const BATCH: usize = 256;

/// Numbers of pieces of a batch.
type Numbers = [u16; BATCH + 1];

/// A batch on its way: the keys of the pieces, their slots in the first table, their values.
pub(super) struct Batch {
    keys: [u64; BATCH],
    slots: [u32; BATCH],
    pub(super) values: [Value; BATCH],
    /// The pieces that are not the first table's: all, and those that are not the second's either.
    longer: Numbers,
    long: Numbers,
    /// Pieces that no table has: up to 16 bytes, up to 32 bytes, and longer ones.
    missed: [Numbers; 3],
    wide_keys: [[u64; 2]; BATCH],
    hashes: [u64; BATCH],
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

/// The pieces of a batch in their text.
#[derive(Clone, Copy)]
struct Pieces<'a> {
    text: &'a [u8],
    bounds: &'a [u32],
}

impl<'a> Pieces<'a> {
    #[inline(always)]
    fn place(self, j: usize) -> (usize, usize) {
        let start = self.bounds[j];
        (start as usize, (self.bounds[j + 1] - start) as usize)
    }

    #[inline(always)]
    fn get(self, j: usize) -> &'a [u8] {
        let (start, len) = self.place(j);
        &self.text[start..start + len]
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

/// The `len` bytes at `text[start..]` and whatever follows them.
#[inline(always)]
fn padded<const N: usize>(text: &[u8], start: usize, len: usize) -> [u8; N] {
    match text[start..].first_chunk::<N>() {
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; N];
            bytes[..len].copy_from_slice(&text[start..start + len]);
            bytes
        }
    }
}

/// The first `len` of up to eight bytes.
#[inline(always)]
fn first_bytes(word: u64, len: usize) -> u64 {
    // In two steps: a shift by 64 is none.
    word & !(u64::MAX << (4 * len) << (4 * len))
}

/// What of the first eight bytes is in the key of a piece, by its length.
const KEPT: [u64; 10] = {
    let mut masks = [0; 10];
    let mut len = 1;
    while len < 8 {
        masks[len] = (1 << (8 * len)) - 1;
        len += 1;
    }
    masks[8] = u64::MAX;
    masks
};
/// A bit behind the piece, so that "a" and "a\0" have different keys.
const END: [u64; 10] = [
    0,
    1 << 8,
    1 << 16,
    1 << 24,
    1 << 32,
    1 << 40,
    1 << 48,
    1 << 56,
    0,
    0,
];

/// The key of a piece of `len` bytes that begins with `word`; 0 for more than eight bytes.
///
/// That of eight bytes has no room for the end bit. It is unique all the same, but where the
/// eighth byte is 0 or 1: see [`is_odd`].
#[inline(always)]
fn short_key(word: u64, len: usize) -> u64 {
    let len = len.min(9);
    word & KEPT[len] | END[len]
}

/// Whether a piece of eight bytes must not be taken for a short one.
#[inline(always)]
fn is_odd(key: u64, len: usize) -> bool {
    len == 8 && key >> 57 == 0
}

/// The key of a piece of 8 to 15 bytes.
#[inline(always)]
fn medium_key(text: &[u8], start: usize, len: usize) -> [u64; 2] {
    let high = first_bytes(word(text, start + 8), len - 8) | (len as u64) << 56;
    [word(text, start), high]
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

/// Merge the first `missed` of the pieces of up to `N` bytes that the tables do not have, several
/// side by side, and keep them.
#[inline(always)]
fn merge_missed<S: Lanes, const N: usize>(
    batch: &mut Batch,
    cache: &mut Cache,
    pieces: &mut PieceEncoder,
    vocab: &Vocab,
    all: Pieces<'_>,
    missed: usize,
) -> Result<()> {
    if missed == 0 {
        return Ok(());
    }
    let class = usize::from(N == 32);
    let (pairs, byte_pairs) = (vocab.pairs(), vocab.byte_pairs());
    let byte_pair = |a, b| byte_pairs[usize::from(a) << 8 | usize::from(b)];
    let mut merges = [SmallMerge::<S, N>::empty(); ABREAST];
    for q in 0..missed {
        let j = usize::from(batch.missed[class][q]) % BATCH;
        if N == 32 {
            prefetch(cache.long.line(cache.long.place(batch.hashes[j]) ^ 1));
        } else if batch.keys[j] == 0 {
            prefetch(cache.medium.line(cache.medium.place(batch.hashes[j]) ^ 1));
        }
    }
    let mut at = 0;
    while at < missed {
        let (mut group, mut taken) = ([0; ABREAST], 0);
        while at < missed && taken < ABREAST {
            let j = usize::from(batch.missed[class][at]) % BATCH;
            at += 1;
            // In the next line after all, or merged meanwhile: a new word seldom comes alone.
            match known(batch, cache, all, j) {
                Some(value) => batch.values[j] = value,
                None => {
                    let (start, len) = all.place(j);
                    merges[taken] = SmallMerge::new(padded(all.text, start, len), len, byte_pair);
                    group[taken] = j;
                    taken += 1;
                }
            }
        }
        let merges = &mut merges[..taken];
        while merges
            .iter_mut()
            .fold(false, |more, merge| merge.step(pairs) | more)
        {}
        for (merge, &j) in merges.iter().zip(&group) {
            let value = pieces.finish(vocab, all.get(j), merge, &mut cache.arena)?;
            batch.values[j] = value;
            if known(batch, cache, all, j).is_some() {
                continue;
            }
            match all.get(j).len() {
                _ if batch.keys[j] != 0 && N == 16 => cache.keep_short(batch.keys[j], value),
                0..=MEDIUM => cache.keep_medium(batch.wide_keys[j], value),
                _ => cache.keep_long(batch.hashes[j], all.get(j), value),
            }
        }
    }
    Ok(())
}

/// What the table of piece `j` has for it.
#[inline(always)]
fn known(batch: &Batch, cache: &mut Cache, all: Pieces<'_>, j: usize) -> Option<Value> {
    match all.get(j).len() {
        len if len > MEDIUM => {
            let (value, place) = cache.find_long(batch.hashes[j])?;
            (cache.long_piece(place) == all.get(j)).then_some(value)
        }
        _ if batch.keys[j] != 0 => cache.find_short(batch.keys[j]),
        _ => cache.find_medium(batch.wide_keys[j]),
    }
}

/// The ids of up to three parts, if all have ids and these fit.
#[inline(always)]
fn near_value<S: Lanes, const N: usize>(vocab: &Vocab, small: &SmallMerge<S, N>) -> Option<Value> {
    let count = small.count();
    if count > 3 {
        return None;
    }
    let mut ids = [0; 3];
    for (id, number) in ids.iter_mut().zip(small.parts()) {
        *id = vocab.id(number)?;
    }
    Value::near(ids, count)
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
    fn finish<S: Lanes, const N: usize>(
        &mut self,
        vocab: &Vocab,
        piece: &[u8],
        small: &SmallMerge<S, N>,
        arena: &mut Vec<u32>,
    ) -> Result<Value> {
        if let Some(value) = near_value(vocab, small).filter(|_| vocab.whole_piece(piece).is_none())
        {
            return Ok(value);
        }
        self.pack(arena, piece, |this, ids| match vocab.whole_piece(piece) {
            Some(id) => {
                ids.push(id);
                Ok(())
            }
            None => {
                this.numbers.clear();
                this.numbers.extend(small.parts());
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

dispatch! { S =>
    pub(super) fn write(values: &[Value], arena: &[u32], out: &mut Vec<u32>) {
        write_with::<S>(values, arena, out)
    }
}

/// Append the ids of `values` to `out`.
#[inline(always)]
fn write_with<S: Lanes>(values: &[Value], arena: &[u32], out: &mut Vec<u32>) {
    out.reserve(3 * values.len() + 16);
    let (fours, rest) = values.as_chunks::<4>();
    for four in fours {
        let packed = four.map(Value::bits);
        if (packed[0] | packed[1] | packed[2] | packed[3]) >> 63 != 0 {
            four.iter()
                .for_each(|&value| write_one::<S>(value, arena, out));
        } else {
            write_packed::<S>(packed, out);
        }
    }
    for &value in rest {
        write_one::<S>(value, arena, out);
    }
}

#[inline(always)]
fn write_one<S: Lanes>(value: Value, arena: &[u32], out: &mut Vec<u32>) {
    match value.far() {
        // A few words too many are quicker to copy than just enough.
        Some(place) if place.len() <= 16 && place.start + 16 <= arena.len() => {
            let len = out.len() + place.len();
            out.extend_from_slice(&arena[place.start..place.start + 16]);
            out.truncate(len);
        }
        Some(place) => out.extend_from_slice(&arena[place]),
        None => write_packed::<S>([value.bits(), 0, 0, 0], out),
    }
}

#[inline(always)]
fn write_packed<S: Lanes>(packed: [u64; 4], out: &mut Vec<u32>) {
    /// More words than four values fill: a fixed number is faster than the right one.
    const WIDTH: usize = 16;
    out.reserve(WIDTH);
    let len = out.len();
    // SAFETY: the words are reserved; `unpack` writes those that it counts.
    unsafe {
        let room = out
            .as_mut_ptr()
            .add(len)
            .cast::<[MaybeUninit<u32>; WIDTH]>();
        out.set_len(len + S::unpack(&packed, &mut *room));
    }
}
