//! Pieces to values through the caches, a batch at a time: probe, merge what is missing, prefetch.

use super::batch::{Batch, Pieces, BATCH};
use super::cache::Cache;
use super::merge::{merge_long, merge_short};
use super::output;
use super::piece_encoder::PieceEncoder;
use super::probe::probe;
use crate::error::Result;
use crate::simd::{dispatch, prefetch_at, Lanes};
use crate::vocab::Vocab;

/// The caches of one vocabulary and thread, with what fills them.
pub(super) struct CachedEncoder {
    batch: Box<Batch>,
    cache: Cache,
    encoder: PieceEncoder,
}

impl CachedEncoder {
    /// Empty caches that may grow to about `cache_limit` bytes.
    pub(super) fn new(cache_limit: usize) -> Self {
        Self {
            batch: Batch::new(),
            cache: Cache::new(cache_limit),
            encoder: PieceEncoder::default(),
        }
    }

    /// The number of pieces in the caches.
    pub(super) fn pieces(&self) -> usize {
        self.cache.pieces()
    }

    /// The encoder of pieces that are in no cache.
    pub(super) fn piece_encoder(&mut self) -> &mut PieceEncoder {
        &mut self.encoder
    }

    /// Bytes that the caches take now.
    pub(super) fn cache_bytes(&self) -> usize {
        self.cache.size()
    }

    /// Look up the pieces `bounds[i]..bounds[i + 1]` of `text`; `take(batch, cache, count)` is called
    /// with the first `count` values of each batch.
    ///
    /// # Errors
    ///
    /// `Invalid` for a byte without a token.
    #[inline(always)]
    pub(super) fn each_batch(
        &mut self,
        vocab: &Vocab,
        text: &[u8],
        bounds: &[u32],
        mut take: impl FnMut(&Batch, &Cache, usize),
    ) -> Result<()> {
        let Self {
            batch,
            cache,
            encoder,
        } = self;
        let mut from = 0;
        while from + 1 < bounds.len() {
            let to = (from + BATCH).min(bounds.len() - 1);
            look_up(batch, cache, encoder, vocab, text, &bounds[from..=to])?;
            take(batch, cache, to - from);
            cache.keep_bounded();
            from = to;
        }
        Ok(())
    }
}

dispatch! { S =>
    fn look_up(
        batch: &mut Batch,
        cache: &mut Cache,
        encoder: &mut PieceEncoder,
        vocab: &Vocab,
        text: &[u8],
        bounds: &[u32],
    ) -> Result<()> {
        look_up_with::<S>(batch, cache, encoder, vocab, Pieces { text, bounds })
    }
}

/// Fill `batch.values` for all pieces, at most [`BATCH`].
#[inline(always)]
fn look_up_with<S: Lanes>(
    batch: &mut Batch,
    cache: &mut Cache,
    encoder: &mut PieceEncoder,
    vocab: &Vocab,
    pieces: Pieces<'_>,
) -> Result<()> {
    let count = (pieces.bounds.len() - 1).min(BATCH);
    let missing = probe::<S>(batch, cache, pieces);
    merge_short::<S, 16>(batch, cache, encoder, vocab, pieces, missing[0])?;
    merge_short::<S, 32>(batch, cache, encoder, vocab, pieces, missing[1])?;
    merge_long::<S>(batch, cache, encoder, vocab, pieces, missing[2])?;
    if output::is_mixed(&batch.values[..count]) {
        // Branch-free, because which values are in the arena cannot be predicted: for a packed one
        // the prefetch is of the value itself, which is in the cache.
        for value in &batch.values[..count] {
            let here: *const u32 = std::ptr::from_ref(value).cast();
            let start = value.bits() as u32 as usize;
            let in_arena = cache.arena.as_ptr().wrapping_add(start);
            prefetch_at(if value.is_in_arena() { in_arena } else { here });
        }
    }
    Ok(())
}
