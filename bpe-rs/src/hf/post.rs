//! What follows the encoding of the sequences: truncation, special tokens, padding.

use std::sync::Arc;

use super::encoding::Encoding;
use crate::error::{Error, Result};
use crate::format::components::{PostProcessor, TemplateItem};
use crate::format::params::{Direction, Padding, Strategy, Truncation};

/// Cuts a sequence, or a pair together, to `room` tokens.
///
/// # Errors
/// `Invalid` where the strategy cannot get there or the stride is not below what remains.
pub(super) fn truncate(
    first: &mut Encoding,
    second: Option<&mut Encoding>,
    room: usize,
    settings: &Truncation,
) -> Result<()> {
    let cut = |encoding: &mut Encoding, length: usize| -> Result<()> {
        if length < encoding.len() && length > 0 && settings.stride >= length {
            return Err(Error::invalid(format!(
                "expected a stride below the {length} tokens that remain of the text (max_length \
                 less special tokens), got {}",
                settings.stride
            )));
        }
        encoding.truncate(
            length,
            settings.stride,
            settings.direction == Direction::Left,
        );
        Ok(())
    };
    if room == 0 {
        cut(first, 0)?;
        return second.map_or(Ok(()), |second| cut(second, 0));
    }
    let (n1, n2) = (
        first.len(),
        second.as_ref().map_or(0, |second| second.len()),
    );
    if n1 + n2 <= room {
        return Ok(());
    }
    let excess = n1 + n2 - room;
    match (settings.strategy, second) {
        (Strategy::LongestFirst, None) => cut(first, room),
        (Strategy::LongestFirst, Some(second)) => {
            let (keep1, keep2) = longest_first(n1, n2, room);
            cut(first, keep1)?;
            cut(second, keep2)
        }
        (Strategy::OnlyFirst, _) => {
            if n1 <= excess {
                return Err(too_short(n1, excess, "only_first"));
            }
            cut(first, n1 - excess)
        }
        (Strategy::OnlySecond, None) => Err(Error::invalid(
            "expected a pair for truncation strategy only_second, got one sequence",
        )),
        (Strategy::OnlySecond, Some(second)) => {
            if n2 <= excess {
                return Err(too_short(n2, excess, "only_second"));
            }
            cut(second, n2 - excess)
        }
    }
}

fn too_short(len: usize, excess: usize, strategy: &str) -> Error {
    Error::invalid(format!(
        "Truncation error: Sequence to truncate too short to respect the provided max_length: \
         {excess} tokens have to go, got a sequence of {len} with strategy {strategy}; use \
         longest_first or a larger max_length"
    ))
}

/// How many tokens of each of two sequences stay if always the longer one gives way.
fn longest_first(n1: usize, n2: usize, room: usize) -> (usize, usize) {
    let short = n1.min(n2);
    let long = if short > room {
        short
    } else {
        short.max(room - short)
    };
    let (short, long) = if short + long > room {
        (room / 2, room / 2 + room % 2)
    } else {
        (short, long)
    };
    if n1 > n2 {
        (long, short)
    } else {
        (short, long)
    }
}

/// How many special tokens a post-processor adds.
pub(super) fn count(processor: &PostProcessor, is_pair: bool) -> usize {
    match processor {
        PostProcessor::ByteLevel(_) => 0,
        PostProcessor::Sequence(items) => items.iter().map(|item| count(item, is_pair)).sum(),
        PostProcessor::Template {
            single,
            pair,
            special_tokens,
        } => {
            let items = if is_pair { pair } else { single };
            let added = items.iter().map(|item| match item {
                TemplateItem::Special { name, .. } => {
                    special_tokens.get(name).map_or(0, |token| token.ids.len())
                }
                TemplateItem::Sequence { .. } => 0,
            });
            added.sum()
        }
    }
}

/// Runs the post-processor and joins the pair.
pub(super) fn process(
    processor: Option<&PostProcessor>,
    first: Encoding,
    second: Option<Encoding>,
    add_special_tokens: bool,
) -> Encoding {
    let mut encodings: Vec<Encoding> = std::iter::once(first).chain(second).collect();
    match processor {
        Some(processor) => run(processor, &mut encodings, add_special_tokens),
        None => number(&mut encodings),
    }
    join(encodings)
}

/// Numbers the sequences of a pair.
fn number(encodings: &mut [Encoding]) {
    if encodings.len() > 1 {
        for (index, encoding) in encodings.iter_mut().enumerate() {
            encoding.set_sequence(index);
        }
    }
}

fn join(encodings: Vec<Encoding>) -> Encoding {
    encodings
        .into_iter()
        .reduce(|all, next| all.merged_with(&next, false))
        .unwrap_or_default()
}

fn run(processor: &PostProcessor, encodings: &mut Vec<Encoding>, add_special_tokens: bool) {
    match processor {
        PostProcessor::ByteLevel(settings) => {
            if settings.trim_offsets {
                for encoding in encodings.iter_mut() {
                    encoding.trim_offsets(settings.add_prefix_space);
                }
            }
            for (index, encoding) in encodings.iter_mut().enumerate() {
                encoding.set_sequence_of_all(index);
            }
        }
        PostProcessor::Sequence(items) => {
            for item in items {
                run(item, encodings, add_special_tokens);
            }
        }
        PostProcessor::Template {
            single,
            pair,
            special_tokens,
        } => {
            let items = if encodings.len() > 1 { pair } else { single };
            let mut out = Vec::new();
            for item in items {
                match item {
                    TemplateItem::Sequence { index, type_id } => {
                        if let Some(encoding) = encodings.get_mut(*index) {
                            encoding.set_type_id(*type_id);
                            encoding.set_sequence_of_all(*index);
                            out.push(encoding.clone());
                        }
                    }
                    TemplateItem::Special { name, type_id } => {
                        let token = special_tokens.get(name).filter(|_| add_special_tokens);
                        for (id, token) in token
                            .iter()
                            .flat_map(|token| token.ids.iter().zip(&token.tokens))
                        {
                            out.push(Encoding::of_special(*id, token, *type_id));
                        }
                    }
                }
            }
            *encodings = out;
        }
    }
}

/// Fills a batch up to a common length.
pub fn pad_batch(encodings: &mut [Encoding], padding: &Padding) {
    let longest = encodings.iter().map(Encoding::len).max().unwrap_or(0);
    let mut length = padding.length.unwrap_or(longest);
    if let Some(multiple) = padding.pad_to_multiple_of.filter(|&multiple| multiple > 0) {
        length = length.next_multiple_of(multiple);
    }
    let token: Arc<str> = padding.pad_token.as_str().into();
    let left = padding.direction == Direction::Left;
    for encoding in encodings {
        encoding.pad(length, padding.pad_id, padding.pad_type_id, &token, left);
    }
}
