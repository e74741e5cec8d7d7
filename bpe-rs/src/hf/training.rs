//! Learning a BPE model as Hugging Face's `BpeTrainer` does: the words that a tokenizer's pipeline
//! makes of texts in, tokens and merges out.
//!
//! [`crate::train`] does the work, on characters instead of bytes. Ties between equally frequent pairs
//! are decided by ids there and here, and the ids are the same; those of characters with an affix are
//! numbered by the order of the words, which Hugging Face leaves to chance.

use std::cmp::Reverse;

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use super::aligned::AlignedText;
use super::tokenizer::Tokenizer;
use crate::error::{quoted, Error, Result};
use crate::format::{byte_level, BpeModel};
use crate::io::Progress;
use crate::threads;
use crate::train::{Corpus, TieBreak, TrainOptions};

/// Texts between two checks whether the caller wants to stop.
const TEXTS_PER_CHECK: usize = 1 << 8;

/// Words and how often they occurred.
#[derive(Clone, Debug, Default)]
pub struct ModelWords(HashMap<Box<str>, u64>);

impl ModelWords {
    /// Add the words that `tokenizer` makes of texts, whose added tokens are plain text.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up on a text, `Interrupted` when the caller wants to
    /// stop.
    pub fn add_texts(&mut self, tokenizer: &Tokenizer, texts: &[&str]) -> Result<()> {
        let normalizers = &tokenizer.pipeline.normalizers;
        let pre_tokenizer = &tokenizer.pipeline.compiled_pre_tokenizer;
        for (at, text) in texts.iter().enumerate() {
            if at % TEXTS_PER_CHECK == TEXTS_PER_CHECK - 1 {
                threads::check_interrupt()?;
            }
            let is_kept = normalizers.surely_keeps(text);
            let mut text = match pre_tokenizer.needs_alignment(!is_kept) {
                true => AlignedText::new(text, 0),
                false => AlignedText::unaligned(text, 0),
            };
            if !is_kept {
                normalizers.normalize(&mut text)?;
            }
            let cut = pre_tokenizer.pre_tokens(text)?;
            for piece in cut.pieces {
                self.add(&cut.text.text[piece], 1);
            }
        }
        Ok(())
    }

    /// Add a word that occurred `count` times.
    pub fn add(&mut self, word: &str, count: u64) {
        match self.0.get_mut(word) {
            Some(total) => *total += count,
            None => drop(self.0.insert(word.into(), count)),
        }
    }
}

/// The options of `BpeTrainer` that decide what is learned.
#[derive(Clone, Debug)]
pub struct BpeTraining {
    /// The number of tokens that is wanted, special ones included.
    pub vocab_size: usize,
    /// Stop at pairs that occur less often.
    pub min_frequency: u64,
    /// Keep this many characters, the most frequent ones; of equally frequent ones those with the
    /// smallest code points, where Hugging Face leaves it to chance.
    pub limit_alphabet: Option<usize>,
    /// Characters that are tokens even if they do not occur.
    pub initial_alphabet: Vec<char>,
    /// The first tokens.
    pub special_tokens: Vec<String>,
    /// Characters from which no longer tokens are made: one less than this, and at least two.
    pub max_token_length: Option<usize>,
    /// Put before every character of a word but the first; merging takes it off the right part.
    pub continuing_subword_prefix: Option<String>,
    /// Put after the last character of a word.
    pub end_of_word_suffix: Option<String>,
}

impl BpeTraining {
    /// The model of `tokenizer` with the vocabulary and the merges that `words`, which its pipeline
    /// has made, give.
    ///
    /// # Errors
    /// What `progress` returns; `Invalid` for a special token that would be learned as an ordinary
    /// one, too, for affixes with which one token would be made twice, and for more words than a
    /// corpus holds.
    pub fn learn(
        &self,
        words: &ModelWords,
        tokenizer: &Tokenizer,
        progress: &mut Progress<'_>,
    ) -> Result<BpeModel> {
        let is_bytes = tokenizer.pipeline.compiled_pre_tokenizer.ends_in_bytes();
        let shown = |word: &str| match is_bytes {
            true => byte_level::to_text(word.as_bytes()),
            false => word.to_owned(),
        };
        let words = words.0.iter().map(|(word, &count)| (shown(word), count));
        let mut words: Vec<(String, u64)> = words.collect();
        words.sort_unstable();

        let start = self.start(&words);
        let first = start.tokens.len();
        let mut learned = Vec::new();
        if self.vocab_size > first {
            let segment = |word: &[u8], out: &mut Vec<u32>| {
                // The words of the slice are `str`s.
                out.extend(start.ids_of(std::str::from_utf8(word).unwrap_or_default()));
                Ok(())
            };
            // The trainer needs tokens only for their lengths: one character each.
            let lengths = vec![vec![0]; first];
            let corpus = Corpus::from_vocabulary(words.as_slice(), lengths, &segment, progress)?;
            // Pairs of single characters are never too long for Hugging Face's trainer.
            let longest = |limit: usize| u32::try_from(limit.saturating_sub(1).max(2));
            let options = TrainOptions {
                vocab_size: u32::try_from(self.vocab_size).unwrap_or(u32::MAX),
                tie_break: TieBreak::Pair,
                min_frequency: self.min_frequency,
                max_token_length: self
                    .max_token_length
                    .map(|limit| longest(limit).unwrap_or(u32::MAX)),
                max_token_words: None,
                threads: threads::available_threads(),
            };
            learned = corpus.learn(&options, progress)?;
        }
        let StartTokens {
            mut tokens,
            mut known,
            ..
        } = start;
        let prefix = self.continuing_subword_prefix.as_deref().unwrap_or("");
        for merge in &learned {
            let (left, right) = (&tokens[merge.left as usize], &tokens[merge.right as usize]);
            let token = format!("{left}{}", right.strip_prefix(prefix).unwrap_or(right));
            if known.insert(token.clone(), tokens.len() as u32).is_some() {
                return Err(self.made_twice(&token));
            }
            tokens.push(token);
        }
        let merges = learned.iter().map(|merge| (merge.left, merge.right));
        Ok(BpeModel {
            vocab: tokens.into_iter().zip(0..).collect(),
            merges: merges.collect(),
            continuing_subword_prefix: self.continuing_subword_prefix.clone(),
            end_of_word_suffix: self.end_of_word_suffix.clone(),
            ..tokenizer.model().without_tokens()
        })
    }

    /// The error for a learned token that exists.
    fn made_twice(&self, token: &String) -> Error {
        let name = quoted(token);
        Error::invalid(match self.special_tokens.contains(token) {
            true => format!(
                "expected special tokens that no merge makes, got {name}, which the text teaches; \
                 give the special token another name"
            ),
            false => format!(
                "expected continuing_subword_prefix and end_of_word_suffix that the text does not \
                 spell, got two tokens {name}; choose another affix"
            ),
        })
    }

    /// The tokens before the first merge.
    fn start(&self, words: &[(String, u64)]) -> StartTokens {
        let mut start = StartTokens::default();
        for token in &self.special_tokens {
            let id = start.add(token.clone());
            // A special token of one character stays in the words, whatever limits the alphabet.
            let mut characters = token.chars();
            if let (Some(character), None) = (characters.next(), characters.next()) {
                start.ids.insert(character, [id; FORMS]);
            }
        }
        for character in self.alphabet(words) {
            let id = start.add(character.to_string());
            start.ids.insert(character, [id; FORMS]);
        }
        let prefix = self.continuing_subword_prefix.as_deref().unwrap_or("");
        let suffix = self.end_of_word_suffix.as_deref().unwrap_or("");
        if !(prefix.is_empty() && suffix.is_empty()) {
            let mut added = HashSet::new();
            for (character, form) in words.iter().flat_map(|(word, _)| forms_of(word)) {
                if !start.ids.contains_key(&character) || !added.insert((character, form)) {
                    continue;
                }
                let before = if form & CONTINUES != 0 { prefix } else { "" };
                let after = if form & ENDS != 0 { suffix } else { "" };
                let id = start.add(format!("{before}{character}{after}"));
                if let Some(ids) = start.ids.get_mut(&character) {
                    ids[form] = id;
                }
            }
        }
        start
    }

    /// The characters that are tokens, by code point.
    fn alphabet(&self, words: &[(String, u64)]) -> Vec<char> {
        let mut counts: HashMap<char, u64> = HashMap::new();
        for (word, count) in words {
            for character in word.chars() {
                let total = counts.entry(character).or_insert(0);
                *total = total.saturating_add(*count);
            }
        }
        counts.extend(self.initial_alphabet.iter().map(|&c| (c, u64::MAX)));
        let mut kept: Vec<(u64, char)> = counts.into_iter().map(|(c, n)| (n, c)).collect();
        if let Some(limit) = self.limit_alphabet {
            kept.sort_unstable_by_key(|&(count, character)| (Reverse(count), character));
            kept.truncate(limit);
        }
        let mut alphabet: Vec<char> = kept.into_iter().map(|(_, c)| c).collect();
        alphabet.sort_unstable();
        alphabet
    }
}

/// How many forms a character has: by whether it continues a word and whether it ends it.
const FORMS: usize = 4;
const CONTINUES: usize = 1;
const ENDS: usize = 2;

/// The characters of a word and their forms.
fn forms_of(word: &str) -> impl Iterator<Item = (char, usize)> + '_ {
    let last = word.char_indices().next_back().map(|(at, _)| at);
    word.char_indices().map(move |(at, character)| {
        let continues = if at > 0 { CONTINUES } else { 0 };
        let ends = if Some(at) == last { ENDS } else { 0 };
        (character, continues | ends)
    })
}

/// The tokens before the first merge.
#[derive(Debug, Default)]
struct StartTokens {
    /// By id.
    tokens: Vec<String>,
    known: HashMap<String, u32>,
    /// The ids of the forms of each character that words keep.
    ids: HashMap<char, [u32; FORMS]>,
}

impl StartTokens {
    /// The id of a token, which is new or not.
    fn add(&mut self, token: String) -> u32 {
        *self.known.entry(token.clone()).or_insert_with(|| {
            self.tokens.push(token);
            self.tokens.len() as u32 - 1
        })
    }

    /// The tokens of a word.
    fn ids_of<'a>(&'a self, word: &'a str) -> impl Iterator<Item = u32> + 'a {
        forms_of(word).filter_map(|(character, form)| Some(self.ids.get(&character)?[form]))
    }
}
