//! Unicode normalisation that remembers where every byte came from.

use std::ops::Range;

use unicode_normalization_alignments::{char::is_combining_mark, UnicodeNormalization};

use crate::format::components::Normalizer;

/// True for combining marks (Unicode category M).
pub(super) fn is_mark(character: char) -> bool {
    is_combining_mark(character)
}

/// The normalisers of a tokenizer, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Normalizers(Vec<Form>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}

impl Normalizers {
    pub(super) fn new(normalizer: Option<&Normalizer>) -> Self {
        let mut forms = Vec::new();
        if let Some(normalizer) = normalizer {
            flatten(normalizer, &mut forms);
        }
        Self(forms)
    }

    /// Whether `text` certainly comes out as it is: none of the forms touches ASCII, and the
    /// composed forms leave everything below `U+0300` (NFC) alone.
    pub(super) fn keeps(&self, text: &str) -> bool {
        self.0.is_empty()
            || text.is_ascii()
            || (self.0.iter().all(|form| *form == Form::Nfc)
                && text.chars().all(|character| character < '\u{300}'))
    }

    pub(super) fn apply(&self, text: &str) -> String {
        let mut aligned = Aligned::new(text, 0);
        aligned.normalize(self);
        aligned.text
    }
}

fn flatten(normalizer: &Normalizer, forms: &mut Vec<Form>) {
    match normalizer {
        Normalizer::Nfc => forms.push(Form::Nfc),
        Normalizer::Nfd => forms.push(Form::Nfd),
        Normalizer::Nfkc => forms.push(Form::Nfkc),
        Normalizer::Nfkd => forms.push(Form::Nfkd),
        Normalizer::Sequence(items) => items.iter().for_each(|item| flatten(item, forms)),
    }
}

/// Text with, for each of its bytes, the byte range of the original that it stands for.
#[derive(Clone, Debug)]
pub(super) struct Aligned {
    pub(super) text: String,
    sources: Vec<Range<u32>>,
}

impl Aligned {
    /// `text` as it is, found at byte `start` of the original.
    pub(super) fn new(text: &str, start: usize) -> Self {
        let mut sources = Vec::with_capacity(text.len());
        for (at, character) in text.char_indices() {
            let from = (start + at) as u32;
            let to = from + character.len_utf8() as u32;
            sources.extend((0..character.len_utf8()).map(|_| from..to));
        }
        Self {
            text: text.into(),
            sources,
        }
    }

    /// Applies the forms one after the other.
    pub(super) fn normalize(&mut self, normalizers: &Normalizers) {
        for form in &normalizers.0 {
            let changes: Vec<(char, isize)> = match form {
                Form::Nfc => self.text.nfc().collect(),
                Form::Nfd => self.text.nfd().collect(),
                Form::Nfkc => self.text.nfkc().collect(),
                Form::Nfkd => self.text.nfkd().collect(),
            };
            self.replace(&changes);
        }
    }

    /// Replaces the text by `changes`: each a character with how many characters it adds (1), or
    /// how many it swallows beyond the one that it stands for (as a negative number).
    fn replace(&mut self, changes: &[(char, isize)]) {
        let mut old = self
            .text
            .char_indices()
            .map(|(at, character)| (at, character.len_utf8()));
        let mut text = String::with_capacity(self.text.len());
        let mut sources = Vec::with_capacity(self.sources.len());
        let mut last: Range<u32> = 0..0;
        for &(character, change) in changes {
            let source = if change > 0 {
                last.clone()
            } else {
                let taken = old.next();
                let source = taken.map_or(last.clone(), |(at, _)| self.sources[at].clone());
                last = source.clone();
                for _ in 0..-change {
                    if let Some((at, _)) = old.next() {
                        last = self.sources[at].clone();
                    }
                }
                source
            };
            text.push(character);
            sources.extend((0..character.len_utf8()).map(|_| source.clone()));
        }
        self.text = text;
        self.sources = sources;
    }

    /// Puts a space before the text; it stands for the same as the character that follows, which
    /// begins at byte `next` of `whole`.
    pub(super) fn prepend_space(&mut self, whole: &Self, next: usize) {
        let source = whole.sources.get(next).cloned().unwrap_or(0..0);
        self.text.insert(0, ' ');
        self.sources.insert(0, source);
    }

    /// The part of the text in `range`.
    pub(super) fn slice(&self, range: Range<usize>) -> Self {
        Self {
            text: self.text[range.clone()].into(),
            sources: self.sources[range].to_vec(),
        }
    }

    /// The original's bytes that a non-empty range of this text stands for.
    pub(super) fn source_of(&self, range: Range<usize>) -> Range<usize> {
        match self.sources.get(range.clone()) {
            Some([first, .., last]) => first.start as usize..last.end as usize,
            Some([only]) => only.start as usize..only.end as usize,
            _ => range,
        }
    }
}
