//! Pre-tokenizers: text to pieces.

use std::ops::Range;

use crate::error::Result;
use crate::format::components::{Behavior, ByteLevel, PreTokenizer, SplitPattern};
use crate::format::regex::from_hugging_face;
use crate::pretokenize::Pretokenizer;

/// A tokenizer's pre-tokenizers, compiled. The last of them, `ByteLevel`, is kept apart.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    steps: Vec<Step>,
    /// GPT-2's pattern, where `ByteLevel` splits by it.
    last: Option<Pretokenizer>,
    /// `ByteLevel` puts a space before every piece that does not start with one.
    add_prefix_space: bool,
}

#[derive(Debug)]
struct Step {
    finder: Finder,
    behavior: Behavior,
    invert: bool,
}

#[derive(Debug)]
enum Finder {
    Pattern(Pretokenizer),
    Text(String),
    Digits,
}

/// A piece of a text, and whether it begins with a space that is not in the text.
pub(super) type Piece = (Range<usize>, bool);

impl Splitter {
    pub(super) fn new(pre_tokenizer: Option<&PreTokenizer>) -> Result<Self> {
        let mut splitter = Self::default();
        for step in pre_tokenizer
            .map(PreTokenizer::flattened)
            .unwrap_or_default()
        {
            let (finder, behavior, invert) = match step {
                PreTokenizer::ByteLevel(ByteLevel {
                    add_prefix_space,
                    use_regex,
                    ..
                }) => {
                    splitter.add_prefix_space = *add_prefix_space;
                    if *use_regex {
                        splitter.last = Some(Pretokenizer::new("gpt2")?);
                    }
                    continue;
                }
                PreTokenizer::Split {
                    pattern,
                    behavior,
                    invert,
                } => {
                    let finder = match pattern {
                        SplitPattern::Regex(regex) => {
                            Finder::Pattern(Pretokenizer::new(&from_hugging_face(regex)?)?)
                        }
                        SplitPattern::Text(text) => Finder::Text(text.clone()),
                    };
                    (finder, *behavior, *invert)
                }
                PreTokenizer::Digits {
                    individual_digits: true,
                } => (Finder::Digits, Behavior::Isolated, false),
                PreTokenizer::Digits {
                    individual_digits: false,
                } => (Finder::Digits, Behavior::Contiguous, false),
                PreTokenizer::Sequence(_) => continue,
            };
            splitter.steps.push(Step {
                finder,
                behavior,
                invert,
            });
        }
        Ok(splitter)
    }

    /// The one pattern that does all the splitting and leaves nothing between its matches, if it
    /// is as simple as that: its pieces are the encoder's own.
    pub(super) fn sole_pattern(&self) -> Option<&Pretokenizer> {
        match (&self.steps[..], &self.last) {
            ([], Some(pattern)) if !self.add_prefix_space => Some(pattern),
            (
                [Step {
                    finder: Finder::Pattern(pattern),
                    behavior,
                    invert,
                }],
                None,
            ) if !self.add_prefix_space => {
                let only_matches = *behavior == Behavior::Removed && *invert;
                let all_is_matched =
                    pattern.name().is_some() && *behavior == Behavior::Isolated && !invert;
                (only_matches || all_is_matched).then_some(pattern)
            }
            _ => None,
        }
    }

    /// The pieces of `text`.
    pub(super) fn pieces(&self, text: &str) -> Result<Vec<Piece>> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let mut pieces: Vec<Range<usize>> = std::iter::once(0..text.len()).collect();
        let (mut next, mut found) = (Vec::new(), Vec::new());
        for step in &self.steps {
            next.clear();
            for piece in &pieces {
                found.clear();
                step.finder.find(&text[piece.clone()], &mut found)?;
                step.arrange(&found, piece.clone(), &mut next);
            }
            std::mem::swap(&mut pieces, &mut next);
        }
        let mut last = Vec::with_capacity(pieces.len());
        for piece in pieces {
            self.finish(text, piece, &mut last)?;
        }
        Ok(last)
    }

    /// What `ByteLevel` makes of one piece.
    fn finish(&self, text: &str, piece: Range<usize>, out: &mut Vec<Piece>) -> Result<()> {
        let base = piece.start;
        let prefixed = self.add_prefix_space && !text[piece.clone()].starts_with(' ');
        let Some(pattern) = &self.last else {
            out.push((piece, prefixed));
            return Ok(());
        };
        if !prefixed {
            let emit = &mut |range: Range<usize>| {
                out.push((base + range.start..base + range.end, false));
            };
            return pattern.pieces(&text[piece], emit);
        }
        let with_space = format!(" {}", &text[piece]);
        pattern.pieces(&with_space, &mut |range| {
            let is_first = range.start == 0;
            let start = if is_first { 0 } else { range.start - 1 };
            out.push((base + start..base + range.end - 1, is_first));
        })
    }
}

impl Finder {
    /// Matches in order, none empty.
    fn find(&self, text: &str, out: &mut Vec<Range<usize>>) -> Result<()> {
        match self {
            Self::Pattern(pattern) => pattern.pieces(text, &mut |piece| {
                if !piece.is_empty() {
                    out.push(piece);
                }
            })?,
            Self::Text(wanted) if wanted.is_empty() => {}
            Self::Text(wanted) => out.extend(
                text.match_indices(wanted.as_str())
                    .map(|(at, found)| at..at + found.len()),
            ),
            Self::Digits => out.extend(
                text.char_indices()
                    .filter(|(_, character)| character.is_numeric())
                    .map(|(at, character)| at..at + character.len_utf8()),
            ),
        }
        Ok(())
    }
}

impl Step {
    /// Turns the matches inside `piece` into pieces.
    fn arrange(&self, found: &[Range<usize>], piece: Range<usize>, out: &mut Vec<Range<usize>>) {
        let base = piece.start;
        let first = out.len();
        // Whether the piece written last was a delimiter, or ends with one.
        let mut after_delimiter = false;
        let mut place = |range: Range<usize>, is_match: bool, out: &mut Vec<Range<usize>>| {
            if range.is_empty() {
                return;
            }
            let range = base + range.start..base + range.end;
            let is_delimiter = is_match != self.invert;
            let is_first = out.len() == first;
            let joins = !is_first
                && match self.behavior {
                    Behavior::Removed | Behavior::Isolated => false,
                    Behavior::MergedWithPrevious => is_delimiter && !after_delimiter,
                    Behavior::MergedWithNext => !is_delimiter && after_delimiter,
                    Behavior::Contiguous => is_delimiter == after_delimiter,
                };
            match out.last_mut() {
                _ if is_delimiter && self.behavior == Behavior::Removed => {}
                Some(last) if joins => last.end = range.end,
                _ => out.push(range),
            }
            after_delimiter = is_delimiter;
        };
        let mut done = 0;
        for range in found {
            place(done..range.start, false, out);
            place(range.clone(), true, out);
            done = range.end;
        }
        place(done..piece.len(), false, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(behavior: Behavior, invert: bool, text: &str) -> Vec<String> {
        let pattern = SplitPattern::Text("-".into());
        let step = PreTokenizer::Split {
            pattern,
            behavior,
            invert,
        };
        let splitter = Splitter::new(Some(&step)).unwrap();
        let pieces = splitter.pieces(text).unwrap();
        pieces
            .into_iter()
            .map(|(piece, _)| text[piece].to_string())
            .collect()
    }

    #[test]
    fn behaviors() {
        let text = "the-final--countdown";
        let expected: [(Behavior, &[&str]); 5] = [
            (Behavior::Removed, &["the", "final", "countdown"]),
            (
                Behavior::Isolated,
                &["the", "-", "final", "-", "-", "countdown"],
            ),
            (
                Behavior::MergedWithPrevious,
                &["the-", "final-", "-", "countdown"],
            ),
            (
                Behavior::MergedWithNext,
                &["the", "-final", "-", "-countdown"],
            ),
            (
                Behavior::Contiguous,
                &["the", "-", "final", "--", "countdown"],
            ),
        ];
        for (behavior, pieces) in expected {
            assert_eq!(split(behavior, false, text), pieces, "{behavior:?}");
        }
        assert_eq!(split(Behavior::Removed, true, text), ["-", "-", "-"]);
    }
}
