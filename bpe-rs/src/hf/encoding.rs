//! The result of encoding: ids and everything known about each of them.
//!
//! An [`Encoding`] is a list of fragments: stretches of an encoded text, special tokens, padding.
//! Truncating, putting special tokens around and padding only move fragments; offsets, word ids
//! and token strings of a text are worked out when somebody asks for the first of them.

use std::ops::Range;
use std::sync::Arc;

use super::fragment::{trimmed, Fixed, Fragment, Part, Trim};
use super::source::Source;

/// An encoded text or pair of texts.
#[derive(Clone, Debug, Default)]
pub struct Encoding {
    pub(super) fragments: Vec<Fragment>,
    /// Which tokens belong to which input sequence, where that has been said.
    pub(super) sequences: Vec<(usize, Range<usize>)>,
    /// What truncation cut off, in parts of the same length.
    pub overflowing: Vec<Encoding>,
}

impl Encoding {
    /// All tokens of an encoded text.
    pub(super) fn of_source(source: Arc<Source>, type_id: u32) -> Self {
        let range = 0..source.ids().len();
        let part = Part::Text {
            source,
            range,
            trims: Vec::new(),
        };
        Self {
            fragments: vec![Fragment { part, type_id }],
            ..Self::default()
        }
    }

    /// One special token.
    pub(super) fn of_special(id: u32, token: &str, type_id: u32) -> Self {
        let part = Part::Special {
            id,
            token: token.into(),
        };
        Self {
            fragments: vec![Fragment { part, type_id }],
            ..Self::default()
        }
    }

    /// From explicit values; all lists have the length of `ids`.
    pub fn from_fixed(
        fixed: Fixed,
        sequences: Vec<(usize, Range<usize>)>,
        overflowing: Vec<Encoding>,
    ) -> Self {
        let range = 0..fixed.ids.len();
        let part = Part::Fixed {
            fixed: Arc::new(fixed),
            range,
        };
        Self {
            fragments: vec![Fragment { part, type_id: 0 }],
            sequences,
            overflowing,
        }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.fragments.iter().map(Fragment::len).sum()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Token ids.
    pub fn ids(&self) -> Vec<u32> {
        let mut ids = Vec::with_capacity(self.len());
        for fragment in &self.fragments {
            match &fragment.part {
                Part::Text { source, range, .. } => {
                    ids.extend_from_slice(&source.ids()[range.clone()]);
                }
                Part::Fixed { fixed, range } => ids.extend_from_slice(&fixed.ids[range.clone()]),
                Part::Special { id, .. } => ids.push(*id),
                Part::Padding { id, count, .. } => ids.extend((0..*count).map(|_| *id)),
            }
        }
        ids
    }

    /// One value a token: `fixed` for the tokens of a fixed part, `other` for all of a fragment.
    fn per_fragment(
        &self,
        fixed_values: impl Fn(&Fixed) -> &[u32],
        other: impl Fn(&Fragment) -> u32,
    ) -> Vec<u32> {
        let mut values = Vec::with_capacity(self.len());
        for fragment in &self.fragments {
            match &fragment.part {
                Part::Fixed { fixed, range } => {
                    values.extend_from_slice(&fixed_values(fixed)[range.clone()]);
                }
                _ => values.resize(values.len() + fragment.len(), other(fragment)),
            }
        }
        values
    }

    /// Which sequence of a pair each token counts to.
    pub fn type_ids(&self) -> Vec<u32> {
        self.per_fragment(|fixed| &fixed.type_ids, |fragment| fragment.type_id)
    }

    /// 0 for padding, 1 for the rest.
    pub fn attention_mask(&self) -> Vec<u32> {
        self.per_fragment(
            |fixed| &fixed.attention,
            |fragment| u32::from(!matches!(fragment.part, Part::Padding { .. })),
        )
    }

    /// 1 for tokens that post-processing added, 0 for the text's.
    pub fn special_tokens_mask(&self) -> Vec<u32> {
        self.per_fragment(
            |fixed| &fixed.special,
            |fragment| u32::from(!matches!(fragment.part, Part::Text { .. })),
        )
    }

    /// Token strings, in the byte-level alphabet.
    pub fn tokens(&self) -> Vec<String> {
        let mut tokens = Vec::with_capacity(self.len());
        for fragment in &self.fragments {
            match &fragment.part {
                Part::Text { source, range, .. } => {
                    tokens.extend(range.clone().map(|at| source.token(at)));
                }
                Part::Fixed { fixed, range } => {
                    tokens.extend_from_slice(&fixed.tokens[range.clone()]);
                }
                Part::Special { token, .. } => tokens.push(token.to_string()),
                Part::Padding { token, count, .. } => {
                    tokens.extend((0..*count).map(|_| token.to_string()));
                }
            }
        }
        tokens
    }

    /// The range of characters that each token stands for; `(0, 0)` for added ones.
    pub fn offsets(&self) -> Vec<(u32, u32)> {
        let mut offsets = Vec::with_capacity(self.len());
        for fragment in &self.fragments {
            match &fragment.part {
                Part::Text {
                    source,
                    range,
                    trims,
                } => {
                    for at in range.clone() {
                        let mut offset = source.offset(at);
                        for trim in trims {
                            let first = trim.at_start && at == range.start;
                            offset = trimmed(source, at, offset, first, trim.add_prefix_space);
                        }
                        offsets.push(offset);
                    }
                }
                Part::Fixed { fixed, range } => {
                    offsets.extend_from_slice(&fixed.offsets[range.clone()]);
                }
                _ => offsets.resize(offsets.len() + fragment.len(), (0, 0)),
            }
        }
        offsets
    }

    /// The word (piece, or word of a pre-tokenized input) of each token.
    pub fn word_ids(&self) -> Vec<Option<u32>> {
        let mut words = Vec::with_capacity(self.len());
        for fragment in &self.fragments {
            match &fragment.part {
                Part::Text { source, range, .. } => {
                    words.extend(range.clone().map(|at| Some(source.word(at))));
                }
                Part::Fixed { fixed, range } => {
                    words.extend_from_slice(&fixed.words[range.clone()])
                }
                _ => words.resize(words.len() + fragment.len(), None),
            }
        }
        words
    }

    /// The input sequence of each token.
    pub fn sequence_ids(&self) -> Vec<Option<usize>> {
        let mut ids = vec![None; self.len()];
        for sequence in 0..self.n_sequences() {
            for id in &mut ids[self.sequence_range(sequence)] {
                *id = Some(sequence);
            }
        }
        ids
    }

    /// Number of input sequences.
    pub fn n_sequences(&self) -> usize {
        self.sequences.len().max(1)
    }

    /// Which tokens belong to which input sequence, where that has been said.
    pub fn sequences(&self) -> &[(usize, Range<usize>)] {
        &self.sequences
    }

    /// The tokens of an input sequence; all of them where nothing has been said.
    pub fn sequence_range(&self, sequence: usize) -> Range<usize> {
        let found = self.sequences.iter().find(|(known, _)| *known == sequence);
        let len = self.len();
        found.map_or(0..len, |(_, range)| {
            range.start.min(len)..range.end.min(len)
        })
    }

    /// Says that all tokens belong to input sequence `sequence`.
    pub fn set_sequence(&mut self, sequence: usize) {
        let range = 0..self.len();
        self.sequences.retain(|(known, _)| *known != sequence);
        self.sequences.push((sequence, range));
    }

    /// The same, for the overflowing parts as well.
    pub(super) fn set_sequence_of_all(&mut self, sequence: usize) {
        self.set_sequence(sequence);
        for part in &mut self.overflowing {
            part.set_sequence_of_all(sequence);
        }
    }

    /// Gives every token the same type id.
    pub(super) fn set_type_id(&mut self, type_id: u32) {
        for fragment in &mut self.fragments {
            fragment.type_id = type_id;
        }
    }

    /// Leaves white space out of offsets, here and in the overflowing parts.
    pub(super) fn trim_offsets(&mut self, add_prefix_space: bool) {
        let mut before = 0;
        for fragment in &mut self.fragments {
            let len = fragment.len();
            if let Part::Text { trims, .. } = &mut fragment.part {
                trims.push(Trim {
                    add_prefix_space,
                    at_start: before == 0,
                });
            }
            before += len;
        }
        for part in &mut self.overflowing {
            part.trim_offsets(add_prefix_space);
        }
    }

    /// All values written out, without the overflowing parts.
    pub fn to_fixed(&self) -> Fixed {
        Fixed {
            ids: self.ids(),
            type_ids: self.type_ids(),
            tokens: self.tokens(),
            words: self.word_ids(),
            offsets: self.offsets(),
            special: self.special_tokens_mask(),
            attention: self.attention_mask(),
        }
    }
}
