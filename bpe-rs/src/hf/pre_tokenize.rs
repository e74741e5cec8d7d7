//! Pre-tokenizers: text to pre-tokens, the pieces that merging does not cross.

use std::ops::Range;

use super::aligned::AlignedText;
use super::matcher::{is_punctuation, Matcher};
use super::scripts;
use super::split::SplitStep;
use crate::error::Result;
use crate::format::byte_level;
use crate::format::components::{Behavior, Metaspace, PreTokenizer, PrependScheme};
use crate::pretokenize::Pretokenizer;

/// A tokenizer's pre-tokenizers, compiled.
#[derive(Debug, Default)]
pub(super) struct CompiledPreTokenizer {
    steps: Vec<Step>,
    /// Whether the last step is `ByteLevel` and no other is. Then it leaves the text as it is, and the
    /// model takes the bytes.
    ends_in_bytes: bool,
    /// Whether what a step does depends on where a piece begins in the original.
    asks_for_starts: bool,
}

#[derive(Debug)]
enum Step {
    Split(SplitStep),
    ByteLevel {
        /// Whether every piece gets a space before it that does not start with one.
        add_prefix_space: bool,
        /// GPT-2's pattern, where pieces are split by it.
        pattern: Option<Pretokenizer>,
        /// Whether bytes become characters of the byte-level alphabet.
        to_alphabet: bool,
    },
    Metaspace(Metaspace),
    FixedLength(usize),
    Scripts,
}

/// A text and its pieces, in order.
#[derive(Debug)]
pub(super) struct PreTokenized<'a> {
    pub(super) text: AlignedText<'a>,
    /// Ranges of bytes, none of them empty.
    pub(super) pieces: Vec<Range<usize>>,
}

impl CompiledPreTokenizer {
    /// Compile `pre_tokenizer`.
    ///
    /// # Errors
    /// `Invalid` for a pattern that is no regular expression or that Hugging Face's engine reads
    /// differently.
    pub(super) fn new(pre_tokenizer: Option<&PreTokenizer>) -> Result<Self> {
        let mut compiled = Self {
            ends_in_bytes: pre_tokenizer.is_some_and(PreTokenizer::ends_in_bytes),
            ..Self::default()
        };
        for step in pre_tokenizer
            .map(PreTokenizer::flattened)
            .unwrap_or_default()
        {
            compiled.push(step)?;
        }
        Ok(compiled)
    }

    fn push(&mut self, step: &PreTokenizer) -> Result<()> {
        let mut split = |matcher, behavior, invert| {
            self.steps.push(Step::Split(SplitStep {
                matcher,
                behavior,
                invert,
            }));
        };
        match step {
            PreTokenizer::ByteLevel(settings) => {
                let pattern = settings.use_regex.then(|| Pretokenizer::new("gpt2"));
                self.steps.push(Step::ByteLevel {
                    add_prefix_space: settings.add_prefix_space,
                    pattern: pattern.transpose()?,
                    to_alphabet: !self.ends_in_bytes,
                });
            }
            PreTokenizer::Split {
                pattern,
                behavior,
                invert,
            } => split(Matcher::new(pattern)?, *behavior, *invert),
            PreTokenizer::Digits { individual_digits } => {
                let behavior = match individual_digits {
                    true => Behavior::Isolated,
                    false => Behavior::Contiguous,
                };
                split(Matcher::Characters(char::is_numeric), behavior, false);
            }
            PreTokenizer::Punctuation { behavior } => {
                split(Matcher::Characters(is_punctuation), *behavior, false);
            }
            PreTokenizer::Whitespace => {
                let words = Matcher::Pattern(Pretokenizer::new(r"\w+|[^\w\s]+")?);
                split(words, Behavior::Removed, true);
            }
            PreTokenizer::WhitespaceSplit => {
                let space = Matcher::Characters(char::is_whitespace);
                split(space, Behavior::Removed, false);
            }
            PreTokenizer::BertPreTokenizer => {
                let space = Matcher::Characters(char::is_whitespace);
                split(space, Behavior::Removed, false);
                split(
                    Matcher::Characters(is_punctuation),
                    Behavior::Isolated,
                    false,
                );
            }
            PreTokenizer::CharDelimiterSplit { delimiter } => {
                split(Matcher::Character(*delimiter), Behavior::Removed, false);
            }
            PreTokenizer::Metaspace(settings) => {
                self.asks_for_starts |= settings.prepend_scheme == PrependScheme::First;
                self.steps.push(Step::Metaspace(*settings));
            }
            PreTokenizer::FixedLength { length } => self.steps.push(Step::FixedLength(*length)),
            PreTokenizer::UnicodeScripts => self.steps.push(Step::Scripts),
            PreTokenizer::Sequence { .. } => {}
        }
        Ok(())
    }

    /// Whether the pieces are bytes for the model, not characters.
    pub(super) fn ends_in_bytes(&self) -> bool {
        self.ends_in_bytes
    }

    /// Whether [`Self::pre_tokens`] needs to know what each byte of the text stands for: a step asks
    /// where a piece begins, and the text is not as it was or an earlier step changes it.
    pub(super) fn needs_alignment(&self, is_normalized: bool) -> bool {
        let changes =
            |step: &Step| !matches!(step, Step::Split(_) | Step::FixedLength(_) | Step::Scripts);
        let asks = |step: &Step| matches!(step, Step::Metaspace(settings) if settings.prepend_scheme == PrependScheme::First);
        let last = self.steps.iter().rposition(asks).unwrap_or(0);
        self.asks_for_starts && (is_normalized || self.steps[..last].iter().any(changes))
    }

    /// Whether a text without spaces stays in one piece.
    pub(super) fn only_cuts_at_spaces(&self) -> bool {
        let is_space = |step: &Step| matches!(step, Step::Split(split) if split.matcher.is_space());
        self.steps.iter().all(is_space)
    }

    /// The settings of `Metaspace`, where nothing else is done.
    pub(super) fn sole_metaspace(&self) -> Option<&Metaspace> {
        match &self.steps[..] {
            [Step::Metaspace(settings)] => Some(settings),
            _ => None,
        }
    }

    /// The pattern whose matches are exactly the pre-tokens, where there is one and these are bytes;
    /// then the encoder can cut the text itself.
    pub(super) fn sole_pattern(&self) -> Option<&Pretokenizer> {
        let Some((
            Step::ByteLevel {
                add_prefix_space: false,
                pattern: last,
                to_alphabet: false,
            },
            before,
        )) = self.steps.split_last()
        else {
            return None;
        };
        match (before, last) {
            ([], Some(pattern)) => Some(pattern),
            (
                [Step::Split(SplitStep {
                    matcher: Matcher::Pattern(pattern),
                    behavior,
                    invert,
                })],
                None,
            ) => {
                let only_matches = *behavior == Behavior::Removed && *invert;
                let all_is_matched =
                    pattern.name().is_some() && *behavior == Behavior::Isolated && !invert;
                (only_matches || all_is_matched).then_some(pattern)
            }
            _ => None,
        }
    }

    /// Cut a text into its pre-tokens.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up.
    pub(super) fn pre_tokens<'a>(&self, text: AlignedText<'a>) -> Result<PreTokenized<'a>> {
        let whole = (!text.text.is_empty()).then_some(0..text.text.len());
        let mut cut = PreTokenized {
            text,
            pieces: whole.into_iter().collect(),
        };
        for step in &self.steps {
            match step {
                Step::Split(split) => cut.split(|text, found| split.cut_text(text, found))?,
                Step::FixedLength(length) => cut.split(|text, found| {
                    let starts = text
                        .char_indices()
                        .map(|(at, _)| at)
                        .step_by((*length).max(1));
                    let ends = starts.clone().skip(1).chain([text.len()]);
                    found.extend(starts.zip(ends).map(|(start, end)| start..end));
                    Ok(())
                })?,
                Step::Scripts => cut.split(|text, found| {
                    scripts::cut(text, found);
                    Ok(())
                })?,
                Step::Metaspace(settings) => cut.metaspace(settings)?,
                Step::ByteLevel {
                    add_prefix_space,
                    pattern,
                    to_alphabet,
                } => {
                    if *add_prefix_space {
                        cut.prepend(" ", |_, text| !text.starts_with(' '));
                    }
                    if let Some(pattern) = pattern {
                        cut.split(|text, found| {
                            pattern.pieces(text, &mut |piece| found.push(piece))
                        })?;
                    }
                    if *to_alphabet {
                        cut.write_in_alphabet();
                    }
                }
            }
        }
        Ok(cut)
    }
}

impl PreTokenized<'_> {
    /// Replace every piece by the parts that `cut` appends, as ranges inside it.
    fn split(
        &mut self,
        mut cut: impl FnMut(&str, &mut Vec<Range<usize>>) -> Result<()>,
    ) -> Result<()> {
        let (mut pieces, mut found) = (Vec::with_capacity(self.pieces.len()), Vec::new());
        for piece in &self.pieces {
            found.clear();
            cut(&self.text.text[piece.clone()], &mut found)?;
            pieces.reserve(found.len());
            for part in &found {
                if !part.is_empty() {
                    pieces.push(piece.start + part.start..piece.start + part.end);
                }
            }
        }
        self.pieces = pieces;
        Ok(())
    }

    /// Put `before` before every piece for whose index and text `is_due`.
    fn prepend(&mut self, before: &str, is_due: impl Fn(usize, &str) -> bool) {
        let due =
            |index: usize, piece: &Range<usize>| is_due(index, &self.text.text[piece.clone()]);
        if !(0..)
            .zip(&self.pieces)
            .any(|(index, piece)| due(index, piece))
        {
            return;
        }
        let len = self.text.text.len() + self.pieces.len() * before.len();
        let mut text = self.text.emptied(len);
        for (index, piece) in self.pieces.iter_mut().enumerate() {
            let start = text.text.len();
            if is_due(index, &self.text.text[piece.clone()]) {
                text.push_as(before, &self.text, piece.start);
            }
            text.push_range(&self.text, piece.clone());
            *piece = start..text.text.len();
        }
        self.text = text;
    }

    fn metaspace(&mut self, settings: &Metaspace) -> Result<()> {
        let mut buffer = [0; 4];
        let mark: &str = settings.replacement.encode_utf8(&mut buffer);
        self.mark_spaces(mark, settings.prepend_scheme);
        if settings.split {
            let step = SplitStep {
                matcher: Matcher::Character(settings.replacement),
                behavior: Behavior::MergedWithNext,
                invert: false,
            };
            self.split(|text, found| step.cut_text(text, found))?;
        }
        Ok(())
    }

    /// Replace the spaces of all pieces by `mark`, which stands for the same, and put one before the
    /// pieces that `scheme` says and that do not start with it.
    fn mark_spaces(&mut self, mark: &str, scheme: PrependScheme) {
        let is_due = |piece: &Range<usize>| {
            let starts_with_mark = || {
                let text = &self.text.text[piece.clone()];
                text.starts_with(mark) || text.starts_with(' ')
            };
            match scheme {
                PrependScheme::Always => !starts_with_mark(),
                PrependScheme::First => self.text.start_of(piece.start) == 0 && !starts_with_mark(),
                PrependScheme::Never => false,
            }
        };
        let bytes = self.text.text.as_bytes();
        let has_spaces = mark != " " && memchr::memchr(b' ', bytes).is_some();
        if !has_spaces && !self.pieces.iter().any(is_due) {
            return;
        }
        let due: Vec<bool> = self.pieces.iter().map(is_due).collect();
        // A sixth of English are spaces.
        let mut text = self
            .text
            .emptied(bytes.len() + bytes.len() / 2 + mark.len());
        for (piece, due) in self.pieces.iter_mut().zip(due) {
            let start = text.text.len();
            if due {
                text.push_as(mark, &self.text, piece.start);
            }
            text.push_replaced(&self.text, piece.clone(), b' ', mark);
            *piece = start..text.text.len();
        }
        self.text = text;
    }

    /// Write the bytes of all pieces in the byte-level alphabet.
    fn write_in_alphabet(&mut self) {
        let alphabet = byte_level::ALPHABET.map(String::from);
        let mut text = self.text.emptied(2 * self.text.text.len());
        for piece in &mut self.pieces {
            let start = text.text.len();
            for (at, character) in self.text.text[piece.clone()].char_indices() {
                let mut utf8 = [0; 4];
                for &byte in character.encode_utf8(&mut utf8).as_bytes() {
                    text.push_as(&alphabet[usize::from(byte)], &self.text, piece.start + at);
                }
            }
            *piece = start..text.text.len();
        }
        self.text = text;
    }
}
