//! A batch as flat columns of numbers: the fast path beside [`EncodedInput`](super::EncodedInput).
//!
//! The ids of all texts lie in one array, and what stands around them is the same for every text
//! ([`Layout`]), so no object is made for a text. `Tokenizer::encode_batch` is the reference.

use std::ops::Range;
use std::sync::Arc;

use super::dropout::Random;
use super::encode::{InputPair, InputSequence};
use super::layout::{Layout, Part};
use super::post_process::{kept_lengths, padded_length};
use super::tokenizer::Tokenizer;
use crate::encode::{Rows, MAX_ROW_LENGTH};
use crate::error::Result;
use crate::format::components::{Direction, Padding, Truncation};

/// The ids of many inputs with truncation, special tokens and padding.
#[derive(Debug)]
pub struct FlatBatch {
    rows: Vec<Row>,
    /// Of one sequence, and of a pair.
    layouts: [Option<Arc<Layout>>; 2],
    /// The ids of all sequences, without special tokens.
    ids: Vec<u32>,
    /// On which side, id and type id.
    padding: Option<(Direction, u32, u32)>,
    /// The length to which rows are padded.
    length: usize,
}

#[derive(Debug)]
struct Row {
    is_pair: bool,
    /// Where the ids of its sequences are in the batch's.
    sequences: [Range<usize>; 2],
    /// Without padding.
    len: usize,
}

/// A property of tokens that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Token ids.
    Ids,
    /// Type ids.
    TypeIds,
    /// 0 for padding, 1 for the rest.
    AttentionMask,
    /// 1 for special tokens and padding, 0 for the tokens of a text.
    SpecialTokensMask,
}

/// Consecutive values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run<'a> {
    /// These values.
    Values(&'a [u32]),
    /// One value, several times.
    Repeat(u32, usize),
}

impl Tokenizer {
    /// Encode many inputs, on several threads where that is faster. `layouts`: of one sequence, and
    /// of a pair.
    ///
    /// `None` where [`Tokenizer::encode_batch`] must be asked: there is dropout, so that a text must not
    /// be encoded twice, a layout is missing, or truncation or padding is impossible, for which it has
    /// the error.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_batch`].
    pub fn encode_flat(
        &self,
        inputs: &[InputPair<'_>],
        layouts: [Option<&Arc<Layout>>; 2],
        truncation: Option<&Truncation>,
        padding: Option<&Padding>,
    ) -> Result<Option<FlatBatch>> {
        if self.model.has_dropout() {
            return Ok(None);
        }
        let is_one_text = matches!(inputs, [(InputSequence::Text(_), None)]);
        let Rows { ids, ends } = self.encode_all(inputs)?;
        let count = ids.len();
        let mut ends = ends.into_iter();
        let mut at = 0;
        let mut take = |sequence: &InputSequence<'_>| {
            let start = at;
            at = match is_one_text {
                true => count,
                false => ends.by_ref().take(sequence.texts()).last().unwrap_or(at),
            };
            start..at
        };
        let whole = inputs
            .iter()
            .map(|(first, second)| (take(first), second.as_ref().map(&mut take)));
        Ok(FlatBatch::new(ids, whole, layouts, truncation, padding))
    }

    /// [`Tokenizer::encode_flat`] of texts without pairs.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_batch`].
    pub fn encode_flat_texts(
        &self,
        texts: &[&str],
        layout: &Arc<Layout>,
        truncation: Option<&Truncation>,
        padding: Option<&Padding>,
    ) -> Result<Option<FlatBatch>> {
        if self.model.has_dropout() {
            return Ok(None);
        }
        let Rows { ids, ends } = self.encode_texts(texts)?;
        let mut start = 0;
        let whole = ends.into_iter().map(|end| {
            let range = start..end;
            start = end;
            (range, None)
        });
        let layouts = [Some(layout), None];
        Ok(FlatBatch::new(ids, whole, layouts, truncation, padding))
    }

    /// The ids of all texts and words, and where those of each end, unless there is one text.
    fn encode_all(&self, inputs: &[InputPair<'_>]) -> Result<Rows> {
        if let [(InputSequence::Text(text), None)] = inputs {
            // For one short text the lists of many cost as much as its encoding. The only end is not
            // listed.
            let mut ids = Vec::with_capacity(text.len() / 3 + 8);
            self.encode_text(text, &mut Random::default(), &mut ids)?;
            let ends = Vec::new();
            return Ok(Rows { ids, ends });
        }
        let mut texts = Vec::with_capacity(inputs.len());
        for (first, second) in inputs {
            for sequence in std::iter::once(first).chain(second) {
                match sequence {
                    InputSequence::Text(text) => texts.push(*text),
                    InputSequence::Words(words) => texts.extend(words),
                }
            }
        }
        self.encode_texts(&texts)
    }
}

impl Part {
    /// The value of a column for each of its tokens. The ids of a sequence are not known here.
    fn value(self, column: Column) -> u32 {
        match (self, column) {
            (Self::Special { id, .. }, Column::Ids) => id,
            (Self::Special { type_id, .. } | Self::Sequence { type_id, .. }, Column::TypeIds) => {
                type_id
            }
            (Self::Sequence { .. }, Column::Ids | Column::SpecialTokensMask) => 0,
            _ => 1,
        }
    }
}

impl Layout {
    /// What truncation leaves of the sequences; `None` where it is impossible.
    fn truncated(
        &self,
        whole: [Range<usize>; 2],
        is_pair: bool,
        truncation: Option<&Truncation>,
    ) -> Option<[Range<usize>; 2]> {
        let room = |truncation: &Truncation| truncation.max_length.checked_sub(self.added);
        let Some((truncation, room)) = truncation.and_then(|t| Some((t, room(t)?))) else {
            return Some(whole);
        };
        let [n1, n2] = [whole[0].len(), whole[1].len()];
        let (keep1, keep2) =
            kept_lengths(n1, is_pair.then_some(n2), room, truncation.strategy).ok()?;
        let cut = |range: Range<usize>, keep: usize| {
            let is_cut = keep < range.len();
            // The overflowing parts that the stride is for would not get ahead.
            let possible = !is_cut || keep == 0 || truncation.stride < keep;
            possible.then(|| match truncation.direction {
                _ if !is_cut => range,
                Direction::Left => range.end - keep..range.end,
                Direction::Right => range.start..range.start + keep,
            })
        };
        let [first, second] = whole;
        Some([cut(first, keep1)?, cut(second, keep2)?])
    }

    /// Call `take` with the values of the tokens of `sequences` and those around them, in order.
    fn each_run<'b>(
        &self,
        sequences: [&'b [u32]; 2],
        column: Column,
        take: &mut impl FnMut(Run<'b>),
    ) {
        for &part in &self.parts {
            take(match part {
                Part::Sequence { index, .. } if column == Column::Ids => {
                    Run::Values(sequences[index])
                }
                Part::Sequence { index, .. } => {
                    Run::Repeat(part.value(column), sequences[index].len())
                }
                Part::Special { .. } => Run::Repeat(part.value(column), 1),
            });
        }
    }

    /// A column other than that of ids, for one sequence that makes `len` tokens with the special ones
    /// around it: values and how often each follows.
    pub fn runs_of_text(&self, column: Column, len: usize) -> Vec<(u32, usize)> {
        let run = |&part: &Part| match part {
            Part::Sequence { .. } => (part.value(column), len - self.special),
            Part::Special { .. } => (part.value(column), 1),
        };
        self.parts.iter().map(run).collect()
    }

    /// The number of tokens with those of `sequences`.
    fn len(&self, sequences: &[Range<usize>; 2]) -> usize {
        self.special + sequences[0].len() + sequences[1].len()
    }
}

impl FlatBatch {
    /// The rows of which `whole` tells where the ids of the sequences are in `ids`; `None` as
    /// [`Tokenizer::encode_flat`].
    fn new(
        ids: Vec<u32>,
        whole: impl ExactSizeIterator<Item = (Range<usize>, Option<Range<usize>>)>,
        layouts: [Option<&Arc<Layout>>; 2],
        truncation: Option<&Truncation>,
        padding: Option<&Padding>,
    ) -> Option<Self> {
        let mut rows = Vec::with_capacity(whole.len());
        let mut longest = 0;
        for (first, second) in whole {
            let is_pair = second.is_some();
            let layout = layouts[usize::from(is_pair)]?;
            let whole = [first, second.unwrap_or(0..0)];
            let sequences = layout.truncated(whole, is_pair, truncation)?;
            let len = layout.len(&sequences);
            longest = longest.max(len);
            rows.push(Row {
                is_pair,
                len,
                sequences,
            });
        }
        let length = padding.map_or(0, |padding| padded_length(longest, padding));
        if length > MAX_ROW_LENGTH && rows.iter().any(|row| row.len < length) {
            return None;
        }
        Some(Self {
            rows,
            layouts: layouts.map(Option::<&_>::cloned),
            ids,
            padding: padding.map(|p| (p.direction, p.pad_id, p.pad_type_id)),
            length,
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The number of input sequences that a row tells.
    pub fn n_sequences(&self, row: usize) -> usize {
        let layout = self.layouts[usize::from(self.rows[row].is_pair)].as_ref();
        layout.map_or(1, |layout| layout.n_sequences)
    }

    /// The number of tokens of a row, padding included.
    pub fn row_len(&self, row: usize) -> usize {
        self.rows[row].len.max(self.length)
    }

    /// The number of tokens of every row; `None` where rows differ or there is none.
    pub fn width(&self) -> Option<usize> {
        let width = (!self.is_empty()).then(|| self.row_len(0))?;
        let is_even = (0..self.len()).all(|row| self.row_len(row) == width);
        is_even.then_some(width)
    }

    /// The ids of a row, where they are those of one sequence without special tokens and padding.
    pub fn only_ids(&self, row: usize) -> Option<&[u32]> {
        let row = &self.rows[row];
        let layout = self.layouts[0].as_ref()?;
        let alone = !row.is_pair && layout.special == 0 && row.len >= self.length;
        alone.then(|| &self.ids[row.sequences[0].clone()])
    }

    /// Call `take` with the values of a row's tokens, in order.
    pub fn each_run<'b>(&'b self, row: usize, column: Column, take: &mut impl FnMut(Run<'b>)) {
        let Row {
            is_pair,
            sequences,
            len,
        } = &self.rows[row];
        let missing = self.length.saturating_sub(*len);
        let padding = self.padding.filter(|_| missing > 0);
        let padding = padding.map(|(direction, pad_id, pad_type_id)| {
            let value = match column {
                Column::Ids => pad_id,
                Column::TypeIds => pad_type_id,
                Column::AttentionMask => 0,
                Column::SpecialTokensMask => 1,
            };
            (direction, Run::Repeat(value, missing))
        });
        if let Some((Direction::Left, run)) = padding {
            take(run);
        }
        if let Some(layout) = &self.layouts[usize::from(*is_pair)] {
            let sequences = sequences.each_ref();
            let sequences = sequences.map(|range| &self.ids[range.clone()]);
            layout.each_run(sequences, column, take);
        }
        if let Some((Direction::Right, run)) = padding {
            take(run);
        }
    }
}
