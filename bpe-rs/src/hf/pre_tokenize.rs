//! Pre-tokenizers: text to pre-tokens, the pieces that merging does not cross.

use std::ops::Range;

use crate::error::Result;
use crate::format::components::{Behavior, ByteLevel, PreTokenizer, SplitPattern};
use crate::format::regex::from_hugging_face;
use crate::pretokenize::Pretokenizer;

/// A tokenizer's pre-tokenizers, compiled: any number of splits, then `ByteLevel`.
#[derive(Debug, Default)]
pub(super) struct CompiledPreTokenizer {
    splits: Vec<SplitStep>,
    /// GPT-2's pattern, where `ByteLevel` splits by it.
    byte_level_pattern: Option<Pretokenizer>,
    /// Whether `ByteLevel` puts a space before every piece that does not start with one.
    add_prefix_space: bool,
}

/// One split: find delimiters, then cut around them as `behavior` says.
#[derive(Debug)]
struct SplitStep {
    matcher: SplitMatcher,
    behavior: Behavior,
    /// Whether the delimiters are what lies between the matches.
    invert: bool,
}

#[derive(Debug)]
enum SplitMatcher {
    Pattern(Pretokenizer),
    Digits,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PreToken {
    /// Bytes of the text.
    pub(super) range: Range<usize>,
    /// Whether it begins with a space that is not in the text.
    pub(super) space_added: bool,
}

impl CompiledPreTokenizer {
    /// Compile `pre_tokenizer`.
    ///
    /// # Errors
    /// `Invalid` for a pattern that is no regular expression or that Hugging Face's engine reads
    /// differently.
    pub(super) fn new(pre_tokenizer: Option<&PreTokenizer>) -> Result<Self> {
        let mut compiled = Self::default();
        for step in pre_tokenizer
            .map(PreTokenizer::flattened)
            .unwrap_or_default()
        {
            let (matcher, behavior, invert) = match step {
                PreTokenizer::ByteLevel(ByteLevel {
                    add_prefix_space,
                    use_regex,
                    ..
                }) => {
                    compiled.add_prefix_space = *add_prefix_space;
                    if *use_regex {
                        compiled.byte_level_pattern = Some(Pretokenizer::new("gpt2")?);
                    }
                    continue;
                }
                PreTokenizer::Split {
                    pattern,
                    behavior,
                    invert,
                } => {
                    let regex = match pattern {
                        SplitPattern::Regex(regex) => from_hugging_face(regex)?,
                        SplitPattern::String(text) => escaped(text),
                    };
                    let matcher = SplitMatcher::Pattern(Pretokenizer::new(&regex)?);
                    (matcher, *behavior, *invert)
                }
                PreTokenizer::Digits { individual_digits } => {
                    let behavior = match individual_digits {
                        true => Behavior::Isolated,
                        false => Behavior::Contiguous,
                    };
                    (SplitMatcher::Digits, behavior, false)
                }
                PreTokenizer::Sequence { .. } => continue,
            };
            compiled.splits.push(SplitStep {
                matcher,
                behavior,
                invert,
            });
        }
        Ok(compiled)
    }

    /// The pattern whose matches are exactly the pre-tokens, where there is one; then the encoder
    /// can cut the text itself.
    pub(super) fn sole_pattern(&self) -> Option<&Pretokenizer> {
        match (&self.splits[..], &self.byte_level_pattern) {
            ([], Some(pattern)) if !self.add_prefix_space => Some(pattern),
            (
                [SplitStep {
                    matcher: SplitMatcher::Pattern(pattern),
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

    /// The pre-tokens of `text`, in order.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up.
    pub(super) fn pre_tokens(&self, text: &str) -> Result<Vec<PreToken>> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let mut pieces: Vec<Range<usize>> = std::iter::once(0..text.len()).collect();
        let (mut next, mut matches) = (Vec::new(), Vec::new());
        for split in &self.splits {
            next.clear();
            for piece in &pieces {
                matches.clear();
                split.matcher.find(&text[piece.clone()], &mut matches)?;
                split.cut(piece.clone(), &matches, &mut next);
            }
            std::mem::swap(&mut pieces, &mut next);
        }
        let mut pre_tokens = Vec::with_capacity(pieces.len());
        for piece in pieces {
            self.apply_byte_level(text, piece, &mut pre_tokens)?;
        }
        Ok(pre_tokens)
    }

    /// Append what `ByteLevel` makes of one piece.
    fn apply_byte_level(
        &self,
        text: &str,
        piece: Range<usize>,
        out: &mut Vec<PreToken>,
    ) -> Result<()> {
        let base = piece.start;
        let space_added = self.add_prefix_space && !text[piece.clone()].starts_with(' ');
        let Some(pattern) = &self.byte_level_pattern else {
            out.push(PreToken {
                range: piece,
                space_added,
            });
            return Ok(());
        };
        if !space_added {
            return pattern.pieces(&text[piece], &mut |range| {
                out.push(PreToken {
                    range: base + range.start..base + range.end,
                    space_added: false,
                });
            });
        }
        let with_space = format!(" {}", &text[piece]);
        pattern.pieces(&with_space, &mut |range| {
            // One byte less than in `with_space`, but for the start of the first piece.
            let is_first = range.start == 0;
            let start = if is_first { 0 } else { range.start - 1 };
            out.push(PreToken {
                range: base + start..base + range.end - 1,
                space_added: is_first,
            });
        })
    }
}

/// The regular expression that matches `text`.
fn escaped(text: &str) -> String {
    // `\<` and `\>` are the ends of words.
    let is_plain = |c: char| !c.is_ascii_punctuation() || c == '<' || c == '>';
    let escape = |c: char| (!is_plain(c)).then_some('\\').into_iter().chain([c]);
    text.chars().flat_map(escape).collect()
}

impl SplitMatcher {
    /// Append the matches in order. Those of a regular expression may be empty.
    fn find(&self, text: &str, out: &mut Vec<Range<usize>>) -> Result<()> {
        match self {
            Self::Pattern(pattern) if pattern.name().is_some() => {
                pattern.pieces(text, &mut |piece| out.push(piece))
            }
            Self::Pattern(pattern) => pattern.engine().matches(text, &mut |found| out.push(found)),
            Self::Digits => {
                let digits = text.char_indices().filter(|(_, c)| c.is_numeric());
                out.extend(digits.map(|(at, c)| at..at + c.len_utf8()));
                Ok(())
            }
        }
    }
}

impl SplitStep {
    /// Cut `piece` around `matches`, which are ranges inside it, and append its parts. An empty
    /// match cuts, too, and counts when neighbours are joined.
    fn cut(&self, piece: Range<usize>, matches: &[Range<usize>], out: &mut Vec<Range<usize>>) {
        let mut ranges = Vec::with_capacity(2 * matches.len() + 1);
        let mut done = 0;
        for range in matches {
            if done != range.start {
                ranges.push((done..range.start, self.invert));
            }
            ranges.push((range.clone(), !self.invert));
            done = range.end;
        }
        if done != piece.len() {
            ranges.push((done..piece.len(), self.invert));
        }
        // What begins the piece after is joined from the end, as Hugging Face's engine does.
        let from_end = self.behavior == Behavior::MergedWithNext;
        if from_end {
            ranges.reverse();
        }
        let mut joined: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
        let mut after_delimiter = false;
        for (range, is_delimiter) in ranges {
            let joins = match self.behavior {
                Behavior::Removed if is_delimiter => continue,
                Behavior::Removed | Behavior::Isolated => false,
                Behavior::MergedWithPrevious | Behavior::MergedWithNext => {
                    is_delimiter && !after_delimiter
                }
                Behavior::Contiguous => is_delimiter == after_delimiter,
            };
            match joined.last_mut().filter(|_| joins) {
                Some(last) if from_end => last.start = range.start,
                Some(last) => last.end = range.end,
                None => joined.push(range),
            }
            after_delimiter = is_delimiter;
        }
        if from_end {
            joined.reverse();
        }
        let base = piece.start;
        let parts = joined.into_iter().filter(|range| !range.is_empty());
        out.extend(parts.map(|range| base + range.start..base + range.end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(behavior: Behavior, invert: bool, text: &str) -> Vec<String> {
        let pattern = SplitPattern::String("-".into());
        let step = PreTokenizer::Split {
            pattern,
            behavior,
            invert,
        };
        let compiled = CompiledPreTokenizer::new(Some(&step)).unwrap();
        let pre_tokens = compiled.pre_tokens(text).unwrap();
        pre_tokens
            .into_iter()
            .map(|token| text[token.range].to_string())
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
