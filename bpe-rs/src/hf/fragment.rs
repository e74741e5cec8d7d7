//! The parts of an encoded input: runs of tokens of one origin.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::encoded_sequence::EncodedSequence;

/// All properties of some tokens as explicit values, one list a property: what pickling keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenColumns {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Type ids.
    pub type_ids: Vec<u32>,
    /// Token strings.
    pub tokens: Vec<String>,
    /// Word of each token.
    pub words: Vec<Option<u32>>,
    /// Character ranges.
    pub offsets: Vec<(u32, u32)>,
    /// 1 for special tokens.
    #[serde(rename = "special_tokens_mask")]
    pub special: Vec<u32>,
    /// 0 for padding, 1 for the rest.
    #[serde(rename = "attention_mask")]
    pub attention: Vec<u32>,
}

impl TokenColumns {
    /// Whether all lists have the same length.
    pub(super) fn is_even(&self) -> bool {
        let lengths = [
            self.type_ids.len(),
            self.tokens.len(),
            self.words.len(),
            self.offsets.len(),
            self.special.len(),
            self.attention.len(),
        ];
        lengths.iter().all(|&length| length == self.ids.len())
    }
}

/// Where the tokens of a fragment come from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// Tokens `range` of an encoded sequence, their offsets changed by `trims` in order.
    Text {
        sequence: Arc<EncodedSequence>,
        range: Range<usize>,
        trims: Vec<OffsetTrim>,
    },
    Special {
        id: u32,
        token: Arc<str>,
    },
    Padding {
        id: u32,
        token: Arc<str>,
        count: usize,
    },
    /// Tokens `range` of explicit values.
    Explicit {
        columns: Arc<TokenColumns>,
        range: Range<usize>,
    },
}

/// One pass of a `ByteLevel` post-processor with `trim_offsets` over a fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct OffsetTrim {
    pub(super) add_prefix_space: bool,
    /// Whether the fragment was the first of its encoded input.
    pub(super) at_start: bool,
}

/// A run of tokens of one origin.
#[derive(Clone, Debug)]
pub(super) struct Fragment {
    pub(super) origin: Origin,
    pub(super) type_id: u32,
}

impl Fragment {
    pub(super) fn len(&self) -> usize {
        match &self.origin {
            Origin::Text { range, .. } | Origin::Explicit { range, .. } => range.len(),
            Origin::Special { .. } => 1,
            Origin::Padding { count, .. } => *count,
        }
    }

    /// Id and string of the special token or the padding that the fragment consists of.
    pub(super) fn added(&self) -> Option<(u32, &str)> {
        match &self.origin {
            Origin::Special { id, token } | Origin::Padding { id, token, .. } => Some((*id, token)),
            Origin::Text { .. } | Origin::Explicit { .. } => None,
        }
    }

    /// The tokens in `keep`, counted from the start of the fragment.
    pub(super) fn slice(&self, keep: Range<usize>) -> Self {
        let narrow = |range: &Range<usize>| range.start + keep.start..range.start + keep.end;
        let origin = match &self.origin {
            Origin::Text {
                sequence,
                range,
                trims,
            } => {
                let mut trims = trims.clone();
                for trim in &mut trims {
                    trim.at_start &= keep.start == 0;
                }
                Origin::Text {
                    sequence: sequence.clone(),
                    range: narrow(range),
                    trims,
                }
            }
            Origin::Explicit { columns, range } => Origin::Explicit {
                columns: columns.clone(),
                range: narrow(range),
            },
            Origin::Padding { id, token, .. } => Origin::Padding {
                id: *id,
                token: token.clone(),
                count: keep.len(),
            },
            special @ Origin::Special { .. } => special.clone(),
        };
        Self {
            origin,
            type_id: self.type_id,
        }
    }
}

/// `offset` without the white space at the ends of token `at`. `first`: the token is the first of
/// the encoded input, where a single space may be the one that `add_prefix_space` put there.
pub(super) fn trimmed(
    sequence: &EncodedSequence,
    at: usize,
    offset: (u32, u32),
    first: bool,
    add_prefix_space: bool,
) -> (u32, u32) {
    let (mut leading, trailing) = sequence.white_space(at);
    let (mut start, mut end) = offset;
    if leading > 0 {
        // A word of a pre-tokenized input begins at 0 without being the first token.
        if add_prefix_space && (first || start == 0) && leading == 1 {
            leading = 0;
        }
        start = (start + leading).min(end);
    }
    if trailing > 0 && end >= trailing {
        end = (end - trailing).max(start);
    }
    (start, end)
}
