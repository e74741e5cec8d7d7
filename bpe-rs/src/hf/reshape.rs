//! Truncating, joining and padding encoded inputs. Only fragments move; no property is computed
//! (but for joining with growing offsets).

use std::ops::Range;
use std::sync::Arc;

use super::encoded_input::EncodedInput;
use super::fragment::{Fragment, Origin};
use crate::encode::check_row_length;
use crate::error::{Error, Result};

impl EncodedInput {
    /// The tokens in `keep`, without sequences and overflowing parts.
    fn slice(&self, keep: Range<usize>) -> Self {
        let mut fragments = Vec::new();
        let mut start = 0;
        for fragment in &self.fragments {
            let end = start + fragment.len();
            let (from, to) = (keep.start.max(start), keep.end.min(end));
            if from < to {
                fragments.push(fragment.slice(from - start..to - start));
            }
            start = end;
        }
        Self {
            fragments,
            ..Self::default()
        }
    }

    /// Keep `max_length` tokens at one end. The rest becomes `overflowing`, in parts of
    /// `max_length` tokens of which each repeats `stride` tokens of the part before. Which
    /// sequence a token belongs to is lost.
    ///
    /// # Errors
    /// `Invalid` where something is cut and `stride` is not below `max_length`, unless that is 0.
    pub fn truncate(&mut self, max_length: usize, stride: usize, from_left: bool) -> Result<()> {
        let len = self.len();
        if max_length >= len {
            return Ok(());
        }
        if max_length == 0 {
            let all = std::mem::take(self);
            self.overflowing.push(all);
            return Ok(());
        }
        if stride >= max_length {
            return Err(Error::invalid(format!(
                "expected a stride below the {max_length} tokens that remain (max_length less \
                 special tokens), got {stride}"
            )));
        }
        let step = max_length - stride;
        let mut parts = Vec::new();
        for start in (0..len).step_by(step) {
            let end = (start + max_length).min(len);
            // From the left, the same counted from the end.
            parts.push(self.slice(if from_left {
                len - end..len - start
            } else {
                start..end
            }));
            if end == len {
                break;
            }
        }
        let mut parts = parts.into_iter();
        *self = parts.next().unwrap_or_default();
        self.overflowing = parts.collect();
        Ok(())
    }

    /// The tokens of this one, then those of `other`, whose offsets continue this one's if
    /// `growing_offsets`. Every overflowing part of the one is combined with the other and with
    /// each of its overflowing parts.
    #[must_use]
    pub fn merged_with(&self, other: &EncodedInput, growing_offsets: bool) -> Self {
        let mut overflowing = Vec::new();
        for part in &self.overflowing {
            overflowing.push(part.merged_with(other, growing_offsets));
            for others in &other.overflowing {
                overflowing.push(part.merged_with(others, growing_offsets));
            }
        }
        for others in &other.overflowing {
            overflowing.push(self.merged_with(others, growing_offsets));
        }
        let shifted;
        let other = if growing_offsets {
            shifted = other.with_offsets_after(self);
            &shifted
        } else {
            other
        };
        let len = self.len();
        let mut merged = Self {
            fragments: self
                .fragments
                .iter()
                .chain(&other.fragments)
                .cloned()
                .collect(),
            sequences: self.sequences.clone(),
            overflowing,
        };
        for (sequence, range) in &other.sequences {
            merged.sequences.retain(|(known, _)| known != sequence);
            merged
                .sequences
                .push((*sequence, len + range.start..len + range.end));
        }
        merged
    }

    /// Add padding tokens up to `length` tokens, here and in the overflowing parts.
    ///
    /// # Errors
    /// `Invalid` for padding to more than [`crate::encode::MAX_ROW_LENGTH`] tokens.
    pub fn pad(
        &mut self,
        length: usize,
        id: u32,
        type_id: u32,
        token: &Arc<str>,
        left: bool,
    ) -> Result<()> {
        let len = self.len();
        if length > len {
            check_row_length("length", length)?;
        }
        for part in &mut self.overflowing {
            part.pad(length, id, type_id, token, left)?;
        }
        if len >= length {
            return Ok(());
        }
        let count = length - len;
        let origin = Origin::Padding {
            id,
            token: token.clone(),
            count,
        };
        let padding = Fragment { origin, type_id };
        if left {
            self.fragments.insert(0, padding);
            for (_, range) in &mut self.sequences {
                *range = range.start + count..range.end + count;
            }
        } else {
            self.fragments.push(padding);
        }
        Ok(())
    }

    /// These tokens between special tokens of type `type_id`, the overflowing parts likewise. Only these
    /// tokens belong to input sequence `sequence`, and they count as tokens of a text.
    pub(super) fn enclosed(
        &self,
        sequence: usize,
        before: Option<&(String, u32)>,
        after: &(String, u32),
        type_id: u32,
    ) -> Self {
        let special = |(token, id): &(String, u32)| Self::of_special(*id, token, type_id).fragments;
        let mut fragments = before.map(special).unwrap_or_default();
        let start = usize::from(before.is_some());
        fragments.extend(self.text_fragments());
        fragments.extend(special(after));
        let part = |part: &Self| {
            let inner = Self {
                overflowing: Vec::new(),
                ..part.clone()
            };
            inner.enclosed(sequence, before, after, type_id)
        };
        Self {
            fragments,
            sequences: vec![(sequence, start..start + self.len())],
            overflowing: self.overflowing.iter().map(part).collect(),
        }
    }

    /// The fragments, special tokens among them as ordinary ones.
    fn text_fragments(&self) -> Vec<Fragment> {
        if self.fragments.iter().all(|part| part.added().is_none()) {
            return self.fragments.clone();
        }
        let mut columns = self.to_columns();
        columns.special.fill(0);
        columns.attention.fill(1);
        Self::from_columns(columns, Vec::new(), Vec::new()).fragments
    }

    /// These tokens, without the overflowing parts, with offsets that continue those of `before`.
    fn with_offsets_after(&self, before: &EncodedInput) -> Self {
        let shift = before.offsets().last().map_or(0, |&(_, end)| end);
        let mut columns = self.to_columns();
        for (start, end) in &mut columns.offsets {
            (*start, *end) = (*start + shift, *end + shift);
        }
        Self::from_columns(columns, self.sequences.clone(), Vec::new())
    }
}
