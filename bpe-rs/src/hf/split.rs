//! One split of a pre-tokenizer: matches to pieces.

use std::ops::Range;

use super::matcher::Matcher;
use crate::error::Result;
use crate::format::components::Behavior;

/// One split: find delimiters, then cut around them as `behavior` says.
#[derive(Debug)]
pub(super) struct SplitStep {
    pub(super) matcher: Matcher,
    pub(super) behavior: Behavior,
    /// Whether the delimiters are what lies between the matches.
    pub(super) invert: bool,
}

impl SplitStep {
    /// Append the parts of `text`.
    pub(super) fn cut_text(&self, text: &str, out: &mut Vec<Range<usize>>) -> Result<()> {
        if let Matcher::Character(delimiter) = self.matcher {
            self.cut(text.len(), each_of(delimiter, text), out);
            return Ok(());
        }
        let mut matches = Vec::new();
        self.matcher.find(text, &mut matches)?;
        self.cut(text.len(), matches, out);
        Ok(())
    }

    /// Cut a text of `len` bytes around `matches` and append its parts. An empty match cuts, too, and
    /// counts when neighbours are joined.
    fn cut(
        &self,
        len: usize,
        matches: impl IntoIterator<Item = Range<usize>>,
        out: &mut Vec<Range<usize>>,
    ) {
        // The last range, which the next one may join, and whether it ends in a delimiter.
        let (mut last, mut after_delimiter) = (0..0, false);
        let mut add = |range: Range<usize>, is_delimiter: bool| {
            let joins = match self.behavior {
                Behavior::Removed if is_delimiter => return,
                Behavior::Removed | Behavior::Isolated => false,
                Behavior::MergedWithPrevious => is_delimiter && !after_delimiter,
                Behavior::MergedWithNext => !is_delimiter && after_delimiter,
                Behavior::Contiguous => is_delimiter == after_delimiter,
            };
            if joins {
                last.end = range.end;
            } else {
                if !last.is_empty() {
                    out.push(last.clone());
                }
                last = range;
            }
            after_delimiter = is_delimiter;
        };
        let mut done = 0;
        for found in matches {
            if done != found.start {
                add(done..found.start, self.invert);
            }
            done = found.end;
            add(found, !self.invert);
        }
        if done != len {
            add(done..len, self.invert);
        }
        if !last.is_empty() {
            out.push(last);
        }
    }
}

/// The places of a character in a text.
fn each_of(character: char, text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let (mut utf8, len) = ([0; 4], character.len_utf8());
    character.encode_utf8(&mut utf8);
    let bytes = text.as_bytes();
    let starts = memchr::memchr_iter(utf8[0], bytes);
    // Byte by byte, because comparing slices would be a call.
    let rest = move |at: &usize| (1..len).all(|i| bytes.get(at + i) == Some(&utf8[i]));
    starts.filter(rest).map(move |at| at..at + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(behavior: Behavior, invert: bool, text: &str) -> Vec<&str> {
        let step = SplitStep {
            matcher: Matcher::Character('-'),
            behavior,
            invert,
        };
        let mut parts = Vec::new();
        step.cut_text(text, &mut parts).unwrap();
        parts.into_iter().map(|part| &text[part]).collect()
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
