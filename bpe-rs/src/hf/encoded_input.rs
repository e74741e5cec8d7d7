//! The result of encoding: ids and their properties, one list a property.
//!
//! An [`EncodedInput`] is a list of fragments: runs of a text's tokens, special tokens, padding.
//! Truncation, special tokens and padding only move fragments; the offsets, word ids and token
//! strings of a text are computed on first use.

use std::ops::Range;
use std::sync::Arc;

use super::encoded_sequence::EncodedSequence;
use super::fragment::{trimmed, Fragment, OffsetTrim, Origin, TokenColumns};

/// An encoded text or pair of texts.
#[derive(Clone, Debug, Default)]
pub struct EncodedInput {
    pub(super) fragments: Vec<Fragment>,
    /// The tokens of each input sequence, where that has been set.
    pub(super) sequences: Vec<(usize, Range<usize>)>,
    /// What truncation cut off, in parts of the same length.
    pub overflowing: Vec<EncodedInput>,
}

impl EncodedInput {
    /// All tokens of an encoded sequence.
    pub(super) fn of_sequence(sequence: EncodedSequence, type_id: u32) -> Self {
        let origin = Origin::Text {
            range: 0..sequence.ids().len(),
            sequence: Arc::new(sequence),
            trims: Vec::new(),
        };
        Self {
            fragments: vec![Fragment { origin, type_id }],
            ..Self::default()
        }
    }

    /// One special token.
    pub(super) fn of_special(id: u32, token: &str, type_id: u32) -> Self {
        let origin = Origin::Special {
            id,
            token: token.into(),
        };
        Self {
            fragments: vec![Fragment { origin, type_id }],
            ..Self::default()
        }
    }

    /// From explicit values. All columns must have the length of `ids`.
    pub fn from_columns(
        columns: TokenColumns,
        sequences: Vec<(usize, Range<usize>)>,
        overflowing: Vec<EncodedInput>,
    ) -> Self {
        let origin = Origin::Explicit {
            range: 0..columns.ids.len(),
            columns: Arc::new(columns),
        };
        Self {
            fragments: vec![Fragment { origin, type_id: 0 }],
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

    /// One value a token: of explicit tokens as `explicit` has it; of the tokens `at` of a text as
    /// `text` appends it; the same for all others of a fragment.
    fn column<T: Clone>(
        &self,
        explicit: impl Fn(&TokenColumns) -> &[T],
        text: impl Fn(&EncodedSequence, &[OffsetTrim], Range<usize>, &mut Vec<T>),
        other: impl Fn(&Fragment) -> T,
    ) -> Vec<T> {
        let mut values = Vec::with_capacity(self.len());
        for fragment in &self.fragments {
            match &fragment.origin {
                Origin::Text {
                    sequence,
                    range,
                    trims,
                } => text(sequence, trims, range.clone(), &mut values),
                Origin::Explicit { columns, range } => {
                    values.extend_from_slice(&explicit(columns)[range.clone()]);
                }
                Origin::Special { .. } | Origin::Padding { .. } => {
                    values.resize(values.len() + fragment.len(), other(fragment));
                }
            }
        }
        values
    }

    /// One value a token: of explicit tokens as `explicit` has it, the same for all others of a
    /// fragment.
    fn per_fragment(
        &self,
        explicit: impl Fn(&TokenColumns) -> &[u32],
        value: impl Fn(&Fragment) -> u32,
    ) -> Vec<u32> {
        let mut values = Vec::with_capacity(self.len());
        for fragment in &self.fragments {
            match &fragment.origin {
                Origin::Explicit { columns, range } => {
                    values.extend_from_slice(&explicit(columns)[range.clone()]);
                }
                _ => values.resize(values.len() + fragment.len(), value(fragment)),
            }
        }
        values
    }

    /// Token ids.
    pub fn ids(&self) -> Vec<u32> {
        self.column(
            |columns| &columns.ids,
            |sequence, _, range, ids| ids.extend_from_slice(&sequence.ids()[range]),
            |fragment| fragment.added().map_or(0, |(id, _)| id),
        )
    }

    /// The type id of each token, which tells the sequences of a pair apart.
    pub fn type_ids(&self) -> Vec<u32> {
        self.per_fragment(|columns| &columns.type_ids, |fragment| fragment.type_id)
    }

    /// 0 for padding, 1 for the rest.
    pub fn attention_mask(&self) -> Vec<u32> {
        self.per_fragment(
            |columns| &columns.attention,
            |fragment| u32::from(!matches!(fragment.origin, Origin::Padding { .. })),
        )
    }

    /// 1 for special tokens and padding, 0 for the tokens of a text.
    pub fn special_tokens_mask(&self) -> Vec<u32> {
        self.per_fragment(
            |columns| &columns.special,
            |fragment| u32::from(!matches!(fragment.origin, Origin::Text { .. })),
        )
    }

    /// Token strings, in the byte-level alphabet.
    pub fn tokens(&self) -> Vec<String> {
        self.column(
            |columns| &columns.tokens,
            |sequence, _, range, tokens| tokens.extend(range.map(|at| sequence.token(at))),
            |fragment| fragment.added().map_or("", |(_, token)| token).into(),
        )
    }

    /// The range of characters that each token stands for; `(0, 0)` for added ones.
    pub fn offsets(&self) -> Vec<(u32, u32)> {
        self.column(
            |columns| &columns.offsets,
            |sequence, trims, range, offsets| {
                offsets.extend(range.clone().map(|at| {
                    trims.iter().fold(sequence.offset(at), |offset, trim| {
                        let first = trim.at_start && at == range.start;
                        trimmed(sequence, at, offset, first, trim.add_prefix_space)
                    })
                }));
            },
            |_| (0, 0),
        )
    }

    /// The word of each token: the index of its pre-token, or of the word of a pre-tokenized
    /// sequence; `None` for special tokens and padding.
    pub fn word_ids(&self) -> Vec<Option<u32>> {
        self.column(
            |columns| &columns.words,
            |sequence, _, range, words| words.extend(range.map(|at| Some(sequence.word(at)))),
            |_| None,
        )
    }

    /// The index of each token's input sequence; `None` for tokens of none.
    pub fn sequence_ids(&self) -> Vec<Option<usize>> {
        let mut ids = vec![None; self.len()];
        for sequence in 0..self.n_sequences() {
            for id in &mut ids[self.sequence_range(sequence)] {
                *id = Some(sequence);
            }
        }
        ids
    }

    /// Number of input sequences, at least 1.
    pub fn n_sequences(&self) -> usize {
        self.sequences.len().max(1)
    }

    /// The tokens of each input sequence, where that has been set.
    pub fn sequences(&self) -> &[(usize, Range<usize>)] {
        &self.sequences
    }

    /// The tokens of an input sequence; all tokens where it has not been set.
    pub fn sequence_range(&self, sequence: usize) -> Range<usize> {
        let found = self.sequences.iter().find(|(known, _)| *known == sequence);
        let len = self.len();
        found.map_or(0..len, |(_, range)| {
            range.start.min(len)..range.end.min(len)
        })
    }

    /// Make all tokens belong to input sequence `sequence`.
    pub fn set_sequence(&mut self, sequence: usize) {
        let range = 0..self.len();
        self.sequences.retain(|(known, _)| *known != sequence);
        self.sequences.push((sequence, range));
    }

    /// [`EncodedInput::set_sequence`] here and in the overflowing parts.
    pub(super) fn set_sequence_of_all(&mut self, sequence: usize) {
        self.set_sequence(sequence);
        for part in &mut self.overflowing {
            part.set_sequence_of_all(sequence);
        }
    }

    /// Give every token the same type id.
    pub(super) fn set_type_id(&mut self, type_id: u32) {
        for fragment in &mut self.fragments {
            fragment.type_id = type_id;
            if let Origin::Explicit { columns, range } = &mut fragment.origin {
                Arc::make_mut(columns).type_ids[range.clone()].fill(type_id);
            }
        }
    }

    /// Exclude white space at the ends of tokens from their offsets, here and in the overflowing
    /// parts.
    pub(super) fn trim_offsets(&mut self, add_prefix_space: bool) {
        let mut before = 0;
        for fragment in &mut self.fragments {
            let len = fragment.len();
            if let Origin::Text { trims, .. } = &mut fragment.origin {
                trims.push(OffsetTrim {
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

    /// All properties as explicit values, without the overflowing parts.
    pub fn to_columns(&self) -> TokenColumns {
        TokenColumns {
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
