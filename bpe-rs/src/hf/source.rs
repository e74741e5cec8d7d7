//! One encoded input: its ids at once, everything else when asked for.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use super::normalize::Aligned;
use super::Tokenizer;
use crate::error::Result;
use crate::format::byte_level;

/// One input sequence and its ids.
#[derive(Debug)]
pub(super) struct Source {
    tokenizer: Tokenizer,
    /// The text, or the words of a pre-tokenized input.
    texts: Vec<Box<str>>,
    is_pretokenized: bool,
    ids: Vec<u32>,
    details: OnceLock<Details>,
}

#[derive(Debug, Default)]
struct Details {
    ids: Vec<u32>,
    offsets: Vec<(u32, u32)>,
    words: Vec<u32>,
    /// What an added token matched, where that is not its own content.
    matched: HashMap<usize, String>,
}

impl Source {
    /// Encodes a text.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up on the text.
    pub(super) fn of_text(tokenizer: &Tokenizer, text: &str) -> Result<Self> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 8);
        tokenizer.encode_text(text, &mut ids)?;
        Ok(Self::new(tokenizer, vec![text.into()], false, ids))
    }

    /// Encodes words, each by itself.
    ///
    /// # Errors
    /// As [`Source::of_text`].
    pub(super) fn of_words<S: AsRef<str>>(tokenizer: &Tokenizer, words: &[S]) -> Result<Self> {
        let mut ids = Vec::new();
        for word in words {
            tokenizer.encode_text(word.as_ref(), &mut ids)?;
        }
        let texts = words.iter().map(|word| word.as_ref().into()).collect();
        Ok(Self::new(tokenizer, texts, true, ids))
    }

    fn new(
        tokenizer: &Tokenizer,
        texts: Vec<Box<str>>,
        is_pretokenized: bool,
        ids: Vec<u32>,
    ) -> Self {
        let tokenizer = tokenizer.clone();
        Self {
            tokenizer,
            texts,
            is_pretokenized,
            ids,
            details: OnceLock::new(),
        }
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    fn details(&self) -> &Details {
        self.details.get_or_init(|| {
            let mut details = Details::default();
            let mut words = 0;
            for (index, text) in self.texts.iter().enumerate() {
                let word = self.is_pretokenized.then_some(index as u32);
                // The text was encoded before, so the pattern has an answer for it.
                let _ = details.add(&self.tokenizer, text, word, &mut words);
            }
            debug_assert_eq!(details.ids, self.ids);
            details
        })
    }

    /// Range of characters.
    pub(super) fn offset(&self, at: usize) -> (u32, u32) {
        self.details().offsets[at]
    }

    /// Number of the piece, or of the word of a pre-tokenized input.
    pub(super) fn word(&self, at: usize) -> u32 {
        self.details().words[at]
    }

    /// The token's string; for an added token what it matched.
    pub(super) fn token(&self, at: usize) -> String {
        // Only tokens that swallow white space or match normalised text differ from their string.
        if self.tokenizer.has_flexible_tokens() {
            if let Some(matched) = self.details().matched.get(&at) {
                return matched.clone();
            }
        }
        self.tokenizer
            .id_to_token(self.ids[at])
            .unwrap_or_default()
            .to_string()
    }

    /// How many characters of white space lead and trail the token's string.
    pub(super) fn white_space(&self, at: usize) -> (u32, u32) {
        let token = self.token(at);
        let is_white = |character: &char| *character == 'Ġ' || character.is_whitespace();
        let leading = token.chars().take_while(is_white).count() as u32;
        let trailing = token.chars().rev().take_while(is_white).count() as u32;
        (leading, trailing)
    }
}

impl Details {
    /// Encodes `text` step by step: the slow twin of [`Tokenizer::encode_text`], which knows where
    /// every token came from.
    fn add(
        &mut self,
        tokenizer: &Tokenizer,
        text: &str,
        fixed_word: Option<u32>,
        words: &mut u32,
    ) -> Result<()> {
        let characters = CharIndex::new(text);
        let mut stretches = Vec::new();
        tokenizer.cut_raw(text, &mut stretches);
        for (range, token) in stretches {
            let mut aligned = Aligned::new(&text[range.clone()], range.start);
            if let Some(id) = token {
                let word = next_word(fixed_word, words);
                self.push(id, characters.range(range), word, &aligned.text, tokenizer);
                continue;
            }
            tokenizer.normalize(&mut aligned);
            let mut inner = Vec::new();
            tokenizer.cut_normalized(&aligned.text, &mut inner);
            for (range, token) in inner {
                let segment = aligned.slice(range);
                if let Some(id) = token {
                    let word = next_word(fixed_word, words);
                    let source = segment.source_of(0..segment.text.len());
                    self.push(id, characters.range(source), word, &segment.text, tokenizer);
                    continue;
                }
                self.add_segment(tokenizer, &segment, &characters, fixed_word, words)?;
            }
        }
        Ok(())
    }

    fn add_segment(
        &mut self,
        tokenizer: &Tokenizer,
        segment: &Aligned,
        characters: &CharIndex,
        fixed_word: Option<u32>,
        words: &mut u32,
    ) -> Result<()> {
        let mut ids = Vec::new();
        for (piece, prefixed) in tokenizer.pieces(&segment.text)? {
            let start = piece.start;
            let mut part = segment.slice(piece);
            if prefixed {
                part.prepend_space(segment, start);
            }
            ids.clear();
            tokenizer.encode_piece(part.text.as_bytes(), &mut ids)?;
            let word = next_word(fixed_word, words);
            // Where bytes vanish because they are no tokens, Hugging Face's engine still counts
            // the lengths of the tokens from the start of the piece, written in the alphabet.
            let written = (!tokenizer.has_all_bytes()).then(|| written_bytes(part.text.as_bytes()));
            let mut start = 0;
            for &id in &ids {
                let end = start + tokenizer.token_len(id, written.is_some());
                let bytes = match &written {
                    None => start..end,
                    Some(written) => written[start]..written[end - 1] + 1,
                };
                self.ids.push(id);
                self.offsets.push(characters.range(part.source_of(bytes)));
                self.words.push(word);
                start = end;
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        id: u32,
        offset: (u32, u32),
        word: u32,
        matched: &str,
        tokenizer: &Tokenizer,
    ) {
        if tokenizer.id_to_token(id) != Some(matched) {
            self.matched.insert(self.ids.len(), matched.to_string());
        }
        self.ids.push(id);
        self.offsets.push(offset);
        self.words.push(word);
    }
}

/// For each byte of `piece` written in the byte-level alphabet, the byte that it belongs to.
fn written_bytes(piece: &[u8]) -> Vec<usize> {
    let lengths = piece
        .iter()
        .map(|&byte| byte_level::ALPHABET[usize::from(byte)].len_utf8());
    let indices = lengths.enumerate();
    indices
        .flat_map(|(index, length)| std::iter::repeat_n(index, length))
        .collect()
}

fn next_word(fixed: Option<u32>, words: &mut u32) -> u32 {
    fixed.unwrap_or_else(|| {
        *words += 1;
        *words - 1
    })
}

/// Bytes to characters.
struct CharIndex {
    /// Character of each byte and, last, their number; `None` where bytes are characters.
    of_byte: Option<Vec<u32>>,
}

impl CharIndex {
    fn new(text: &str) -> Self {
        if text.is_ascii() {
            return Self { of_byte: None };
        }
        let mut of_byte = Vec::with_capacity(text.len() + 1);
        let mut count = 0;
        for character in text.chars() {
            of_byte.extend((0..character.len_utf8()).map(|_| count));
            count += 1;
        }
        of_byte.push(count);
        Self {
            of_byte: Some(of_byte),
        }
    }

    /// Both ends of `bytes` lie between characters.
    fn range(&self, bytes: Range<usize>) -> (u32, u32) {
        match &self.of_byte {
            None => (bytes.start as u32, bytes.end as u32),
            Some(of_byte) => {
                let last = of_byte.len() - 1;
                (of_byte[bytes.start.min(last)], of_byte[bytes.end.min(last)])
            }
        }
    }
}
