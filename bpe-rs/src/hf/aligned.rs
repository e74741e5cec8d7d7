//! A text and, for each of its bytes, the bytes of the original that it stands for.

use std::borrow::Cow;
use std::ops::Range;

use super::unicode_form::UnicodeForm;

/// A text that changes on the way to the model, with the byte range of the original that each of its
/// bytes stands for, unless only the text is wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct AlignedText<'a> {
    pub(super) text: Cow<'a, str>,
    originals: Option<Vec<Range<u32>>>,
    /// Where the text begins in the original.
    start: u32,
}

impl<'a> AlignedText<'a> {
    /// Unchanged text that begins at byte `start` of the original.
    pub(super) fn new(text: &'a str, start: usize) -> Self {
        let mut originals = Vec::with_capacity(text.len());
        for (at, character) in text.char_indices() {
            let from = (start + at) as u32;
            let to = from + character.len_utf8() as u32;
            originals.extend((0..character.len_utf8()).map(|_| from..to));
        }
        Self {
            originals: Some(originals),
            ..Self::unaligned(text, start)
        }
    }

    /// The same without what the bytes stand for.
    pub(super) fn unaligned(text: &'a str, start: usize) -> Self {
        Self {
            text: text.into(),
            originals: None,
            start: start as u32,
        }
    }

    /// Whether it is known what the bytes stand for.
    pub(super) fn is_aligned(&self) -> bool {
        self.originals.is_some()
    }

    /// An empty text with the start and the kind of this one, with room for `len` bytes.
    pub(super) fn emptied(&self, len: usize) -> AlignedText<'static> {
        AlignedText {
            text: String::with_capacity(len).into(),
            originals: self.originals.as_ref().map(|_| Vec::with_capacity(len)),
            start: self.start,
        }
    }

    /// Append a range of another text.
    pub(super) fn push_range(&mut self, other: &AlignedText<'_>, range: Range<usize>) {
        self.text.to_mut().push_str(&other.text[range.clone()]);
        if let (Some(to), Some(from)) = (&mut self.originals, &other.originals) {
            to.extend_from_slice(&from[range]);
        }
    }

    /// Append text that stands for what byte `at` of `other` does.
    pub(super) fn push_as(&mut self, text: &str, other: &AlignedText<'_>, at: usize) {
        self.text.to_mut().push_str(text);
        if let (Some(to), Some(from)) = (&mut self.originals, &other.originals) {
            let original = from.get(at).cloned().unwrap_or(self.start..self.start);
            to.extend(std::iter::repeat_n(original, text.len()));
        }
    }

    /// Append text that stands for what the bytes `range` of `other` do, or for what the byte at its
    /// start does where it is empty.
    pub(super) fn push_for(&mut self, text: &str, other: &AlignedText<'_>, range: Range<usize>) {
        self.text.to_mut().push_str(text);
        if let (Some(to), Some(from)) = (&mut self.originals, &other.originals) {
            let last = range.end.max(range.start + 1) - 1;
            let original = from[range.start].start..from[last].end;
            to.extend(std::iter::repeat_n(original, text.len()));
        }
    }

    /// Append a range of another text with `content` in place of every byte `byte` of ASCII, which
    /// `content` stands for.
    pub(super) fn push_replaced(
        &mut self,
        other: &AlignedText<'_>,
        range: Range<usize>,
        byte: u8,
        content: &str,
    ) {
        if !self.is_aligned() {
            return push_replaced(self.text.to_mut(), &other.text[range], byte, content);
        }
        let mut done = range.start;
        for at in memchr::memchr_iter(byte, &other.text.as_bytes()[range.clone()]) {
            let at = range.start + at;
            self.push_range(other, done..at);
            self.push_as(content, other, at);
            done = at + 1;
        }
        self.push_range(other, done..range.end);
    }

    /// Bring the text into a Unicode form.
    pub(super) fn normalize(&mut self, form: UnicodeForm) {
        let Some(mut change) = form.next_change(&self.text, 0) else {
            return;
        };
        let mut out = self.emptied(self.text.len() + 16);
        let mut done = 0;
        loop {
            out.push_range(self, done..change.start);
            if !out.push_changed(self, change.clone(), |text, take| form.each(text, take)) {
                // The numbers of the changes do not add up, and what follows is counted wrongly, as
                // in Hugging Face's engine.
                out = self.emptied(self.text.len());
                let whole = 0..self.text.len();
                out.push_changed(self, whole, |text, take| form.each(text, take));
                break;
            }
            done = change.end;
            match form.next_change(&self.text, done) {
                Some(next) => change = next,
                None => {
                    out.push_range(self, done..self.text.len());
                    break;
                }
            }
        }
        *self = out;
    }

    /// Replace the text by the characters that `change` gives to its second argument, each with a number
    /// as [`UnicodeForm::each`] gives it.
    pub(super) fn change(&mut self, change: impl FnOnce(&str, &mut dyn FnMut(char, isize))) {
        let mut out = self.emptied(self.text.len());
        out.push_changed(self, 0..self.text.len(), change);
        *self = out;
    }

    /// Append what `change` makes of a range of another text; whether the numbers account for each of its
    /// characters, where it is known what bytes stand for.
    fn push_changed(
        &mut self,
        other: &AlignedText<'_>,
        range: Range<usize>,
        change: impl FnOnce(&str, &mut dyn FnMut(char, isize)),
    ) -> bool {
        let text = self.text.to_mut();
        let part = &other.text[range.clone()];
        let (Some(to), Some(from)) = (&mut self.originals, &other.originals) else {
            change(part, &mut |character, _| text.push(character));
            return true;
        };
        let mut old = part
            .char_indices()
            .map(|(at, _)| from[range.start + at].clone());
        let mut last: Range<u32> = self.start..self.start;
        let mut fits = true;
        change(part, &mut |character, change| {
            let original = if change > 0 {
                last.clone()
            } else {
                let replaced = old.next();
                fits &= replaced.is_some();
                let original = replaced.unwrap_or_else(|| last.clone());
                last = original.clone();
                for _ in 0..-change {
                    match old.next() {
                        Some(next) => last = next,
                        None => fits = false,
                    }
                }
                original
            };
            text.push(character);
            to.extend(std::iter::repeat_n(original, character.len_utf8()));
        });
        fits && old.next().is_none()
    }

    /// Replace every character by those that `expand` pushes, which stand for the same.
    pub(super) fn expand(&mut self, mut expand: impl FnMut(char, &mut String)) {
        let mut text = String::with_capacity(self.text.len());
        let mut originals = Vec::new();
        for (at, character) in self.text.char_indices() {
            let len = text.len();
            expand(character, &mut text);
            if let Some(before) = &self.originals {
                originals.extend(std::iter::repeat_n(before[at].clone(), text.len() - len));
            }
        }
        self.text = text.into();
        if self.originals.is_some() {
            self.originals = Some(originals);
        }
    }

    /// Put text before a text that is not empty. It stands for the first character.
    pub(super) fn prepend(&mut self, before: &str) {
        let Some(first) = self.text.chars().next() else {
            return;
        };
        if before.is_empty() {
            // Hugging Face's engine takes the first character for an added one.
            if let Some(originals) = &mut self.originals {
                originals[..first.len_utf8()].fill(self.start..self.start);
            }
            return;
        }
        let mut text = self.emptied(before.len() + self.text.len());
        text.push_as(before, self, 0);
        text.push_range(self, 0..self.text.len());
        *self = text;
    }

    /// Replace the ranges `matches`, which are in order, by `content`. It stands for the last
    /// character of the match, as in Hugging Face's engine.
    pub(super) fn replace_all(&mut self, matches: &[Range<usize>], content: &str) {
        if matches.is_empty() {
            return;
        }
        let grown = matches.len() * content.len();
        let mut text = self.emptied(self.text.len() + grown);
        let mut done = 0;
        for found in matches {
            text.push_range(self, done..found.start);
            text.push_as(content, self, found.end.wrapping_sub(1));
            done = found.end;
        }
        text.push_range(self, done..self.text.len());
        *self = text;
    }

    /// Keep only a range of the text.
    pub(super) fn keep(&mut self, range: Range<usize>) {
        if range != (0..self.text.len()) {
            let start = self.start;
            let kept = self.slice(range);
            let (text, originals) = (kept.text.into_owned(), kept.originals);
            *self = Self {
                text: text.into(),
                originals,
                start,
            };
        }
    }

    /// The part of the text in `range`.
    pub(super) fn slice(&self, range: Range<usize>) -> AlignedText<'_> {
        AlignedText {
            text: self.text[range.clone()].into(),
            start: self.start_of(range.start),
            originals: self.originals.as_ref().map(|all| all[range].to_vec()),
        }
    }

    /// Where in the original the part begins that begins with byte `at`. Without alignment the text
    /// must be as it was.
    pub(super) fn start_of(&self, at: usize) -> u32 {
        match &self.originals {
            Some(originals) => originals.get(at).map_or(self.start, |range| range.start),
            None => self.start + at as u32,
        }
    }

    /// The bytes of the original that a non-empty range of this text stands for.
    pub(super) fn original_range(&self, range: Range<usize>) -> Range<usize> {
        let originals = self.originals.as_deref().unwrap_or_default();
        match originals.get(range.clone()) {
            Some([first, .., last]) => first.start as usize..last.end as usize,
            Some([only]) => only.start as usize..only.end as usize,
            _ => range,
        }
    }
}

/// Append `text` to `out` with `content` in place of every byte `byte` of ASCII.
pub(super) fn push_replaced(out: &mut String, text: &str, byte: u8, content: &str) {
    /// Bytes written for every byte of the text; most are then written over.
    const WIDTH: usize = 4;
    debug_assert!(byte.is_ascii());
    let len = content.len();
    let mut wide = [0; WIDTH];
    let Some(start) = wide.get_mut(..len) else {
        return push_replaced_long(out, text, byte, content);
    };
    start.copy_from_slice(content.as_bytes());
    out.reserve(text.len() + text.len() / 2);
    // SAFETY: what is appended is UTF-8: the text but for whole characters, which `byte` is as ASCII, and
    // `content` in place of each. Nothing panics in between but what leaves `out` with zeros behind.
    let out = unsafe { out.as_mut_vec() };
    // Branch-free inside a chunk, because where spaces are cannot be predicted.
    for chunk in text.as_bytes().chunks(128) {
        let mut end = out.len();
        out.resize(end + chunk.len() * len.max(1) + WIDTH, 0);
        for &each in chunk {
            let found = each == byte;
            let written = if found { wide } else { [each, 0, 0, 0] };
            // Always there; `copy_from_slice` would be a call.
            if let Some(room) = out[end..].first_chunk_mut() {
                *room = written;
            }
            end += if found { len } else { 1 };
        }
        out.truncate(end);
    }
}

fn push_replaced_long(out: &mut String, text: &str, byte: u8, content: &str) {
    for (at, part) in text.split(char::from(byte)).enumerate() {
        if at > 0 {
            out.push_str(content);
        }
        out.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rounds, Random};

    #[test]
    fn bytes_are_replaced() {
        let mut random = Random(3);
        for _ in 0..rounds(300, 20) {
            let len = random.below(400);
            let text: String = random.picks(&[' ', ' ', 'a', 'é', '中', '🎉'], len);
            for content in ["", "_", "é", "▁", "🎉", "▁▁"] {
                let mut got = String::from("é");
                push_replaced(&mut got, &text, b' ', content);
                assert_eq!(got, format!("é{}", text.replace(' ', content)));
            }
        }
    }
}
