//! Merging the pieces that the caches lack: one by one, or a batch of them side by side.

use std::mem::take;

use super::batch::{Batch, Pieces};
use super::cache::{Cache, LONGEST, MEDIUM};
use super::tables::ShortEntry;
use super::value::{Value, MAX_IDS};
use super::BATCH;
use crate::error::{Error, Result};
use crate::simd::{prefetch, Lanes, Portable};
use crate::vocab::{Merger, MissingByte, SmallMerge, Vocab, MAX_KEPT_PARTS, MOST_PARTS};

/// Merges side by side: as many as fit the registers.
const ABREAST: usize = 8;
/// Longer pieces start from bytes: their numbers would take four times the memory of the piece.
const MOST_BYTES_FROM_CHARACTERS: usize = MAX_KEPT_PARTS;
/// A larger buffer for ids is freed after use.
const KEPT_IDS: usize = 1 << 16;

/// Encodes single pieces by merging, without caches. The caches are filled by it and tested
/// against it.
#[derive(Debug, Default)]
pub struct PieceEncoder {
    pub(super) merger: Merger,
    /// Reusable buffer for merge numbers.
    pub(super) numbers: Vec<u32>,
    /// Reusable buffer for ids.
    ids: Vec<u32>,
    /// Reusable buffer for the symbols of a piece.
    pub(super) symbols: Vec<u32>,
}

impl PieceEncoder {
    /// Append the ids of one piece to `ids`.
    ///
    /// # Errors
    /// `Invalid` for a byte without a token.
    pub fn encode(&mut self, vocab: &Vocab, piece: &[u8], ids: &mut Vec<u32>) -> Result<()> {
        match vocab.symbols() {
            None => self.encode_with::<Portable>(vocab, piece, ids),
            Some(symbols) => self.encode_symbols::<Portable>(vocab, symbols, piece, ids),
        }
    }

    /// [`Self::encode`] on the current level.
    #[inline(always)]
    fn encode_with<S: Lanes>(
        &mut self,
        vocab: &Vocab,
        piece: &[u8],
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        if let Some(id) = vocab.whole_piece(piece) {
            ids.push(id);
            return Ok(());
        }
        self.numbers.clear();
        if self.start_from_characters(vocab, piece) {
            self.merger
                .merge_symbols::<S>(vocab, &self.symbols, &mut self.numbers);
        } else {
            self.merger.merge::<S>(vocab, piece, &mut self.numbers);
        }
        self.merger.finished()?;
        let written = self.ids_of_numbers(vocab, ids);
        if self.numbers.capacity() > MAX_KEPT_PARTS {
            self.numbers = Vec::new();
        }
        written
    }

    /// Put what the characters of `piece` become alone into `self.symbols`; `false` where merging has to
    /// start from bytes, or should because there is little to gain.
    #[inline(always)]
    fn start_from_characters(&mut self, vocab: &Vocab, piece: &[u8]) -> bool {
        if !has_long_characters(piece) || piece.len() > MOST_BYTES_FROM_CHARACTERS {
            return false;
        }
        let Some(starts) = vocab.char_starts() else {
            return false;
        };
        self.symbols.clear();
        self.symbols.resize(piece.len() + MOST_PARTS, 0);
        let count = starts.write(vocab.pairs(), (piece, 0..piece.len()), &mut self.symbols);
        self.symbols.truncate(count.unwrap_or(0));
        count.is_some()
    }

    /// Append the ids of `self.numbers` to `ids`.
    #[inline(always)]
    pub(super) fn ids_of_numbers(&self, vocab: &Vocab, ids: &mut Vec<u32>) -> Result<()> {
        for &number in &self.numbers {
            match (vocab.id(number), vocab.missing_byte()) {
                (Some(id), _) | (None, MissingByte::Id(id)) => ids.push(id),
                (None, MissingByte::Skip) => {}
                (None, MissingByte::Error) => {
                    return Err(Error::invalid(format!(
                        "byte 0x{number:02x} has no token in this vocabulary: expected a token \
                         for each of the 256 bytes, or text that needs none of the missing ones"
                    )))
                }
            }
        }
        Ok(())
    }

    /// The ids that `encode` appends to an empty vector as a value; `len` is the piece's length.
    ///
    /// # Errors
    /// That of `encode`; `Invalid` for a piece of 2^28 tokens.
    #[inline(always)]
    fn value(
        &mut self,
        len: usize,
        arena: &mut Vec<u32>,
        encode: impl FnOnce(&mut Self, &mut Vec<u32>) -> Result<()>,
    ) -> Result<Value> {
        let mut ids = take(&mut self.ids);
        ids.clear();
        let value = encode(self, &mut ids).and_then(|()| {
            if ids.len() > MAX_IDS || arena.len() > u32::MAX as usize - MAX_IDS {
                return Err(Error::invalid(format!(
                    "expected pieces of fewer than 2^28 tokens, got one of {len} bytes"
                )));
            }
            Ok(Value::new(&ids, arena))
        });
        if ids.capacity() <= KEPT_IDS {
            self.ids = ids;
        }
        value
    }
}

#[cfg(test)]
impl PieceEncoder {
    /// [`Self::encode`] that always starts from bytes: its reference for a vocabulary of bytes.
    pub(super) fn encode_from_bytes(&mut self, vocab: &Vocab, piece: &[u8], ids: &mut Vec<u32>) {
        if let Some(id) = vocab.whole_piece(piece) {
            return ids.push(id);
        }
        self.numbers.clear();
        self.merger
            .merge::<Portable>(vocab, piece, &mut self.numbers);
        self.ids_of_numbers(vocab, ids).unwrap();
    }
}

/// Whether there is a character of three bytes or more. To the others, starting from characters saves
/// one merge each at most, which looking them up costs as well.
#[inline(always)]
fn has_long_characters(piece: &[u8]) -> bool {
    piece.iter().fold(0, |most, &byte| byte.max(most)) >= 0xE0
}

/// What the pieces of a vocabulary consist of before merging.
pub(super) trait PieceStart: Copy {
    /// Start merging the piece `text[start..start + len]`; `None` if it has too many parts. One of up to
    /// `N` bytes has not.
    ///
    /// # Errors
    /// `Invalid` for a text that the vocabulary cannot hold.
    fn small<S: Lanes, const N: usize>(
        self,
        text: &[u8],
        start: usize,
        len: usize,
    ) -> Result<Option<SmallMerge<S, N>>>;

    /// [`PieceEncoder::encode`] on the level `S`.
    ///
    /// # Errors
    /// As there.
    fn encode<S: Lanes>(
        self,
        encoder: &mut PieceEncoder,
        piece: &[u8],
        ids: &mut Vec<u32>,
    ) -> Result<()>;
}

/// Pieces of a vocabulary of bytes.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    vocab: &'a Vocab,
    /// Whether any of the pieces has a character of three bytes or more.
    has_long_characters: bool,
}

impl<'a> Bytes<'a> {
    /// For the pieces of a batch, which lie in `text`.
    #[inline(always)]
    pub(super) fn new(vocab: &'a Vocab, text: &[u8]) -> Self {
        Self {
            vocab,
            has_long_characters: has_long_characters(text),
        }
    }
}

impl PieceStart for Bytes<'_> {
    #[inline(always)]
    fn small<S: Lanes, const N: usize>(
        self,
        text: &[u8],
        start: usize,
        len: usize,
    ) -> Result<Option<SmallMerge<S, N>>> {
        let (vocab, piece) = (self.vocab, &text[start..start + len]);
        if self.has_long_characters && has_long_characters(piece) {
            if let Some(starts) = vocab.char_starts() {
                let pairs = vocab.pairs();
                let mut numbers = [0; 32 + MOST_PARTS];
                let room = &mut numbers[..N + MOST_PARTS];
                let piece = (text, start..start + len);
                if let Some(count) = starts.write(pairs, piece, room).filter(|&count| count <= N) {
                    let mut first = [0; N];
                    first.copy_from_slice(&numbers[..N]);
                    let pair = |a, b| pairs.get::<S>(a, b);
                    return Ok(Some(SmallMerge::new(first, count, pair)));
                }
            }
        }
        if len > N {
            return Ok(None);
        }
        let byte_pairs = vocab.byte_pairs();
        let byte_pair = |a, b| byte_pairs[usize::from(a) << 8 | usize::from(b)];
        let bytes = padded(text, start, len);
        Ok(Some(SmallMerge::new(bytes, len, byte_pair)))
    }

    #[inline(always)]
    fn encode<S: Lanes>(
        self,
        encoder: &mut PieceEncoder,
        piece: &[u8],
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        encoder.encode_with::<S>(self.vocab, piece, ids)
    }
}

/// Merge the pieces that the tables lack side by side and insert them: with `N` of 16 those of the
/// first kind, with 32 the others. Those with more than `N` parts are left at the start of
/// `batch.missing[2]`; returns how many they are.
///
/// A merge is a chain of look-ups that each wait for memory. Several pieces are merged side by side,
/// one in a lane, so that they wait together.
#[inline(always)]
pub(super) fn merge_short<S: Lanes, const N: usize>(
    batch: &mut Batch,
    cache: &mut Cache,
    encoder: &mut PieceEncoder,
    (vocab, starts): (&Vocab, impl PieceStart),
    pieces: Pieces<'_>,
    missing: [usize; 3],
) -> Result<usize> {
    // Two lists one after the other; the second is empty for `N` of 16.
    let (kind, count, all) = match N {
        32 => (1, missing[1], missing[1] + missing[2]),
        _ => (0, missing[0], missing[0]),
    };
    let mut left = 0;
    if all == 0 {
        return Ok(left);
    }
    let pairs = vocab.pairs();
    let mut merges = [SmallMerge::<S, N>::empty(); ABREAST];
    let index = |batch: &Batch, q: usize| {
        let place = if q < count {
            batch.missing[kind][q]
        } else {
            batch.missing[2][q - count]
        };
        place as usize % BATCH
    };
    // The neighbouring buckets, which `find` is about to read; the home buckets are there.
    for q in 0..all {
        let j = index(batch, q);
        let hash = batch.hashes[j];
        if N == 32 {
            prefetch(cache.long.bucket(cache.long.place(hash) ^ 1));
        } else if batch.keys[j] == 0 {
            prefetch(cache.medium.bucket(cache.medium.place(hash) ^ 1));
        }
    }
    // The pieces in the lanes; a lane that is done gets the next piece.
    let (mut group, mut lanes, mut at) = ([0; ABREAST], 0, 0);
    loop {
        while at < all && lanes < ABREAST {
            let j = index(batch, at);
            at += 1;
            let (start, len) = pieces.place(j);
            // Even whole characters would be too many, or the tables do not keep it.
            if len > 4 * N {
                batch.missing[2][left] = j as u32;
                left += 1;
                continue;
            }
            // In another bucket, or inserted meanwhile: a new word often occurs twice in a batch.
            if let Some(value) = find(batch, cache, pieces, j) {
                batch.values[j] = value;
                continue;
            }
            if let Some(merge) = starts.small(pieces.text, start, len)? {
                merges[lanes] = merge;
                group[lanes] = j;
                lanes += 1;
            } else {
                // Before those of this list that are not read yet.
                batch.missing[2][left] = j as u32;
                left += 1;
            }
        }
        if lanes == 0 {
            return Ok(left);
        }
        // Without a branch for each lane, because when a piece is done cannot be predicted.
        let mut done = 0u32;
        for (lane, merge) in merges[..lanes].iter_mut().enumerate() {
            done |= u32::from(!merge.step(pairs)) << lane;
        }
        while done != 0 {
            // The last one first: the lane that moves to its place is not done.
            let lane = done.ilog2() as usize % ABREAST;
            done ^= 1 << lane;
            let (merge, j) = (&merges[lane], group[lane]);
            let piece = pieces.get(j);
            let value = value_of_merge(encoder, vocab, piece, merge, &mut cache.arena)?;
            batch.values[j] = value;
            // It is in the table already if the same piece was in another lane.
            if find(batch, cache, pieces, j).is_none() {
                match (piece.len(), batch.keys[j]) {
                    (_, key) if key != 0 && N == 16 => {
                        cache.short.insert(ShortEntry { key, value });
                    }
                    (0..=MEDIUM, _) => cache.medium.insert(batch.wide_keys[j], value),
                    _ => cache.insert_long(batch.hashes[j], piece, value),
                }
            }
            lanes -= 1;
            merges[lane] = merges[lanes];
            group[lane] = group[lanes];
        }
    }
}

/// Merge the first `missing` pieces of `batch.missing[2]` one by one and insert those of up to
/// [`LONGEST`] bytes; the ids of the others stay in the arena until the batch is done.
#[inline(always)]
pub(super) fn merge_long<S: Lanes>(
    batch: &mut Batch,
    cache: &mut Cache,
    encoder: &mut PieceEncoder,
    starts: impl PieceStart,
    pieces: Pieces<'_>,
    missing: usize,
) -> Result<()> {
    // Those that are kept come first, so that their ids are the first part of the arena. One loop
    // for both kinds, so that merging is inlined only once.
    let indices = &mut batch.missing[2][..missing];
    indices.sort_unstable_by_key(|&j| pieces.get(j as usize).len() > LONGEST);
    cache.arena_kept = usize::MAX;
    for q in 0..missing {
        let j = batch.missing[2][q] as usize % BATCH;
        let piece = pieces.get(j);
        let keep = piece.len() <= LONGEST;
        if keep {
            // Inserted meanwhile, as in `merge_short`.
            if let Some(value) = find(batch, cache, pieces, j) {
                batch.values[j] = value;
                continue;
            }
        } else {
            cache.arena_kept = cache.arena_kept.min(cache.arena.len());
        }
        let value = encoder.value(piece.len(), &mut cache.arena, |encoder, ids| {
            starts.encode::<S>(encoder, piece, ids)
        })?;
        batch.values[j] = value;
        if keep {
            cache.insert_long(batch.hashes[j], piece, value);
        }
    }
    cache.arena_kept = cache.arena_kept.min(cache.arena.len());
    Ok(())
}

/// The value of piece `j` of the batch, if a table has it.
#[inline(always)]
fn find(batch: &Batch, cache: &mut Cache, pieces: Pieces<'_>, j: usize) -> Option<Value> {
    match pieces.get(j).len() {
        len if len > MEDIUM => {
            let (value, place) = cache.long.find(batch.hashes[j])?;
            (cache.long_piece(place) == pieces.get(j)).then_some(value)
        }
        _ if batch.keys[j] != 0 => cache.short.find(batch.keys[j]),
        _ => cache.medium.find(batch.wide_keys[j]),
    }
}

/// The value of `piece`, which `merge` has merged.
#[inline(always)]
fn value_of_merge<S: Lanes, const N: usize>(
    encoder: &mut PieceEncoder,
    vocab: &Vocab,
    piece: &[u8],
    merge: &SmallMerge<S, N>,
    arena: &mut Vec<u32>,
) -> Result<Value> {
    let whole = vocab.whole_piece(piece);
    if whole.is_none() {
        if let Some(value) = packed_value(vocab, merge) {
            return Ok(value);
        }
        if let Some(value) = arena_value(vocab, merge, arena) {
            return Ok(value);
        }
    }
    encoder.value(piece.len(), arena, |encoder, ids| {
        if let Some(id) = whole {
            ids.push(id);
            return Ok(());
        }
        encoder.numbers.clear();
        encoder.numbers.extend(merge.parts());
        encoder.ids_of_numbers(vocab, ids)
    })
}

/// The ids of up to three parts as a packed value; `None` if there are more, if a part has no id or
/// if an id has too many bits.
#[inline(always)]
fn packed_value<S: Lanes, const N: usize>(
    vocab: &Vocab,
    merge: &SmallMerge<S, N>,
) -> Option<Value> {
    let count = merge.count();
    if count > 3 {
        return None;
    }
    let mut ids = [0; 3];
    for (id, number) in ids.iter_mut().zip(merge.parts()) {
        *id = vocab.id(number)?;
    }
    Value::packed(ids, count)
}

/// The ids of the parts as a value in the arena; `None` if a part has no id or if the arena is full.
#[inline(always)]
fn arena_value<S: Lanes, const N: usize>(
    vocab: &Vocab,
    merge: &SmallMerge<S, N>,
    arena: &mut Vec<u32>,
) -> Option<Value> {
    let start = arena.len();
    let mut ids = [0; N];
    for (id, number) in ids.iter_mut().zip(merge.parts()) {
        *id = vocab.id(number)?;
    }
    arena.extend_from_slice(&ids);
    arena.truncate(start + merge.count());
    Value::in_arena(start, merge.count())
}

/// `N` bytes from `text[start]` on. The first `len` are the piece; the others may be anything.
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
