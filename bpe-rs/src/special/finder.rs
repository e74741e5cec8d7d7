//! Searching a text for any of a set of strings.

use crate::threads::ForkOnce;
use aho_corasick::{AhoCorasick, MatchKind};

/// Finds any of a set of strings: the leftmost, and the longest of those that start there.
#[derive(Debug)]
pub struct Finder {
    strings: Vec<String>,
    /// `None` without strings.
    automaton: Option<AhoCorasick>,
    /// The same finder without the strings that are no special tokens; built when one of these is
    /// found in a text.
    pub(super) without_others: ForkOnce<Box<Finder>>,
}

impl Finder {
    /// A finder of `strings`; empty ones are never found.
    ///
    /// # Panics
    ///
    /// If the strings have 2 GiB or more in total.
    pub fn new<'a>(strings: impl IntoIterator<Item = &'a str>) -> Self {
        let strings: Vec<String> = strings
            .into_iter()
            .filter(|s| !s.is_empty())
            .map(String::from)
            .collect();
        let automaton = (!strings.is_empty()).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(&strings)
                .expect("fewer than 2^31 bytes of special tokens")
        });
        Self {
            strings,
            automaton,
            without_others: ForkOnce::new(),
        }
    }

    /// The strings.
    pub fn strings(&self) -> impl Iterator<Item = &str> {
        self.strings.iter().map(String::as_str)
    }

    /// The position of the first occurrence at or after `from`, and which string it is.
    ///
    /// # Panics
    ///
    /// If `from` is beyond the end of `text` or inside a character.
    pub fn find<'a>(&'a self, text: &str, from: usize) -> Option<(usize, &'a str)> {
        let found = self.automaton.as_ref()?.find(&text[from..])?;
        Some((from + found.start(), &self.strings[found.pattern()]))
    }
}
