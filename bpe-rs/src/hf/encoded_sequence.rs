//! One encoded sequence: its ids are computed at once, everything else on first use.
//!
//! Most callers need ids only, so encoding takes the fast path ([`Tokenizer::encode_text`]).
//! Offsets, words and token strings come from [`TokenDetails::add`], which encodes the text again
//! step by step and knows where every token came from. Both must give the same ids.

use std::collections::HashMap;
use std::ops::Range;

use super::added_tokens::TextSegment;
use super::aligned::AlignedText;
use super::dropout::Random;
use super::pre_tokenize::PreTokenized;
use super::tokenizer::Tokenizer;
use crate::encode::Scratch;
use crate::error::Result;
use crate::threads::ForkOnce;

/// An input sequence and its ids.
#[derive(Debug)]
pub(super) struct EncodedSequence {
    tokenizer: Tokenizer,
    /// The text, or the words of a pre-tokenized sequence.
    texts: Vec<Box<str>>,
    is_pretokenized: bool,
    ids: Vec<u32>,
    /// The random numbers for dropout at the start of the texts.
    random: Random,
    details: ForkOnce<TokenDetails>,
}

/// Everything about the tokens beside their ids, one entry a token.
#[derive(Debug, Default)]
struct TokenDetails {
    ids: Vec<u32>,
    /// Ranges of characters.
    offsets: Vec<(u32, u32)>,
    words: Vec<u32>,
    /// By token index: what an added token matched, where that is not its own content.
    matched: HashMap<usize, String>,
}

impl EncodedSequence {
    /// Encode a text.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up on the text.
    pub(super) fn of_text(tokenizer: &Tokenizer, text: &str) -> Result<Self> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 8);
        let random = tokenizer.streams.next();
        tokenizer.encode_text(text, &mut { random }, &mut ids)?;
        Ok(Self::new(tokenizer, vec![text.into()], false, ids, random))
    }

    /// Encode words, each by itself.
    ///
    /// # Errors
    /// As [`EncodedSequence::of_text`].
    pub(super) fn of_words<S: AsRef<str>>(tokenizer: &Tokenizer, words: &[S]) -> Result<Self> {
        let mut ids = Vec::new();
        let random = tokenizer.streams.next();
        let mut next = random;
        for word in words {
            tokenizer.encode_text(word.as_ref(), &mut next, &mut ids)?;
        }
        let texts = words.iter().map(|word| word.as_ref().into()).collect();
        Ok(Self::new(tokenizer, texts, true, ids, random))
    }

    fn new(
        tokenizer: &Tokenizer,
        texts: Vec<Box<str>>,
        is_pretokenized: bool,
        ids: Vec<u32>,
        random: Random,
    ) -> Self {
        let tokenizer = tokenizer.clone();
        Self {
            tokenizer,
            texts,
            is_pretokenized,
            ids,
            random,
            details: ForkOnce::new(),
        }
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    fn details(&self) -> &TokenDetails {
        self.details.get_or_init(|| {
            let mut details = TokenDetails::default();
            let (mut words, mut random) = (0, self.random);
            self.tokenizer.model.with_scratch(|scratch| {
                for (index, text) in self.texts.iter().enumerate() {
                    let word = self.is_pretokenized.then_some(index as u32);
                    let sources = (&mut *scratch, &mut random);
                    // Cannot fail: the same text was encoded before.
                    let _ = details.add(&self.tokenizer, sources, text, word, &mut words);
                }
            });
            debug_assert_eq!(details.ids, self.ids);
            details
        })
    }

    /// The range of characters that token `at` stands for.
    pub(super) fn offset(&self, at: usize) -> (u32, u32) {
        self.details().offsets[at]
    }

    /// The index of the token's pre-token, or of its word in a pre-tokenized sequence.
    pub(super) fn word(&self, at: usize) -> u32 {
        self.details().words[at]
    }

    /// The token's string; for an added token the text that it matched.
    pub(super) fn token(&self, at: usize) -> String {
        // The two differ only for tokens that match white space or normalised text, too.
        if self.tokenizer.pipeline.added.has_flexible_tokens() {
            if let Some(matched) = self.details().matched.get(&at) {
                return matched.clone();
            }
        }
        let token = self.tokenizer.encoded_token(self.ids[at]);
        token.unwrap_or_default().to_string()
    }

    /// The number of white-space characters at the start and at the end of the token's string.
    pub(super) fn white_space(&self, at: usize) -> (u32, u32) {
        let token = self.token(at);
        let is_white = |character: &char| *character == 'Ġ' || character.is_whitespace();
        let leading = token.chars().take_while(is_white).count() as u32;
        let trailing = token.chars().rev().take_while(is_white).count() as u32;
        (leading, trailing)
    }
}

impl TokenDetails {
    /// Encode `text` step by step and record where every token comes from. `fixed_word` is the
    /// word of all tokens of a pre-tokenized sequence; otherwise `words` counts the pre-tokens.
    fn add(
        &mut self,
        tokenizer: &Tokenizer,
        (scratch, random): (&mut Scratch, &mut Random),
        text: &str,
        fixed_word: Option<u32>,
        words: &mut u32,
    ) -> Result<()> {
        let characters = CharIndex::new(text);
        tokenizer.split_raw(text, |TextSegment { range, added }| {
            let mut aligned = AlignedText::new(&text[range.clone()], range.start);
            if let Some(id) = added {
                let word = next_word(fixed_word, words);
                self.push(id, characters.range(range), word, &aligned.text, tokenizer);
                return Ok(());
            }
            tokenizer.pipeline.normalizers.normalize(&mut aligned)?;
            tokenizer.split_normalized(&aligned.text, |TextSegment { range, added }| {
                let part = aligned.slice(range);
                if let Some(id) = added {
                    let word = next_word(fixed_word, words);
                    let original = part.original_range(0..part.text.len());
                    self.push(id, characters.range(original), word, &part.text, tokenizer);
                    return Ok(());
                }
                let sources = (&mut *scratch, &mut *random);
                self.add_plain(tokenizer, sources, part, &characters, || {
                    next_word(fixed_word, words)
                })
            })
        })
    }

    /// [`TokenDetails::add`] for normalised text without added tokens.
    fn add_plain(
        &mut self,
        tokenizer: &Tokenizer,
        (scratch, random): (&mut Scratch, &mut Random),
        text: AlignedText<'_>,
        characters: &CharIndex,
        mut next_word: impl FnMut() -> u32,
    ) -> Result<()> {
        let PreTokenized { text, pieces } =
            tokenizer.pipeline.compiled_pre_tokenizer.pre_tokens(text)?;
        for piece in pieces {
            let word = next_word();
            let tokens =
                tokenizer
                    .model
                    .encode_with_ranges(&text.text[piece.clone()], scratch, random)?;
            for (id, bytes) in tokens {
                let bytes = piece.start + bytes.start..piece.start + bytes.end;
                self.ids.push(id);
                self.offsets
                    .push(characters.range(text.original_range(bytes)));
                self.words.push(word);
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
        if tokenizer.encoded_token(id) != Some(matched) {
            self.matched.insert(self.ids.len(), matched.to_string());
        }
        self.ids.push(id);
        self.offsets.push(offset);
        self.words.push(word);
    }
}

fn next_word(fixed: Option<u32>, words: &mut u32) -> u32 {
    fixed.unwrap_or_else(|| {
        *words += 1;
        *words - 1
    })
}

/// Byte offsets to character offsets.
struct CharIndex {
    /// The character that each byte belongs to and, last, the number of characters; `None` for
    /// ASCII, where bytes are characters.
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

    /// The characters of `bytes`, both ends of which lie between characters.
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
