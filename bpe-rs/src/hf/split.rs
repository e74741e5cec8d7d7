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
        let mut matches = Vec::new();
        self.matcher.find(text, &mut matches)?;
        self.cut(0..text.len(), &matches, out);
        Ok(())
    }

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
