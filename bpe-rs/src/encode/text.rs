//! One text to ids, or to their number.

use super::output;
use super::scratch::Scratch;
use crate::error::{Error, Result};
use crate::pretokenize::{Pretokenizer, Scanner};
use crate::threads::check_interrupt;
use crate::vocab::Vocab;

/// Bytes of text between two checks whether the caller wants to stop.
pub(super) const BYTES_PER_CHECK: usize = 1 << 20;

/// Append the ids of `text` to `ids`, special tokens as plain text.
///
/// # Errors
///
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
        scanner, encoder, ..
    } = scratch;
    each_stretch(pattern, scanner, text, |base, bounds| {
        let text = &text.as_bytes()[base..];
        encoder.each_batch(vocab, text, bounds, |batch, cache, count| {
            output::write(&batch.values[..count], &cache.arena, ids);
        })
    })
}

/// The number of ids of `text`; `None` as soon as there are more than `limit`.
///
/// # Errors
///
/// As [`encode_into`].
pub fn count(
    vocab: &Vocab,
    pattern: &Pretokenizer,
    text: &str,
    limit: usize,
    scratch: &mut Scratch,
) -> Result<Option<usize>> {
    let Scratch {
        scanner, encoder, ..
    } = scratch;
    let mut total = 0;
    let counted = each_stretch(pattern, scanner, text, |base, bounds| {
        let text = &text.as_bytes()[base..];
        encoder.each_batch(vocab, text, bounds, |batch, _, count| {
            let values = batch.values[..count].iter();
            total += values.map(|value| value.count()).sum::<usize>();
        })?;
        // An error is the way to stop early.
        if total > limit {
            Err(Error::interrupted())
        } else {
            Ok(())
        }
    });
    if total > limit {
        Ok(None)
    } else {
        counted.map(|()| Some(total))
    }
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
