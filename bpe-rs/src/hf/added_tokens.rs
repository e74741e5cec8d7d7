//! Added tokens, which are found in the text before the model sees it.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use super::normalize::Normalizers;
use crate::error::{Error, Result};
use crate::format::AddedToken;
use crate::pretokenize::Pretokenizer;
use crate::threads::ForkOnce;

/// The added tokens of a tokenizer, ready for searching.
#[derive(Clone, Debug, Default)]
pub struct AddedVocab {
    by_id: HashMap<u32, AddedToken>,
    by_content: HashMap<String, u32>,
    /// The contents of tokens that are, or once were, control tokens: a token that was one is left
    /// out of decoded text even when it is added again as an ordinary one.
    special: HashSet<String>,
    /// The normalised content of tokens that normalisation changes: Hugging Face's engine calls
    /// them by it.
    normalized_content: HashMap<u32, String>,
    /// Tokens that are matched before normalisation.
    pub(super) raw: AddedTokenMatcher,
    /// Tokens that are matched in the normalised text.
    pub(super) normalized: AddedTokenMatcher,
    /// Whether a token may match text that differs from its content.
    has_flexible_tokens: bool,
}

/// A part of a text: an added token, or the text between two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextSegment {
    /// Bytes of the text.
    pub(super) range: Range<usize>,
    /// The id of the added token; `None` for other text.
    pub(super) added: Option<u32>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct AddedTokenMatcher {
    automaton: Option<AhoCorasick>,
    /// The id of each pattern of the automaton.
    ids: Vec<u32>,
    /// The first bytes of all patterns, where there are up to three: to look for them takes a fraction
    /// of the time of the automaton, and most texts have none.
    first_bytes: Vec<u8>,
}

impl AddedVocab {
    /// Put a token in, in place of one with its id. [`AddedVocab::index`] then makes it searchable.
    ///
    /// # Errors
    /// `Pattern` when a normaliser gives up.
    pub(super) fn insert(&mut self, token: AddedToken, normalizers: &Normalizers) -> Result<()> {
        self.normalize_content(&token, normalizers)?;
        if token.special {
            self.special.insert(token.content.clone());
        }
        self.by_content.insert(token.content.clone(), token.id);
        self.by_id.insert(token.id, token);
        Ok(())
    }

    fn normalize_content(&mut self, token: &AddedToken, normalizers: &Normalizers) -> Result<()> {
        if token.normalized {
            let content = normalizers.apply(&token.content)?;
            if content != token.content {
                self.normalized_content.insert(token.id, content);
            }
        }
        Ok(())
    }

    /// Follow a change of the normalisers.
    ///
    /// # Errors
    /// As [`AddedVocab::index`].
    pub(super) fn normalize(&mut self, normalizers: &Normalizers) -> Result<()> {
        self.normalized_content.clear();
        for token in self.by_id.clone().values() {
            self.normalize_content(token, normalizers)?;
        }
        self.index(normalizers)
    }

    /// Build what finds the tokens in texts.
    ///
    /// # Errors
    /// `Invalid` where there are too many for an automaton.
    pub(super) fn index(&mut self, normalizers: &Normalizers) -> Result<()> {
        let (normalized, raw): (Vec<_>, Vec<_>) = self
            .sorted()
            .into_iter()
            .partition(|token| token.normalized);
        let content = |token: &'_ AddedToken| self.string(token.id).unwrap_or_default().to_string();
        let normalized = normalized.iter().map(|token| (content(token), token.id));
        let raw = raw.iter().map(|token| (token.content.clone(), token.id));
        let (normalized, raw) = (
            AddedTokenMatcher::new(normalized)?,
            AddedTokenMatcher::new(raw)?,
        );
        (self.normalized, self.raw) = (normalized, raw);
        self.has_flexible_tokens = self.by_id.values().any(|token| {
            token.lstrip || token.rstrip || token.normalized && !normalizers.is_empty()
        });
        Ok(())
    }

    /// The id after the highest.
    pub fn next_id(&self) -> u32 {
        let highest = self.by_id.keys().max();
        highest.map_or(0, |id| id.saturating_add(1))
    }

    /// Whether decoding without control tokens leaves out the token of this string.
    pub(super) fn is_special(&self, token: &str) -> bool {
        self.special.contains(token)
    }

    pub(super) fn has_flexible_tokens(&self) -> bool {
        self.has_flexible_tokens
    }

    /// All tokens, ordered by id.
    pub fn sorted(&self) -> Vec<&AddedToken> {
        let mut tokens: Vec<&AddedToken> = self.by_id.values().collect();
        tokens.sort_by_key(|token| token.id);
        tokens
    }

    /// The token with this id.
    pub fn get(&self, id: u32) -> Option<&AddedToken> {
        self.by_id.get(&id)
    }

    /// The string of the token with this id: its content, normalised where it matches
    /// normalised text.
    pub fn string(&self, id: u32) -> Option<&str> {
        let normalized = self.normalized_content.get(&id);
        normalized
            .or_else(|| self.by_id.get(&id).map(|token| &token.content))
            .map(String::as_str)
    }

    /// The id of the token with this content.
    pub fn id_of(&self, content: &str) -> Option<u32> {
        self.by_content.get(content).copied()
    }

    /// The number of added tokens.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are no added tokens.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Split a text at the tokens that `matcher` finds, and call `take` with the parts in order until
    /// it returns an error. `plain_special`: control tokens are plain text.
    #[inline]
    pub(super) fn split(
        &self,
        matcher: &AddedTokenMatcher,
        text: &str,
        plain_special: bool,
        mut take: impl FnMut(TextSegment) -> Result<()>,
    ) -> Result<()> {
        let plain = |range: Range<usize>| TextSegment { range, added: None };
        let mut done = 0;
        let automaton = matcher.automaton.as_ref();
        let matches = automaton
            .filter(|_| matcher.may_match(text))
            .into_iter()
            .flat_map(|automaton| automaton.find_iter(text));
        for found in matches {
            let token = &self.by_id[&matcher.ids[found.pattern()]];
            let (mut start, mut end) = (found.start(), found.end());
            if plain_special && self.special.contains(&token.content) {
                continue;
            }
            if token.single_word {
                let before = text[..start].chars().next_back();
                let after = text[end..].chars().next();
                if before.is_some_and(is_word) || after.is_some_and(is_word) {
                    continue;
                }
            }
            if token.lstrip {
                // At most back to the end of the previous token.
                start = text[..start].trim_end().len().max(done);
            }
            if token.rstrip {
                end = text.len() - text[end..].trim_start().len();
            }
            // The token before it took all of this one, white space included.
            if start >= end {
                continue;
            }
            if start > done {
                take(plain(done..start))?;
            }
            take(TextSegment {
                range: start..end,
                added: Some(token.id),
            })?;
            done = end;
        }
        if done < text.len() {
            take(plain(done..text.len()))?;
        }
        Ok(())
    }
}

/// Whether a character beside a match makes it part of a longer word, for `single_word`: what `\w`
/// matches.
fn is_word(character: char) -> bool {
    static WORD: ForkOnce<Option<Pretokenizer>> = ForkOnce::new();
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || character == '_';
    }
    let Some(word) = WORD.get_or_init(|| Pretokenizer::new(r"\w").ok()) else {
        return false;
    };
    let (mut utf8, mut found) = ([0; 4], false);
    let text = character.encode_utf8(&mut utf8);
    let matched = word.engine().matches(text, &mut |_| found = true);
    matched.is_ok() && found
}

impl AddedTokenMatcher {
    fn new(tokens: impl Iterator<Item = (String, u32)>) -> Result<Self> {
        let (contents, ids): (Vec<String>, Vec<u32>) = tokens.unzip();
        if contents.is_empty() {
            return Ok(Self::default());
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&contents)
            .map_err(|error| {
                Error::invalid(format!("expected fewer or shorter added tokens: {error}"))
            })?;
        let mut first_bytes: Vec<u8> = contents.iter().filter_map(|c| c.bytes().next()).collect();
        first_bytes.sort_unstable();
        first_bytes.dedup();
        // An empty pattern matches everywhere.
        if first_bytes.len() > 3 || contents.iter().any(String::is_empty) {
            first_bytes.clear();
        }
        Ok(Self {
            automaton: Some(automaton),
            ids,
            first_bytes,
        })
    }

    /// Whether it looks for nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    /// A quick test: `false` implies that there is no match.
    #[inline]
    pub(super) fn may_match(&self, text: &str) -> bool {
        let text = text.as_bytes();
        self.automaton.is_some()
            && match self.first_bytes[..] {
                [a] => memchr::memchr(a, text).is_some(),
                [a, b] => memchr::memchr2(a, b, text).is_some(),
                [a, b, c] => memchr::memchr3(a, b, c, text).is_some(),
                _ => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_test_misses_no_match() {
        let tokens = ["<|a|>", "<b>", "\n\n", "▁▁", "[x]", "é"];
        let texts = [
            "", "a", "<", "<b>", "x<|a|>", "\n", "\n\n", "▁", "a▁▁", "[x]", "ê", "é<b",
        ];
        for count in 0..=tokens.len() {
            for from in 0..=tokens.len() - count {
                let chosen = tokens[from..from + count].iter();
                let named = chosen.zip(0..).map(|(token, id)| (token.to_string(), id));
                let matcher = AddedTokenMatcher::new(named).unwrap();
                let has_match = |text: &str| {
                    let automaton = matcher.automaton.as_ref();
                    automaton.is_some_and(|automaton| automaton.is_match(text))
                };
                for text in texts {
                    assert!(matcher.may_match(text) || !has_match(text), "{text}");
                }
                // Up to three first bytes rule texts out.
                assert!(count == 0 || count > 3 || !matcher.may_match("plain"));
            }
        }
    }
}
