//! Pieces that no table has: merged several side by side, and kept.

use super::batch::{Batch, BATCH};
use super::cache::{Cache, LONGEST, MEDIUM};
use super::keys::{padded, Pieces};
use super::value::{Value, FAR_LIMIT};
use super::PieceEncoder;
use crate::error::{Error, Result};
use crate::simd::{prefetch, Lanes};
use crate::vocab::{SmallMerge, Vocab};

/// Merges side by side: enough to wait for memory together, few enough for the registers.
const ABREAST: usize = 8;

/// Merge the first `missed` of the pieces of up to `N` bytes that the tables do not have, several
/// side by side, and keep them.
#[inline(always)]
pub(super) fn merge_missed<S: Lanes, const N: usize>(
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
        let j = batch.missed[class][q] as usize % BATCH;
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
            let j = batch.missed[class][at] as usize % BATCH;
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

/// Merge the first `missed` of the pieces of more than 32 bytes that the tables do not have. Those
/// that are not too long are kept; the ids of the others stay in the arena until the next batch.
#[inline(always)]
pub(super) fn merge_long<S: Lanes>(
    batch: &mut Batch,
    cache: &mut Cache,
    pieces: &mut PieceEncoder,
    vocab: &Vocab,
    all: Pieces<'_>,
    missed: usize,
) -> Result<()> {
    let numbers = &mut batch.missed[2][..missed];
    // One loop for both kinds, so that the merging is compiled into it.
    numbers.sort_unstable_by_key(|&j| all.get(j as usize).len() > LONGEST);
    cache.lasting = usize::MAX;
    for q in 0..missed {
        let j = batch.missed[2][q] as usize % BATCH;
        let piece = all.get(j);
        let keep = piece.len() <= LONGEST;
        if keep {
            // Merged meanwhile: a new word seldom comes alone.
            if let Some(value) = known(batch, cache, all, j) {
                batch.values[j] = value;
                continue;
            }
        } else {
            cache.lasting = cache.lasting.min(cache.arena.len());
        }
        let value = pieces.value::<S>(vocab, piece, &mut cache.arena)?;
        batch.values[j] = value;
        if keep {
            cache.keep_long(batch.hashes[j], piece, value);
        }
    }
    cache.lasting = cache.lasting.min(cache.arena.len());
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
    pub(super) fn value<S: Lanes>(
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
