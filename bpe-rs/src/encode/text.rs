//! One text to ids, or to their number: pieces, in batches through the caches, to ids.

use std::ops::Range;

use super::batch::{probe, Batch, Pieces};
use super::cache::Cache;
use super::merge::{merge_long, merge_short, Bytes, PieceEncoder, PieceStart};
use super::scratch::{Caches, Scratch};
use super::stages::encode_in_stages;
use super::symbols::Characters;
use super::value::{count_ids, is_mixed, write, Value};
use super::BATCH;
use crate::error::{Error, Result};
use crate::pretokenize::{check_length, Pretokenizer, Scanner};
use crate::simd::{dispatch, prefetch_at, Lanes};
use crate::threads::check_interrupt;
use crate::vocab::{Symbols, Vocab};

/// Bytes of text between two checks whether the caller wants to stop.
pub(super) const BYTES_PER_CHECK: usize = 1 << 20;

/// Append the ids of `text` to `ids`, special tokens as plain text.
///
/// # Errors
/// `Pattern` when the regex engine gives up, `Invalid` for a byte without a token or a text of 4 GiB
/// or more, `Interrupted` when the caller wants to stop.
pub fn encode_into(
    vocab: &Vocab,
    pattern: &Pretokenizer,
    text: &str,
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let Scratch {
        scanner,
        caches,
        stages: buffers,
        ..
    } = scratch;
    each_stretch(pattern, scanner, text, |base, bounds| {
        let text = &text.as_bytes()[base..];
        if let Some(stages) = vocab.stages() {
            return encode_in_stages((caches, buffers), (vocab, stages), text, bounds, ids);
        }
        each_batch(caches, vocab, text, bounds, |values, arena| {
            write(values, arena, ids);
        })
    })
}

/// Append the ids of `pieces`, which are ranges of `text` in order, where texts are not bytes before
/// merging. The vocabulary cuts the pieces further where no merge crosses.
///
/// # Errors
/// `Invalid` for a vocabulary of bytes, a text of 4 GiB or more or a character that needs a missing
/// unknown token; `Interrupted` when the caller wants to stop.
pub fn encode_pieces(
    vocab: &Vocab,
    text: &str,
    pieces: impl IntoIterator<Item = Range<usize>>,
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let Some(symbols) = vocab.symbols() else {
        return Err(Error::invalid(
            "expected a vocabulary of characters, got one of bytes",
        ));
    };
    check_length(text)?;
    let Scratch { caches, bounds, .. } = scratch;
    bounds.clear();
    let mut checked = 0;
    let mut write_ids = |bounds: &[u32], at: usize| {
        if at - checked >= BYTES_PER_CHECK {
            check_interrupt()?;
            checked = at;
        }
        each_batch(caches, vocab, text.as_bytes(), bounds, |values, arena| {
            write(values, arena, ids);
        })
    };
    for piece in pieces {
        // A gap before the piece ends the stretch.
        if bounds.last() != Some(&(piece.start as u32)) {
            write_ids(bounds, piece.start)?;
            bounds.clear();
            bounds.push(piece.start as u32);
        }
        let mut from = piece.start;
        while from < piece.end {
            from = symbols.cut(text, from..piece.end, BATCH, bounds);
            if bounds.len() > BATCH {
                write_ids(bounds, from)?;
                bounds.clear();
                bounds.push(from as u32);
            }
        }
    }
    write_ids(bounds, text.len())
}

/// The number of ids of `text`; `None` as soon as there are more than `limit`.
///
/// # Errors
/// As [`encode_into`].
pub fn count(
    vocab: &Vocab,
    pattern: &Pretokenizer,
    text: &str,
    limit: usize,
    scratch: &mut Scratch,
) -> Result<Option<usize>> {
    let Scratch {
        scanner,
        caches,
        stages: buffers,
        ..
    } = scratch;
    let (mut total, mut ids) = (0, Vec::new());
    let counted = each_stretch(pattern, scanner, text, |base, bounds| {
        let text = &text.as_bytes()[base..];
        if let Some(stages) = vocab.stages() {
            ids.clear();
            encode_in_stages((caches, buffers), (vocab, stages), text, bounds, &mut ids)?;
            total += ids.len();
        } else {
            each_batch(caches, vocab, text, bounds, |values, _| {
                total += count_ids(values);
            })?;
        }
        // An error is the way to stop early.
        if total > limit {
            return Err(Error::interrupted());
        }
        Ok(())
    });
    if total > limit {
        return Ok(None);
    }
    counted.map(|()| Some(total))
}

/// Call `work(base, bounds)` for every stretch of pieces until it returns an error: piece `i` of a
/// stretch is `text[base + bounds[i]..base + bounds[i + 1]]`.
fn each_stretch(
    pattern: &Pretokenizer,
    scanner: &mut Scanner,
    text: &str,
    mut work: impl FnMut(usize, &[u32]) -> Result<()>,
) -> Result<()> {
    let Some(rules) = pattern.rules().filter(|_| text.len() <= u32::MAX as usize) else {
        // Any other pattern, and the error for a text that is too long.
        let mut result = Ok(());
        pattern.stretches(text, &mut |base, bounds| {
            if result.is_ok() {
                result = work(base, bounds);
            }
        })?;
        return result;
    };
    scanner.reset();
    let (mut at, mut checked) = (0, 0);
    while at < text.len() {
        let end = scanner.next(rules, text, at);
        work(at, scanner.bounds())?;
        at = end;
        if at - checked >= BYTES_PER_CHECK {
            check_interrupt()?;
            checked = at;
        }
    }
    Ok(())
}

/// Call `take(values, arena)` with the values of the pieces `bounds[i]..bounds[i + 1]` of `text`, up
/// to [`BATCH`] at a time. Values that are not packed are ranges of `arena`.
#[inline(always)]
pub(super) fn each_batch(
    caches: &mut Caches,
    vocab: &Vocab,
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
        match vocab.symbols() {
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

dispatch! { S =>
    fn look_up(
        batch: &mut Batch,
        cache: &mut Cache,
        encoder: &mut PieceEncoder,
        vocab: &Vocab,
        text: &[u8],
        bounds: &[u32],
    ) -> Result<()> {
        let starts = (vocab, Bytes(vocab));
        look_up_with::<S>(batch, cache, encoder, starts, Pieces { text, bounds })
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
        let starts = (vocab, Characters(vocab, symbols));
        look_up_with::<S>(batch, cache, encoder, starts, Pieces { text, bounds })
    }
}

/// Fill `batch.values` for all pieces: probe the caches, merge what they lack, prefetch ids.
#[inline(always)]
fn look_up_with<S: Lanes>(
    batch: &mut Batch,
    cache: &mut Cache,
    encoder: &mut PieceEncoder,
    (vocab, starts): (&Vocab, impl PieceStart),
    pieces: Pieces<'_>,
) -> Result<()> {
    let missing = probe::<S>(batch, cache, pieces);
    let from = (vocab, starts);
    merge_short::<S, 16>(batch, cache, encoder, from, pieces, missing[0])?;
    merge_short::<S, 32>(batch, cache, encoder, from, pieces, missing[1])?;
    merge_long::<S>(batch, cache, encoder, starts, pieces, missing[2])?;
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
