//! Unicode normalisation that keeps, for every byte, the bytes of the original it stands for.

use std::ops::Range;

use unicode_normalization_alignments::{char::is_combining_mark, UnicodeNormalization};

use crate::format::components::Normalizer;

/// True for combining marks (Unicode category M).
pub(super) fn is_mark(character: char) -> bool {
    is_combining_mark(character)
}

/// The normalisers of a tokenizer, in the order in which they apply.
#[derive(Clone, Debug, Default)]
pub(super) struct Normalizers(Vec<UnicodeForm>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnicodeForm {
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

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A quick test that implies that normalisation does not change `text`: no form changes ASCII,
    /// and NFC changes nothing below `U+0300`.
    pub(super) fn surely_keeps(&self, text: &str) -> bool {
        self.0.is_empty()
            || text.is_ascii()
            || (self.0.iter().all(|form| *form == UnicodeForm::Nfc)
                && text.chars().all(|character| character < '\u{300}'))
    }

    /// The normalised text.
    pub(super) fn apply(&self, text: &str) -> String {
        let mut aligned = AlignedText::new(text, 0);
        aligned.normalize(self);
        aligned.text
    }
}

fn flatten(normalizer: &Normalizer, forms: &mut Vec<UnicodeForm>) {
    match normalizer {
        Normalizer::Nfc => forms.push(UnicodeForm::Nfc),
        Normalizer::Nfd => forms.push(UnicodeForm::Nfd),
        Normalizer::Nfkc => forms.push(UnicodeForm::Nfkc),
        Normalizer::Nfkd => forms.push(UnicodeForm::Nfkd),
        Normalizer::Sequence { normalizers } => {
            normalizers.iter().for_each(|item| flatten(item, forms));
        }
    }
}

/// A text and, for each of its bytes, the byte range of the original that it stands for.
#[derive(Clone, Debug)]
pub(super) struct AlignedText {
    pub(super) text: String,
    originals: Vec<Range<u32>>,
}

impl AlignedText {
    /// Unchanged text that begins at byte `start` of the original.
    pub(super) fn new(text: &str, start: usize) -> Self {
        let mut originals = Vec::with_capacity(text.len());
        for (at, character) in text.char_indices() {
            let from = (start + at) as u32;
            let to = from + character.len_utf8() as u32;
            originals.extend((0..character.len_utf8()).map(|_| from..to));
        }
        Self {
            text: text.into(),
            originals,
        }
    }

    /// Apply the forms one after the other.
    pub(super) fn normalize(&mut self, normalizers: &Normalizers) {
        for form in &normalizers.0 {
            let changes: Vec<(char, isize)> = match form {
                UnicodeForm::Nfc => self.text.nfc().collect(),
                UnicodeForm::Nfd => self.text.nfd().collect(),
                UnicodeForm::Nfkc => self.text.nfkc().collect(),
                UnicodeForm::Nfkd => self.text.nfkd().collect(),
            };
            self.replace(&changes);
        }
    }

    /// Replace the text by the characters of `changes`, each with a number as Hugging Face's
    /// normalisation gives it: 1 for a character that is added to the one before, `-n` for one
    /// that replaces `n + 1` characters, 0 for one that replaces one.
    fn replace(&mut self, changes: &[(char, isize)]) {
        let mut old = self
            .text
            .char_indices()
            .map(|(at, character)| (at, character.len_utf8()));
        let mut text = String::with_capacity(self.text.len());
        let mut originals = Vec::with_capacity(self.originals.len());
        let mut last: Range<u32> = 0..0;
        for &(character, change) in changes {
            let original = if change > 0 {
                last.clone()
            } else {
                let replaced = old.next();
                let original = replaced.map_or(last.clone(), |(at, _)| self.originals[at].clone());
                last = original.clone();
                for _ in 0..-change {
                    if let Some((at, _)) = old.next() {
                        last = self.originals[at].clone();
                    }
                }
                original
            };
            text.push(character);
            originals.extend((0..character.len_utf8()).map(|_| original.clone()));
        }
        self.text = text;
        self.originals = originals;
    }

    /// Insert a space before the text. It stands for the same bytes of the original as the
    /// character after it, which begins at byte `next` of `whole`.
    pub(super) fn prepend_space(&mut self, whole: &Self, next: usize) {
        let original = whole.originals.get(next).cloned().unwrap_or(0..0);
        self.text.insert(0, ' ');
        self.originals.insert(0, original);
    }

    /// The part of the text in `range`.
    pub(super) fn slice(&self, range: Range<usize>) -> Self {
        Self {
            text: self.text[range.clone()].into(),
            originals: self.originals[range].to_vec(),
        }
    }

    /// The bytes of the original that a non-empty range of this text stands for.
    pub(super) fn original_range(&self, range: Range<usize>) -> Range<usize> {
        match self.originals.get(range.clone()) {
            Some([first, .., last]) => first.start as usize..last.end as usize,
            Some([only]) => only.start as usize..only.end as usize,
            _ => range,
        }
    }
}
