//! The special tokens of an encoding, and finding those that a caller allows.

use std::collections::HashMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::error::{Error, Result};
use crate::threads::ForkOnce;

/// The special tokens of an encoding, in the order given.
#[derive(Debug, Default)]
pub struct SpecialTokens {
    tokens: Vec<(String, u32)>,
    by_id: HashMap<u32, usize>,
    by_text: HashMap<String, u32>,
    all: ForkOnce<Finder>,
}

impl SpecialTokens {
    /// Special tokens with their ids. Two may share an id, which then decodes to the first one.
    ///
    /// # Errors
    /// `Invalid` for an empty token.
    pub fn new(tokens: impl IntoIterator<Item = (String, u32)>) -> Result<Self> {
        let tokens: Vec<_> = tokens.into_iter().collect();
        if let Some((_, id)) = tokens.iter().find(|(text, _)| text.is_empty()) {
            return Err(Error::invalid(format!(
                "expected non-empty special tokens, got an empty one with id {id}"
            )));
        }
        // o200k_harmony has two special tokens with one id.
        let mut by_id = HashMap::new();
        for (at, (_, id)) in tokens.iter().enumerate() {
            by_id.entry(*id).or_insert(at);
        }
        let by_text = tokens.iter().cloned().collect();
        Ok(Self {
            tokens,
            by_id,
            by_text,
            all: ForkOnce::new(),
        })
    }

    /// The text and the id of each, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.tokens.iter().map(|(text, id)| (text.as_str(), *id))
    }

    /// The number of special tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are no special tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The id of the special token `text`.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        self.by_text.get(text).copied()
    }

    /// The bytes of the special token with this id.
    pub fn bytes_of(&self, id: u32) -> Option<&[u8]> {
        self.by_id.get(&id).map(|&at| self.tokens[at].0.as_bytes())
    }

    /// The first special token at or after `from` that `allowed` has: start, end and id.
    ///
    /// Other strings that `allowed` has are plain text, and do not hide tokens that overlap them.
    ///
    /// # Panics
    /// As [`Finder::find`].
    pub fn find(&self, allowed: &Finder, text: &str, from: usize) -> Option<(usize, usize, u32)> {
        let (start, token) = allowed.find(text, from)?;
        match self.id_of(token) {
            Some(id) => Some((start, start + token.len(), id)),
            None => self.find_past_others(allowed, text, start),
        }
    }

    /// `text` cut at the special tokens that `allowed` has: the range of each part between them, with
    /// the end and the id of the token that follows it.
    pub(crate) fn split<'a>(
        &'a self,
        allowed: Option<&'a Finder>,
        text: &'a str,
    ) -> impl Iterator<Item = (Range<usize>, Option<(usize, u32)>)> + 'a {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let from = next?;
            let found = allowed.and_then(|allowed| self.find(allowed, text, from));
            next = found.map(|(_, end, _)| end);
            let plain = from..found.map_or(text.len(), |(start, ..)| start);
            Some((plain, found.map(|(_, end, id)| (end, id))))
        })
    }

    /// [`Self::find`] with a finder of those strings of `allowed` that are special tokens.
    #[cold]
    fn find_past_others(
        &self,
        allowed: &Finder,
        text: &str,
        from: usize,
    ) -> Option<(usize, usize, u32)> {
        let special = |string: &&str| self.by_text.contains_key(*string);
        let make = || Finder::new(allowed.strings().filter(special));
        let kept = allowed.without_others.get_or_init(|| Box::new(make()));
        // `allowed` may have been used with the special tokens of another encoding before.
        let own = kept.strings().eq(allowed.strings().filter(special));
        let made = (!own).then(make);
        let (start, token) = made.as_ref().unwrap_or(kept).find(text, from)?;
        Some((start, start + token.len(), self.id_of(token)?))
    }

    /// A finder of all special tokens.
    pub fn finder(&self) -> &Finder {
        self.all
            .get_or_init(|| Finder::new(self.iter().map(|(text, _)| text)))
    }
}

/// Finds any of a set of strings: the leftmost, and the longest of those that start there.
#[derive(Debug)]
pub struct Finder {
    strings: Vec<String>,
    /// `None` without strings.
    automaton: Option<AhoCorasick>,
    /// The same finder without the strings that are no special tokens; built when one of these is
    /// found in a text.
    without_others: ForkOnce<Box<Finder>>,
}

impl Finder {
    /// A finder of `strings`; empty ones are never found.
    ///
    /// # Panics
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
    /// If `from` is beyond the end of `text` or inside a character.
    pub fn find<'a>(&'a self, text: &str, from: usize) -> Option<(usize, &'a str)> {
        let found = self.automaton.as_ref()?.find(&text[from..])?;
        Some((from + found.start(), &self.strings[found.pattern()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_strings_hide_no_token() {
        let tokens = SpecialTokens::new([("<x>".into(), 7), ("<x>y<".into(), 8)]).unwrap();
        let all = |allowed: &[&str], text: &str| {
            let finder = Finder::new(allowed.iter().copied());
            let (mut found, mut from) = (Vec::new(), 0);
            while let Some((start, end, id)) = tokens.find(&finder, text, from) {
                found.push((start, end, id));
                from = end;
            }
            found
        };
        let plain = vec![(1, 4, 7), (5, 8, 7)];
        for other in [
            None,
            Some("a<"),
            Some("<x>y"),
            Some("x"),
            Some("y<"),
            Some("a<x>y<x>"),
        ] {
            let allowed: Vec<&str> = ["<x>"].into_iter().chain(other).collect();
            assert_eq!(all(&allowed, "a<x>y<x>"), plain, "{other:?}");
        }
        assert_eq!(all(&["<x>", "<x>y<", "a<"], "a<x>y<x>"), [(1, 6, 8)]);
        assert_eq!(all(&["a", "y<"], "a<x>y<x>"), []);

        // One finder, used with the special tokens of two encodings.
        let finder = Finder::new(["a<", "<x>"]);
        let others = SpecialTokens::new([("a<".into(), 1)]).unwrap();
        for _ in 0..2 {
            assert_eq!(others.find(&finder, "<x>a<x>", 0), Some((3, 5, 1)));
            assert_eq!(tokens.find(&finder, "a<x>", 0), Some((1, 4, 7)));
        }
    }
}
