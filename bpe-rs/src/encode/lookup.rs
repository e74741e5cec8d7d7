//! A stretch of pieces to their values: probe the caches, merge what they lack.

use super::batch::{probe, Batch, Pieces};
use super::cache::Cache;
use super::merge::{merge_long, merge_short};
use super::piece::PieceEncoder;
use super::scratch::Caches;
use super::starts::{Bytes, PieceStart};
use super::symbols::Characters;
use super::value::{is_mixed, Value};
use super::BATCH;
use crate::error::Result;
use crate::simd::{dispatch, prefetch_at, Lanes};
use crate::vocab::{Symbols, Vocab};

/// Bytes of text between two checks whether the caller wants to stop.
pub(super) const BYTES_PER_CHECK: usize = 1 << 20;

/// Call `take(values, arena)` with the values of the pieces `bounds[i]..bounds[i + 1]` of `text`, up
/// to [`BATCH`] at a time. Values that are not packed are ranges of `arena`. The symbols are those of texts
/// that are not bytes before merging.
#[inline(always)]
pub(super) fn each_batch(
    caches: &mut Caches,
    (vocab, symbols): (&Vocab, Option<&Symbols>),
    text: &[u8],
    bounds: &[u32],
    mut take: impl FnMut(&[Value], &[u32]),
) -> Result<()> {
    let Caches {
        batch,
        cache,
        encoder,
    } = caches;
    let mut from = 0;
    while from + 1 < bounds.len() {
        let to = (from + BATCH).min(bounds.len() - 1);
        let bounds = &bounds[from..=to];
        match symbols {
            None => look_up(batch, cache, encoder, vocab, text, bounds)?,
            Some(symbols) => {
                look_up_symbols(batch, cache, encoder, vocab, symbols, text, bounds)?;
            }
        }
        take(&batch.values[..to - from], &cache.arena);
        cache.keep_bounded();
        from = to;
    }
    Ok(())
}

// Fill `batch.values` for all pieces: probe the caches, merge what they lack, prefetch ids.
dispatch! { S =>
    fn look_up(
        batch: &mut Batch,
        cache: &mut Cache,
        encoder: &mut PieceEncoder,
        vocab: &Vocab,
        text: &[u8],
        bounds: &[u32],
    ) -> Result<()> {
        let pieces = Pieces { text, bounds };
        let missing = probe::<S>(batch, cache, pieces);
        // Later in a text most batches lack nothing, and need not be looked through.
        let new = match missing {
            [0, 0, 0] => &[],
            _ => &text[bounds[0] as usize..bounds[bounds.len() - 1] as usize],
        };
        let starts = (vocab, Bytes::new(vocab, new));
        merge_missing::<S>(batch, cache, encoder, starts, pieces, missing)
    }
}

// [`look_up`] for a vocabulary whose texts are not bytes before merging.
dispatch! { S =>
    fn look_up_symbols(
        batch: &mut Batch,
        cache: &mut Cache,
        encoder: &mut PieceEncoder,
        vocab: &Vocab,
        symbols: &Symbols,
        text: &[u8],
        bounds: &[u32],
    ) -> Result<()> {
        let pieces = Pieces { text, bounds };
        let missing = probe::<S>(batch, cache, pieces);
        let starts = (vocab, Characters(vocab, symbols));
        merge_missing::<S>(batch, cache, encoder, starts, pieces, missing)
    }
}

/// Merge the pieces that the caches lack, and prefetch the ids of all.
#[inline(always)]
fn merge_missing<S: Lanes>(
    batch: &mut Batch,
    cache: &mut Cache,
    encoder: &mut PieceEncoder,
    (vocab, starts): (&Vocab, impl PieceStart),
    pieces: Pieces<'_>,
    missing: [usize; 3],
) -> Result<()> {
    let from = (vocab, starts);
    // All together where the parts of long pieces may be few.
    let kinds = 0..if starts.may_shorten() { 3 } else { 1 };
    let left = merge_short::<S, 16>(batch, cache, encoder, from, pieces, (kinds, missing))?;
    let left = merge_short::<S, 32>(batch, cache, encoder, from, pieces, (1..3, left))?;
    merge_long::<S>(batch, cache, encoder, starts, pieces, left[2])?;
    let values = &batch.values[..pieces.count()];
    if is_mixed(values) {
        // Branch-free, because which values are in the arena cannot be predicted: for a packed one
        // the prefetch is of the value itself, which is in the cache.
        for value in values {
            let here: *const u32 = std::ptr::from_ref(value).cast();
            let in_arena = cache.arena.as_ptr().wrapping_add(value.start());
            prefetch_at(if value.is_in_arena() { in_arena } else { here });
        }
    }
    Ok(())
}
