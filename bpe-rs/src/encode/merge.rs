//! Merging the pieces that the caches lack, and inserting them.
//!
//! A merge is a chain of look-ups that each wait for memory. Short pieces are merged eight side by
//! side, so that they wait together.

use super::batch::{Batch, Pieces, BATCH};
use super::cache::{Cache, LONGEST, MEDIUM};
use super::keys::padded;
use super::piece_encoder::PieceEncoder;
use super::value::{Value, MAX_IDS};
use crate::error::{Error, Result};
use crate::simd::{prefetch, Lanes};
use crate::vocab::{SmallMerge, Vocab};

/// Merges side by side: as many as fit the registers.
const ABREAST: usize = 8;
/// A larger buffer for ids is freed after use.
const KEPT_IDS: usize = 1 << 16;

/// Merge `missing` pieces of up to `N` bytes, 16 or 32, that the tables lack, and insert them.
///
/// # Errors
///
/// `Invalid` for a byte without a token.
#[inline(always)]
pub(super) fn merge_short<S: Lanes, const N: usize>(
    batch: &mut Batch,
    cache: &mut Cache,
    encoder: &mut PieceEncoder,
    vocab: &Vocab,
    pieces: Pieces<'_>,
    missing: usize,
) -> Result<()> {
    if missing == 0 {
        return Ok(());
    }
    let kind = usize::from(N == 32);
    let (pairs, byte_pairs) = (vocab.pairs(), vocab.byte_pairs());
    let byte_pair = |a, b| byte_pairs[usize::from(a) << 8 | usize::from(b)];
    let mut merges = [SmallMerge::<S, N>::empty(); ABREAST];
    // The neighbouring buckets, which `find` is about to read; the home buckets are there.
    for q in 0..missing {
        let j = batch.missing[kind][q] as usize % BATCH;
        if N == 32 {
            prefetch(cache.long.bucket(cache.long.index(batch.hashes[j]) ^ 1));
        } else if batch.keys[j] == 0 {
            prefetch(cache.medium.bucket(cache.medium.index(batch.hashes[j]) ^ 1));
        }
    }
    let mut at = 0;
    while at < missing {
        let (mut group, mut taken) = ([0; ABREAST], 0);
        while at < missing && taken < ABREAST {
            let j = batch.missing[kind][at] as usize % BATCH;
            at += 1;
            // In another bucket, or inserted meanwhile: a new word often occurs twice in a batch.
            match find(batch, cache, pieces, j) {
                Some(value) => batch.values[j] = value,
                None => {
                    let (start, len) = pieces.place(j);
                    let bytes = padded(pieces.text, start, len);
                    merges[taken] = SmallMerge::new(bytes, len, byte_pair);
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
            let piece = pieces.get(j);
            let value = value_of_merge(encoder, vocab, piece, merge, &mut cache.arena)?;
            batch.values[j] = value;
            // Twice in this group.
            if find(batch, cache, pieces, j).is_some() {
                continue;
            }
            match piece.len() {
                _ if batch.keys[j] != 0 && N == 16 => cache.insert_short(batch.keys[j], value),
                0..=MEDIUM => cache.insert_medium(batch.wide_keys[j], value),
                _ => cache.insert_long(batch.hashes[j], piece, value),
            }
        }
    }
    Ok(())
}

/// Merge `missing` pieces of more than 32 bytes that the tables lack, and insert those of up to
/// [`LONGEST`] bytes; the ids of the others stay in the arena until the batch is done.
///
/// # Errors
///
/// `Invalid` for a byte without a token, or a piece of 2^28 tokens.
#[inline(always)]
pub(super) fn merge_long<S: Lanes>(
    batch: &mut Batch,
    cache: &mut Cache,
    encoder: &mut PieceEncoder,
    vocab: &Vocab,
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
        let value = value_of_piece::<S>(encoder, vocab, piece, &mut cache.arena)?;
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
            let (value, place) = cache.find_long(batch.hashes[j])?;
            (cache.long_piece(place) == pieces.get(j)).then_some(value)
        }
        _ if batch.keys[j] != 0 => cache.find_short(batch.keys[j]),
        _ => cache.find_medium(batch.wide_keys[j]),
    }
}

/// The value of `piece`, by merging it.
///
/// # Errors
///
/// `Invalid` for a byte without a token, or a piece of 2^28 tokens.
#[inline(always)]
fn value_of_piece<S: Lanes>(
    encoder: &mut PieceEncoder,
    vocab: &Vocab,
    piece: &[u8],
    arena: &mut Vec<u32>,
) -> Result<Value> {
    pack(encoder, arena, piece, |encoder, ids| {
        encoder.encode_with::<S>(vocab, piece, ids)
    })
}

/// The value of `piece`, which `merge` has merged.
///
/// # Errors
///
/// `Invalid` for a byte without a token.
#[inline(always)]
fn value_of_merge<S: Lanes, const N: usize>(
    encoder: &mut PieceEncoder,
    vocab: &Vocab,
    piece: &[u8],
    merge: &SmallMerge<S, N>,
    arena: &mut Vec<u32>,
) -> Result<Value> {
    let packed = packed_value(vocab, merge).filter(|_| vocab.whole_piece(piece).is_none());
    if let Some(value) = packed {
        return Ok(value);
    }
    pack(encoder, arena, piece, |encoder, ids| {
        match vocab.whole_piece(piece) {
            Some(id) => {
                ids.push(id);
                Ok(())
            }
            None => {
                encoder.numbers.clear();
                encoder.numbers.extend(merge.parts());
                encoder.ids_of_numbers(vocab, ids)
            }
        }
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

/// The ids that `encode` appends to an empty vector as a value.
#[inline(always)]
fn pack(
    encoder: &mut PieceEncoder,
    arena: &mut Vec<u32>,
    piece: &[u8],
    encode: impl FnOnce(&mut PieceEncoder, &mut Vec<u32>) -> Result<()>,
) -> Result<Value> {
    let mut ids = std::mem::take(&mut encoder.ids);
    ids.clear();
    let encoded = encode(encoder, &mut ids);
    let fits = ids.len() <= MAX_IDS && arena.len() <= u32::MAX as usize - MAX_IDS;
    let value = match encoded {
        Ok(()) if fits => Ok(Value::new(&ids, arena)),
        Ok(()) => Err(Error::invalid(format!(
            "expected pieces of fewer than 2^28 tokens, got one of {} bytes",
            piece.len()
        ))),
        Err(error) => Err(error),
    };
    if ids.capacity() > KEPT_IDS {
        ids = Vec::new();
    }
    encoder.ids = ids;
    value
}
