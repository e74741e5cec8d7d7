//! Learning a BPE model as Hugging Face's `BpeTrainer` does: the words that a tokenizer's pipeline
//! makes of texts in, tokens and merges out.
//!
//! [`crate::train`] does the work, on characters instead of bytes. Ties between equally frequent pairs
//! are decided by ids there and here, and the ids are the same.

use std::cmp::Reverse;
use std::collections::HashSet;

use foldhash::{HashMap, HashMapExt};

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
}

impl BpeTraining {
    /// The model of `tokenizer` with the vocabulary and the merges that `words`, which its pipeline
    /// has made, give.
    ///
    /// # Errors
    /// What `progress` returns; `Invalid` for a special token that would be learned as an ordinary
    /// one, too, and for more words than a corpus holds.
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

        let (mut tokens, ids) = self.start(&words);
        let (special, first) = (self.special_tokens.iter().collect(), tokens.len());
        let mut learned = Vec::new();
        if self.vocab_size > first {
            let segment = |word: &[u8], out: &mut Vec<u32>| {
                // The words of the slice are `str`s.
                let word = std::str::from_utf8(word).unwrap_or_default();
                out.extend(word.chars().filter_map(|c| ids.get(&c)));
                Ok(())
            };
            // The trainer needs tokens only for their lengths, which no option here asks for.
            let lengths = vec![vec![0]; first];
            let corpus = Corpus::from_vocabulary(words.as_slice(), lengths, &segment, progress)?;
            let options = TrainOptions {
                vocab_size: u32::try_from(self.vocab_size).unwrap_or(u32::MAX),
                tie_break: TieBreak::Pair,
                min_frequency: self.min_frequency,
                max_token_length: None,
                max_token_words: None,
                threads: threads::available_threads(),
            };
            learned = corpus.learn(&options, progress)?;
        }
        for merge in &learned {
            let (left, right) = (&tokens[merge.left as usize], &tokens[merge.right as usize]);
            let token = format!("{left}{right}");
            refuse_special(&token, &special)?;
            tokens.push(token);
        }
        let merges = learned.iter().map(|merge| (merge.left, merge.right));
        Ok(BpeModel {
            vocab: tokens.into_iter().zip(0..).collect(),
            merges: merges.collect(),
            continuing_subword_prefix: None,
            end_of_word_suffix: None,
            ..tokenizer.model().without_tokens()
        })
    }

    /// The tokens before the first merge, and the id of each character.
    fn start(&self, words: &[(String, u64)]) -> (Vec<String>, HashMap<char, u32>) {
        let (mut tokens, mut seen) = (Vec::new(), HashMap::new());
        let alphabet = self.alphabet(words);
        let characters = alphabet.iter().map(|character| character.to_string());
        for token in self.special_tokens.iter().cloned().chain(characters) {
            seen.entry(token.clone()).or_insert_with(|| {
                tokens.push(token);
                tokens.len() as u32 - 1
            });
        }
        let ids = alphabet.iter().map(|&c| (c, seen[&c.to_string()]));
        let ids = ids.collect();
        (tokens, ids)
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

/// The error for a learned token that is also a special one, which then would have two ids.
fn refuse_special(token: &str, special: &HashSet<&String>) -> Result<()> {
    if special.contains(&token.to_string()) {
        return Err(Error::invalid(format!(
            "expected special tokens that no merge makes, got {token}, which the text teaches; \
             give the special token another name",
            token = quoted(token)
        )));
    }
    Ok(())
}
