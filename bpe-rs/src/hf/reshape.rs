//! Cutting, joining and padding encodings, which moves fragments and computes nothing.

use std::ops::Range;
use std::sync::Arc;

use super::encoding::Encoding;
use super::fragment::{Fragment, Part};

impl Encoding {
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

    /// Keeps `max_length` tokens at one end; the rest becomes `overflowing`, in parts of
    /// `max_length` that repeat `stride` tokens of the part before. Which sequence a token belongs
    /// to is forgotten.
    ///
    /// `stride` must be below `max_length` unless that is 0.
    pub fn truncate(&mut self, max_length: usize, stride: usize, from_left: bool) {
        let len = self.len();
        if max_length >= len {
            return;
        }
        if max_length == 0 {
            let all = std::mem::take(self);
            self.overflowing.push(all);
            return;
        }
        let step = max_length - stride.min(max_length - 1);
        let mut parts = Vec::new();
        if from_left {
            let mut end = len;
            loop {
                let start = end.saturating_sub(max_length);
                parts.push(self.slice(start..end));
                if start == 0 {
                    break;
                }
                end -= step;
            }
        } else {
            let mut start = 0;
            loop {
                let end = (start + max_length).min(len);
                parts.push(self.slice(start..end));
                if end == len {
                    break;
                }
                start += step;
            }
        }
        let mut parts = parts.into_iter();
        *self = parts.next().unwrap_or_default();
        self.overflowing = parts.collect();
    }

    /// This encoding followed by `other`, whose offsets continue this one's if `growing_offsets`.
    /// Every overflowing part of the one is combined with the other and with every overflowing
    /// part of it.
    #[must_use]
    pub fn merged_with(&self, other: &Encoding, growing_offsets: bool) -> Self {
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
            shifted = other.behind(self);
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

    /// Fills up to `length` tokens, here and in the overflowing parts.
    pub fn pad(&mut self, length: usize, id: u32, type_id: u32, token: &Arc<str>, left: bool) {
        for part in &mut self.overflowing {
            part.pad(length, id, type_id, token, left);
        }
        let len = self.len();
        if len >= length {
            return;
        }
        let count = length - len;
        let part = Part::Padding {
            id,
            token: token.clone(),
            count,
        };
        let padding = Fragment { part, type_id };
        if left {
            self.fragments.insert(0, padding);
            for (_, range) in &mut self.sequences {
                *range = range.start + count..range.end + count;
            }
        } else {
            self.fragments.push(padding);
        }
    }

    /// These tokens, without the overflowing parts, with offsets that continue those of `before`.
    fn behind(&self, before: &Encoding) -> Self {
        let shift = before.offsets().last().map_or(0, |&(_, end)| end);
        let mut fixed = self.to_fixed();
        for (start, end) in &mut fixed.offsets {
            (*start, *end) = (*start + shift, *end + shift);
        }
        Self::from_fixed(fixed, self.sequences.clone(), Vec::new())
    }
}
