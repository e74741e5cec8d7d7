//! Encoding with a vocabulary that merges in two stages: words through the caches to symbols, and runs
//! of symbols that may merge to ids.
//!
//! Few runs occur again, so they have no cache. They are short, because their symbols are tokens.

use super::abreast::Abreast;
use super::lookup::{each_batch, BYTES_PER_CHECK};
use super::piece::PieceEncoder;
use super::scratch::{Caches, StageBuffers};
use super::value::write;
use super::BATCH;
use crate::error::Result;
use crate::simd::{dispatch, Lanes};
use crate::threads::check_interrupt;
use crate::vocab::{SmallMerge, Stages, Vocab, MAX_KEPT_PARTS};

/// Words between two second stages: their symbols stay in the first-level cache.
const WORDS: usize = 4 * BATCH;
/// Most symbols of a run that merges beside others.
const SHORT_RUN: usize = 16;
/// Set in the first symbol of a piece.
const FIRST: u32 = 1 << 31;
/// In place of a symbol that the one before it has absorbed.
const GONE: u32 = u32::MAX;

/// Append the ids of the pieces `bounds[i]..bounds[i + 1]` of `text`.
///
/// # Errors
/// As [`super::encode_into`].
pub(super) fn encode_in_stages(
    (caches, buffers): (&mut Caches, &mut StageBuffers),
    (vocab, stages): (&Vocab, &Stages<Vocab>),
    text: &[u8],
    bounds: &[u32],
    ids: &mut Vec<u32>,
) -> Result<()> {
    let StageBuffers {
        words,
        marks,
        symbols,
        runs,
    } = buffers;
    symbols.clear();
    let (Some(&start), Some(&end)) = (bounds.first(), bounds.last()) else {
        return Ok(());
    };
    let (mut at, end) = (start as usize, end as usize);
    let (mut piece, mut checked) = (0, at);
    while at < end {
        words.clear();
        words.push(at as u32);
        marks.clear();
        while at < end && words.len() <= WORDS {
            let (piece_start, piece_end) = (bounds[piece] as usize, bounds[piece + 1] as usize);
            marks.push(if at == piece_start { FIRST } else { 0 });
            at = stages.cut(text, at..piece_end, WORDS, words);
            marks.resize(words.len() - 1, 0);
            piece += usize::from(at == piece_end);
        }
        // Symbols of the last run so far, which has no end inside.
        let open = symbols.len();
        let mut marks = marks.iter();
        each_batch(
            caches,
            (stages.words(), stages.words().symbols()),
            text,
            words,
            |values, arena| {
                let mut place = symbols.len();
                write(values, arena, symbols);
                for (value, mark) in values.iter().zip(&mut marks) {
                    symbols[place] |= mark;
                    place += value.count();
                }
            },
        )?;
        // What the last run becomes may depend on what follows.
        let whole = if at < end {
            let is_cut = |&i: &usize| !is_joined(stages, symbols[i - 1], symbols[i]);
            (open.max(1)..symbols.len()).rev().find(is_cut).unwrap_or(0)
        } else {
            symbols.len()
        };
        runs.clear();
        find_runs(stages, &symbols[..whole], runs);
        merge_runs(vocab, &mut caches.encoder, symbols, runs)?;
        let encoder = &mut caches.encoder;
        encoder.numbers.clear();
        // Without a branch, because what is gone cannot be predicted.
        encoder.numbers.resize(whole, 0);
        let mut kept = 0;
        for &symbol in &symbols[..whole] {
            encoder.numbers[kept] = symbol & !FIRST;
            kept += usize::from(symbol != GONE);
        }
        encoder.numbers.truncate(kept);
        encoder.ids_of_numbers(vocab, ids)?;
        symbols.drain(..whole);
        if at - checked >= BYTES_PER_CHECK {
            check_interrupt()?;
            checked = at;
        }
    }
    symbols.shrink_to(MAX_KEPT_PARTS);
    Ok(())
}

/// Whether a merge of the second stage may cross the place between two neighbours.
#[inline(always)]
fn is_joined(stages: &Stages<Vocab>, left: u32, right: u32) -> bool {
    right & FIRST == 0 && stages.may_join(left & !FIRST, right)
}

/// Append the runs of two and more symbols that may merge.
fn find_runs(stages: &Stages<Vocab>, symbols: &[u32], runs: &mut Vec<(usize, usize)>) {
    /// Symbols that are looked at without a branch.
    const BLOCK: usize = 64;
    // The start of a run that goes on. The last symbol has none behind it, so it ends there.
    let mut open = None;
    for (block, from) in (0..symbols.len()).step_by(BLOCK).enumerate() {
        let end = symbols.len().min(from + BLOCK + 1);
        let mut joined = 0u64;
        for (at, two) in symbols[from..end].windows(2).enumerate() {
            joined |= u64::from(is_joined(stages, two[0], two[1])) << at;
        }
        // A bit for each first and for each last symbol of a run.
        let mut changes = joined ^ (joined << 1 | u64::from(open.is_some()));
        while changes != 0 {
            let at = BLOCK * block + changes.trailing_zeros() as usize;
            changes &= changes - 1;
            match open.take() {
                None => open = Some(at),
                Some(start) => runs.push((start, at + 1 - start)),
            }
        }
    }
}

dispatch! { S =>
    fn merge_runs(
        vocab: &Vocab,
        encoder: &mut PieceEncoder,
        symbols: &mut [u32],
        runs: &[(usize, usize)],
    ) -> Result<()> {
        merge_runs_with::<S>(vocab, encoder, symbols, runs)
    }
}

/// Merge the `runs` of `symbols`. Each becomes its parts, and [`GONE`] behind them.
#[inline(always)]
fn merge_runs_with<S: Lanes>(
    vocab: &Vocab,
    encoder: &mut PieceEncoder,
    symbols: &mut [u32],
    runs: &[(usize, usize)],
) -> Result<()> {
    let pairs = vocab.pairs();
    let (mut merges, mut next) = (Abreast::<S, SHORT_RUN, (usize, usize)>::new(), 0);
    loop {
        while !merges.is_full() && next < runs.len() {
            let (start, len) = runs[next];
            next += 1;
            symbols[start] &= !FIRST;
            let run = &symbols[start..start + len];
            if len > SHORT_RUN {
                encoder.numbers.clear();
                encoder
                    .merger
                    .merge_symbols::<S>(vocab, run, &mut encoder.numbers);
                encoder.merger.finished()?;
                let parts = encoder.numbers.iter().copied();
                replace(&mut symbols[start..start + len], parts);
                continue;
            }
            let merge = SmallMerge::of(run, |a, b| pairs.get::<S>(a, b));
            merges.push(merge, (start, len));
        }
        if merges.is_empty() {
            return Ok(());
        }
        merges.step(pairs, |merge, (start, len)| {
            replace(&mut symbols[start..start + len], merge.parts());
            Ok(())
        })?;
    }
}

/// Write `parts`, at most as many, over `run`.
#[inline(always)]
fn replace(run: &mut [u32], parts: impl Iterator<Item = u32>) {
    let mut count = 0;
    for (symbol, part) in run.iter_mut().zip(parts) {
        *symbol = part;
        count += 1;
    }
    run[count..].fill(GONE);
}
