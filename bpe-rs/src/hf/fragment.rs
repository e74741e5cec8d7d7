//! What an encoding is made of: stretches of an encoded text, special tokens, padding.

use std::ops::Range;
use std::sync::Arc;

use super::source::Source;

/// Token properties that somebody set one by one (an unpickled encoding).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
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
    pub special: Vec<u32>,
    /// 0 for padding.
    pub attention: Vec<u32>,
}

/// Where the tokens of a fragment come from.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Text {
        source: Arc<Source>,
        range: Range<usize>,
        trims: Vec<Trim>,
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
    Fixed {
        fixed: Arc<Fixed>,
        range: Range<usize>,
    },
}

/// One pass of a `ByteLevel` post-processor over a fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trim {
    pub(super) add_prefix_space: bool,
    /// Whether the fragment began the encoding.
    pub(super) at_start: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Fragment {
    pub(super) part: Part,
    pub(super) type_id: u32,
}

impl Fragment {
    pub(super) fn len(&self) -> usize {
        match &self.part {
            Part::Text { range, .. } | Part::Fixed { range, .. } => range.len(),
            Part::Special { .. } => 1,
            Part::Padding { count, .. } => *count,
        }
    }

    /// The tokens in `keep`, counted from the start of the fragment.
    pub(super) fn slice(&self, keep: Range<usize>) -> Self {
        let narrow = |range: &Range<usize>| range.start + keep.start..range.start + keep.end;
        let part = match &self.part {
            Part::Text {
                source,
                range,
                trims,
            } => {
                let mut trims = trims.clone();
                for trim in &mut trims {
                    trim.at_start &= keep.start == 0;
                }
                Part::Text {
                    source: source.clone(),
                    range: narrow(range),
                    trims,
                }
            }
            Part::Fixed { fixed, range } => Part::Fixed {
                fixed: fixed.clone(),
                range: narrow(range),
            },
            Part::Padding { id, token, .. } => Part::Padding {
                id: *id,
                token: token.clone(),
                count: keep.len(),
            },
            special @ Part::Special { .. } => special.clone(),
        };
        Self {
            part,
            type_id: self.type_id,
        }
    }
}

/// `offset` without the white space at the ends of token `at`. `first`: the token begins the
/// encoding, where one space may be the one that `add_prefix_space` put there.
pub(super) fn trimmed(
    source: &Source,
    at: usize,
    offset: (u32, u32),
    first: bool,
    add_prefix_space: bool,
) -> (u32, u32) {
    let (mut leading, trailing) = source.white_space(at);
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
