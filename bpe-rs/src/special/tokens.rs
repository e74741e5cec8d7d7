//! The special tokens of an encoding, and finding those that a caller allows.

use std::collections::HashMap;

use super::finder::Finder;
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
    ///
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
    ///
    /// As [`Finder::find`].
    pub fn find(&self, allowed: &Finder, text: &str, from: usize) -> Option<(usize, usize, u32)> {
        let (start, token) = allowed.find(text, from)?;
        match self.id_of(token) {
            Some(id) => Some((start, start + token.len(), id)),
            None => self.find_past_others(allowed, text, start),
        }
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
