//! Post-processing of encoded sequences: truncation, special tokens, padding.

use std::sync::Arc;

use super::encoded_input::EncodedInput;
use crate::error::{Error, Result};
use crate::format::components::{
    Direction, Padding, PaddingLength, PostProcessor, Strategy, TemplateItem, Truncation,
};

/// Truncate a sequence, or a pair together, to `room` tokens.
///
/// # Errors
/// `Invalid` where the strategy cannot get there or the stride is not below what remains.
pub(super) fn truncate(
    first: &mut EncodedInput,
    second: Option<&mut EncodedInput>,
    room: usize,
    settings: &Truncation,
) -> Result<()> {
    let from_left = settings.direction == Direction::Left;
    let cut = |encoded: &mut EncodedInput, length: usize| {
        encoded.truncate(length, settings.stride, from_left)
    };
    let n2 = second.as_ref().map(|second| second.len());
    let (keep1, keep2) = kept_lengths(first.len(), n2, room, settings.strategy)?;
    cut(first, keep1)?;
    second.map_or(Ok(()), |second| cut(second, keep2))
}

/// How many tokens of a sequence of `n1`, or of each of a pair of `n1` and `n2`, remain when `room`
/// may.
///
/// # Errors
/// `Invalid` where the strategy cannot get there.
pub(super) fn kept_lengths(
    n1: usize,
    n2: Option<usize>,
    room: usize,
    strategy: Strategy,
) -> Result<(usize, usize)> {
    let total = n1 + n2.unwrap_or(0);
    if room == 0 {
        return Ok((0, 0));
    }
    if total <= room {
        return Ok((n1, n2.unwrap_or(0)));
    }
    let excess = total - room;
    match (strategy, n2) {
        (Strategy::LongestFirst, None) => Ok((room, 0)),
        (Strategy::LongestFirst, Some(n2)) => Ok(longest_first(n1, n2, room)),
        (Strategy::OnlyFirst, _) if n1 <= excess => Err(too_short(n1, excess, "only_first")),
        (Strategy::OnlyFirst, _) => Ok((n1 - excess, n2.unwrap_or(0))),
        (Strategy::OnlySecond, None) => Err(Error::invalid(
            "expected a pair for truncation strategy only_second, got one sequence",
        )),
        (Strategy::OnlySecond, Some(n2)) if n2 <= excess => {
            Err(too_short(n2, excess, "only_second"))
        }
        (Strategy::OnlySecond, Some(n2)) => Ok((n1, n2 - excess)),
    }
}

fn too_short(len: usize, excess: usize, strategy: &str) -> Error {
    Error::invalid(format!(
        "Truncation error: Sequence to truncate too short to respect the provided max_length: \
         {excess} tokens have to go, got a sequence of {len} with strategy {strategy}; use \
         longest_first or a larger max_length"
    ))
}

/// How many tokens of each of two sequences remain if the longer one always loses the next token.
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
        PostProcessor::RobertaProcessing { .. } => 2 + 2 * usize::from(is_pair),
        PostProcessor::BertProcessing { .. } => 2 + usize::from(is_pair),
        PostProcessor::Sequence { processors } => {
            processors.iter().map(|item| count(item, is_pair)).sum()
        }
        PostProcessor::TemplateProcessing {
            single,
            pair,
            special_tokens,
        } => {
            let items = if is_pair { pair } else { single };
            let added = items.iter().map(|item| match item {
                TemplateItem::SpecialToken { id, .. } => {
                    special_tokens.get(id).map_or(0, |token| token.ids.len())
                }
                TemplateItem::Sequence { .. } => 0,
            });
            added.sum()
        }
    }
}

/// Apply the post-processor and join the pair.
pub(super) fn process(
    processor: Option<&PostProcessor>,
    first: EncodedInput,
    second: Option<EncodedInput>,
    add_special_tokens: bool,
) -> EncodedInput {
    let mut sequences: Vec<EncodedInput> = std::iter::once(first).chain(second).collect();
    match processor {
        Some(processor) => {
            for (index, encoded) in sequences.iter_mut().enumerate() {
                encoded.set_sequence_of_all(index);
                encoded.set_type_id(index as u32);
            }
            apply(processor, &mut sequences, add_special_tokens);
        }
        None => number_pair(&mut sequences),
    }
    join(sequences)
}

/// Set the sequence index of the tokens of a pair.
fn number_pair(sequences: &mut [EncodedInput]) {
    if sequences.len() > 1 {
        for (index, encoded) in sequences.iter_mut().enumerate() {
            encoded.set_sequence(index);
        }
    }
}

fn join(sequences: Vec<EncodedInput>) -> EncodedInput {
    sequences
        .into_iter()
        .reduce(|all, next| all.merged_with(&next, false))
        .unwrap_or_default()
}

fn apply(processor: &PostProcessor, sequences: &mut Vec<EncodedInput>, add_special_tokens: bool) {
    match processor {
        PostProcessor::ByteLevel(settings) => {
            if settings.trim_offsets {
                for encoded in sequences.iter_mut() {
                    encoded.trim_offsets(settings.add_prefix_space);
                }
            }
            for (index, encoded) in sequences.iter_mut().enumerate() {
                encoded.set_sequence_of_all(index);
            }
        }
        PostProcessor::RobertaProcessing {
            sep,
            cls,
            trim_offsets,
            add_prefix_space,
        } => {
            for encoded in sequences.iter_mut() {
                if *trim_offsets {
                    encoded.trim_offsets(*add_prefix_space);
                }
                encoded.set_type_id(0);
            }
            if add_special_tokens {
                for (index, encoded) in sequences.iter_mut().enumerate() {
                    for part in &mut encoded.overflowing {
                        part.set_type_id(0);
                    }
                    let before = if index == 0 { cls } else { sep };
                    *encoded = encoded.enclosed(index, Some(before), sep, 0);
                }
            }
        }
        PostProcessor::BertProcessing { sep, cls } => {
            if add_special_tokens {
                for (index, encoded) in sequences.iter_mut().enumerate() {
                    let before = (index == 0).then_some(cls);
                    *encoded = encoded.enclosed(index, before, sep, index as u32);
                }
            }
        }
        PostProcessor::Sequence { processors } => {
            for item in processors {
                apply(item, sequences, add_special_tokens);
            }
        }
        PostProcessor::TemplateProcessing {
            single,
            pair,
            special_tokens,
        } => {
            let items = if sequences.len() > 1 { pair } else { single };
            let mut out = Vec::new();
            for item in items {
                match item {
                    TemplateItem::Sequence { id, type_id } => {
                        let index = *id as usize;
                        if let Some(encoded) = sequences.get_mut(index) {
                            encoded.set_type_id(*type_id);
                            encoded.set_sequence_of_all(index);
                            out.push(encoded.clone());
                        }
                    }
                    TemplateItem::SpecialToken { id, type_id } => {
                        let token = special_tokens.get(id).filter(|_| add_special_tokens);
                        for (id, token) in token
                            .iter()
                            .flat_map(|token| token.ids.iter().zip(&token.tokens))
                        {
                            out.push(EncodedInput::of_special(*id, token, *type_id));
                        }
                    }
                }
            }
            *sequences = out;
        }
    }
}

/// Pad a batch to a common length.
///
/// # Errors
/// As [`EncodedInput::pad`].
pub fn pad_batch(batch: &mut [EncodedInput], padding: &Padding) -> Result<()> {
    let longest = batch.iter().map(EncodedInput::len).max().unwrap_or(0);
    let length = padded_length(longest, padding);
    let token: Arc<str> = padding.pad_token.as_str().into();
    let left = padding.direction == Direction::Left;
    batch.iter_mut().try_for_each(|encoded| {
        encoded.pad(length, padding.pad_id, padding.pad_type_id, &token, left)
    })
}

/// The length to which rows are padded, the longest of which has `longest` tokens.
pub(super) fn padded_length(longest: usize, padding: &Padding) -> usize {
    let length = match padding.strategy {
        PaddingLength::BatchLongest => longest,
        PaddingLength::Fixed(length) => length,
    };
    match padding.pad_to_multiple_of {
        Some(multiple) if multiple > 0 => length
            .checked_next_multiple_of(multiple)
            .unwrap_or(usize::MAX),
        _ => length,
    }
}
