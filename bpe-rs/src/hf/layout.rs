//! What a post-processor puts around every text.

use super::encoded_input::EncodedInput;
use super::fragment::{Origin, TokenColumns};
use super::post_process;
use super::tokenizer::Tokenizer;

/// The parts of which the post-processor makes every encoded input, in order.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) parts: Vec<Part>,
    /// How many of them are special tokens.
    pub(super) special: usize,
    /// How many special tokens truncation makes room for.
    pub(super) added: usize,
    /// The number of input sequences that an encoded input tells.
    pub n_sequences: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The tokens of an input sequence.
    Sequence { index: usize, type_id: u32 },
    /// One special token.
    Special { id: u32, type_id: u32 },
}

impl Tokenizer {
    /// The layout of encoded inputs; `None` where the post-processor leaves a sequence out or repeats
    /// it.
    pub fn layout(&self, is_pair: bool, add_special_tokens: bool) -> Option<Layout> {
        // Post-processing does not depend on the tokens of a text, so it is asked what it makes of
        // sequences of one token, whose id is the sequence's index.
        let sequence = |index| {
            let columns = TokenColumns {
                ids: vec![index],
                type_ids: vec![index],
                tokens: vec![String::new()],
                words: vec![None],
                offsets: vec![(0, 0)],
                special: vec![0],
                attention: vec![1],
            };
            let mut encoded = EncodedInput::from_columns(columns, Vec::new(), Vec::new());
            encoded.set_type_id(index);
            encoded
        };
        let second = is_pair.then(|| sequence(1));
        let processor = self.post_processor();
        let encoded = post_process::process(processor, sequence(0), second, add_special_tokens);
        let part = |fragment: &super::fragment::Fragment| match &fragment.origin {
            Origin::Explicit { columns, .. } => Some(Part::Sequence {
                index: columns.ids[0] as usize,
                type_id: fragment.type_id,
            }),
            Origin::Special { id, .. } => Some(Part::Special {
                id: *id,
                type_id: fragment.type_id,
            }),
            Origin::Text { .. } | Origin::Padding { .. } => None,
        };
        let parts: Vec<Part> = encoded.fragments.iter().map(part).collect::<Option<_>>()?;
        let mut found: Vec<usize> = parts
            .iter()
            .filter_map(|part| match part {
                Part::Sequence { index, .. } => Some(*index),
                Part::Special { .. } => None,
            })
            .collect();
        found.sort_unstable();
        let special = parts.len() - found.len();
        let complete = found.into_iter().eq(0..1 + usize::from(is_pair));
        let added = match add_special_tokens {
            true => self.num_added_by_post_processor(is_pair),
            false => 0,
        };
        complete.then(|| Layout {
            parts,
            special,
            added,
            n_sequences: encoded.n_sequences(),
        })
    }
}
