//! Added tokens, which are found in the text before the model sees it.

use std::collections::HashMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use super::normalize::Normalizers;
use crate::error::{Error, Result};
use crate::format::AddedToken;

/// The added tokens of a tokenizer, ready for searching.
#[derive(Clone, Debug, Default)]
pub struct AddedVocab {
    by_id: HashMap<u32, AddedToken>,
    by_content: HashMap<String, u32>,
    /// The normalised content of tokens that normalisation changes: Hugging Face's engine calls
    /// them by it.
    normalized_content: HashMap<u32, String>,
    /// Tokens that are matched before normalisation.
    raw: AddedTokenMatcher,
    /// Tokens that are matched in the normalised text.
    normalized: AddedTokenMatcher,
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
struct AddedTokenMatcher {
    automaton: Option<AhoCorasick>,
    tokens: Vec<AddedToken>,
}

impl AddedVocab {
    /// The vocabulary of `tokens`. Those with `normalized` are matched as `normalizers` make them.
    /// Of two tokens with one id or one content the later counts.
    ///
    /// # Errors
    /// `Invalid` where there are too many to build an automaton.
    pub(super) fn new(
        tokens: impl IntoIterator<Item = AddedToken>,
        normalizers: &Normalizers,
    ) -> Result<Self> {
        let mut vocab = Self::default();
        for token in tokens {
            vocab.by_content.insert(token.content.clone(), token.id);
            vocab.by_id.insert(token.id, token);
        }
        for token in vocab.by_id.values().filter(|token| token.normalized) {
            let content = normalizers.apply(&token.content);
            if content != token.content {
                vocab.normalized_content.insert(token.id, content);
            }
        }
        let (normalized, raw): (Vec<_>, Vec<_>) = vocab
            .sorted()
            .into_iter()
            .cloned()
            .partition(|token| token.normalized);
        vocab.normalized =
            AddedTokenMatcher::new(normalized, |content| normalizers.apply(content))?;
        vocab.raw = AddedTokenMatcher::new(raw, |content| content.to_string())?;
        Ok(vocab)
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

    /// Split text before normalisation. `plain_special`: control tokens are plain text.
    pub(super) fn split_raw(&self, text: &str, plain_special: bool, out: &mut Vec<TextSegment>) {
        self.raw.split(text, plain_special, out);
    }

    /// Split normalised text.
    pub(super) fn split_normalized(
        &self,
        text: &str,
        plain_special: bool,
        out: &mut Vec<TextSegment>,
    ) {
        self.normalized.split(text, plain_special, out);
    }
}

/// Whether a character beside a match makes it part of a longer word, for `single_word`.
fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || super::normalize::is_mark(character)
}

impl AddedTokenMatcher {
    fn new(tokens: Vec<AddedToken>, content: impl Fn(&str) -> String) -> Result<Self> {
        let tokens: Vec<AddedToken> = tokens
            .into_iter()
            .filter(|token| !token.content.is_empty())
            .collect();
        if tokens.is_empty() {
            return Ok(Self::default());
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|token| content(&token.content)))
            .map_err(|error| {
                Error::invalid(format!("expected fewer or shorter added tokens: {error}"))
            })?;
        Ok(Self {
            automaton: Some(automaton),
            tokens,
        })
    }

    fn split(&self, text: &str, plain_special: bool, out: &mut Vec<TextSegment>) {
        let plain = |range: Range<usize>| TextSegment { range, added: None };
        let mut done = 0;
        let matches = self
            .automaton
            .iter()
            .flat_map(|automaton| automaton.find_iter(text));
        for found in matches {
            let token = &self.tokens[found.pattern().as_usize()];
            let (mut start, mut end) = (found.start(), found.end());
            if (plain_special && token.special) || start < done || start == end {
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
            if start > done {
                out.push(plain(done..start));
            }
            out.push(TextSegment {
                range: start..end,
                added: Some(token.id),
            });
            done = end;
        }
        if done < text.len() {
            out.push(plain(done..text.len()));
        }
    }
}
