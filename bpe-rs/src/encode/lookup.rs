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
        let pieces = Pieces {
            text,
            bounds: &bounds[from..=to],
        };
        let missing = look_up(batch, cache, pieces);
        // Later in a text most batches lack nothing.
        if missing != [0; 3] {
            let state = (&mut **batch, &mut *cache, &mut *encoder);
            match symbols {
                None => merge_bytes(state, vocab, pieces, missing)?,
                Some(symbols) => merge_symbols(state, (vocab, symbols), pieces, missing)?,
            }
        }
        take(&batch.values[..to - from], &cache.arena);
        cache.keep_bounded();
        from = to;
    }
    Ok(())
}

// Fill `batch.values` for the pieces that the caches have; returns how many they lack. In a function of
// its own, which takes little of the stack.
dispatch! { S =>
    fn look_up(batch: &mut Batch, cache: &mut Cache, pieces: Pieces<'_>) -> [usize; 3] {
        let missing = probe::<S>(batch, cache, pieces);
        if missing == [0; 3] {
            prefetch_ids(batch, cache, pieces.count());
        }
        missing
    }
}

/// What merging writes to.
type State<'a> = (&'a mut Batch, &'a mut Cache, &'a mut PieceEncoder);

// Merge the pieces that the caches lack.
dispatch! { S =>
    fn merge_bytes(
        state: State<'_>,
        vocab: &Vocab,
        pieces: Pieces<'_>,
        missing: [usize; 3],
    ) -> Result<()> {
        let starts = Bytes::new(vocab, state.0, pieces, missing);
        merge_missing::<S>(state, (vocab, starts), pieces, missing)
    }
}

// [`merge_bytes`] for a vocabulary whose texts are not bytes before merging.
dispatch! { S =>
    fn merge_symbols(
        state: State<'_>,
        of: (&Vocab, &Symbols),
        pieces: Pieces<'_>,
        missing: [usize; 3],
    ) -> Result<()> {
        let starts = Characters(of.0, of.1);
        merge_missing::<S>(state, (of.0, starts), pieces, missing)
    }
}

/// Merge the pieces that the caches lack, and prefetch the ids of all.
#[inline(always)]
fn merge_missing<S: Lanes>(
    (batch, cache, encoder): State<'_>,
    (vocab, starts): (&Vocab, impl PieceStart),
    pieces: Pieces<'_>,
    missing: [usize; 3],
) -> Result<()> {
    let from = (vocab, starts);
    // All together where the parts of long pieces may be few.
    let kinds = 0..if starts.may_shorten() { 3 } else { 1 };
    let left = merge_short::<S, 16>(batch, cache, encoder, from, pieces, (kinds, missing))?;
    let left = merge_short::<S, 32>(batch, cache, encoder, from, pieces, (1..3, left))?;
    debug_assert_eq!(left[1], 0, "up to 32 bytes have no more parts");
    merge_long::<S>(batch, cache, encoder, starts, pieces, left[2])?;
    prefetch_ids(batch, cache, pieces.count());
    Ok(())
}

/// Fetch the ids of the values of a batch of `count` pieces.
#[inline(always)]
fn prefetch_ids(batch: &Batch, cache: &Cache, count: usize) {
    let values = &batch.values[..count];
    if is_mixed(values) {
        // Branch-free, because which values are in the arena cannot be predicted: for a packed one
        // the prefetch is of the value itself, which is in the cache.
        for value in values {
            let here: *const u32 = std::ptr::from_ref(value).cast();
            let in_arena = cache.arena.as_ptr().wrapping_add(value.start());
            prefetch_at(if value.is_in_arena() { in_arena } else { here });
        }
    }
}
