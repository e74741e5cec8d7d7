//! Merging a batch of pieces that the caches lack: side by side, or one by one.

use std::ops::Range;

use super::abreast::Abreast;
use super::batch::{Batch, Pieces};
use super::cache::{Cache, LONGEST, MEDIUM};
use super::piece::PieceEncoder;
use super::starts::PieceStart;
use super::tables::ShortEntry;
use super::value::Value;
use super::BATCH;
use crate::error::Result;
use crate::simd::{prefetch, Lanes};
use crate::vocab::{SmallMerge, Vocab};

/// Merge the pieces that the tables lack side by side and insert them: of `batch.missing` the lists
/// `kinds`, which have `missing` pieces. Those with more than `N` parts are left at the start of their
/// list; returns how many they are.
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
    (kinds, missing): (Range<usize>, [usize; 3]),
) -> Result<[usize; 3]> {
    let mut left = missing;
    left[kinds.clone()].fill(0);
    if missing[kinds.clone()].iter().all(|&count| count == 0) {
        return Ok(left);
    }
    let pairs = vocab.pairs();
    // The neighbouring buckets, which `find` is about to read; the home buckets are there.
    for kind in kinds.clone() {
        for q in 0..missing[kind] {
            let j = batch.missing[kind][q] as usize % BATCH;
            let hash = batch.hashes[j];
            if kind > 0 {
                prefetch(cache.long.bucket(cache.long.place(hash) ^ 1));
            } else if batch.keys[j] == 0 {
                prefetch(cache.medium.bucket(cache.medium.place(hash) ^ 1));
            }
        }
    }
    // A piece that is merged makes room for the next one.
    let mut merges = Abreast::<S, N, usize>::new();
    let (mut kind, mut at) = (kinds.start, 0);
    loop {
        while kind < kinds.end && !merges.is_full() {
            if at == missing[kind] {
                (kind, at) = (kind + 1, 0);
                continue;
            }
            let j = batch.missing[kind][at] as usize % BATCH;
            at += 1;
            let (start, len) = pieces.place(j);
            // Even whole characters would be too many, or the tables do not keep it.
            if len > 3 * N {
                batch.missing[kind][left[kind]] = j as u32;
                left[kind] += 1;
                continue;
            }
            // In another bucket, or inserted meanwhile: a new word often occurs twice in a batch.
            if let Some(value) = find(batch, cache, pieces, j) {
                batch.values[j] = value;
                continue;
            }
            if let Some(merge) = starts.small(pieces.text, start, len)? {
                merges.push(merge, j);
            } else {
                // Before those of this list that are not read yet.
                batch.missing[kind][left[kind]] = j as u32;
                left[kind] += 1;
            }
        }
        if merges.is_empty() {
            return Ok(left);
        }
        merges.step(pairs, |merge, j| {
            let piece = pieces.get(j);
            let value = value_of_merge(encoder, vocab, piece, merge, &mut cache.arena)?;
            batch.values[j] = value;
            // It is in the table already if the same piece was merged beside it.
            if find(batch, cache, pieces, j).is_none() {
                match (piece.len(), batch.keys[j]) {
                    (_, key) if key != 0 && N == 16 => {
                        cache.short.insert(ShortEntry { key, value });
                    }
                    (0..=MEDIUM, _) => cache.medium.insert(batch.wide_keys[j], value),
                    _ => cache.insert_long(batch.hashes[j], piece, value),
                }
            }
            Ok(())
        })?;
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
