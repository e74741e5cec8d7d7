//! One text to ids, or to their number: pieces, in batches through the caches, to ids.

use std::ops::Range;

use super::lookup::{each_batch, BYTES_PER_CHECK};
use super::scratch::Scratch;
use super::stages::encode_in_stages;
use super::value::{count_ids, write};
use super::BATCH;
use crate::error::{Error, Result};
use crate::pretokenize::{check_length, Pretokenizer, Scanner};
use crate::threads::check_interrupt;
use crate::vocab::{Symbols, Vocab};

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
        each_batch(
            caches,
            (vocab, vocab.symbols()),
            text,
            bounds,
            |values, arena| {
                write(values, arena, ids);
            },
        )
    })
}

/// Append the ids of `pieces`, which are ranges of `text` in order and not empty. `symbols` are those of
/// a vocabulary whose texts are not bytes before merging, always the same with one `scratch`; it cuts the
/// pieces further where no merge crosses.
///
/// # Errors
/// `Invalid` for a byte without a token, a text of 4 GiB or more or a character that needs a missing
/// unknown token; `Interrupted` when the caller wants to stop.
pub fn encode_pieces(
    vocab: &Vocab,
    symbols: Option<&Symbols>,
    text: &str,
    pieces: impl IntoIterator<Item = Range<usize>>,
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    check_length(text)?;
    let Scratch { caches, bounds, .. } = scratch;
    bounds.clear();
    let mut checked = 0;
    let mut write_ids = |bounds: &[u32], at: usize| {
        if at - checked >= BYTES_PER_CHECK {
            check_interrupt()?;
            checked = at;
        }
        let text = text.as_bytes();
        each_batch(caches, (vocab, symbols), text, bounds, |values, arena| {
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
            from = match symbols {
                Some(symbols) => symbols.cut(text, from..piece.end, BATCH, bounds),
                None => {
                    bounds.push(piece.end as u32);
                    piece.end
                }
            };
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
            each_batch(
                caches,
                (vocab, vocab.symbols()),
                text,
                bounds,
                |values, _| {
                    total += count_ids(values);
                },
            )?;
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
