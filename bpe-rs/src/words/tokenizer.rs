//! The word-level tokenizer.

use std::collections::HashMap;

use super::segment::{LongestFirst, MergeOrder};
use super::symbol::{
    split, unknown_id, Form, Symbol, SymbolPair, FIRST_ID, PADDING, PADDING_ID, UNKNOWN, UNKNOWN_ID,
};
use super::train::{self, DistinctWords, WORDS_PER_CHECK};
use crate::encode::check_row_length;
use crate::error::{quoted, Error, Result};
use crate::io::Progress;
use crate::threads;

/// Word-level BPE with an end-of-word mark. See [`crate::words`].
#[derive(Clone, Debug)]
pub struct WordTokenizer {
    form: Form,
    tokens: Vec<Symbol>,
    counts: Vec<u64>,
    merges: Vec<SymbolPair>,
    segmenter: Segmenter,
}

#[derive(Clone, Debug)]
enum Segmenter {
    LongestFirst(LongestFirst),
    MergeOrder(MergeOrder),
}

impl WordTokenizer {
    /// Learns `num_merges` merges, fewer when no pair is left, from the counted words. Tells
    /// `progress` the merges made, every few merges.
    ///
    /// The most frequent pair is merged first; of equally frequent pairs the one that comes first
    /// when the words are read in the order in which they were first seen.
    ///
    /// # Errors
    /// What `progress` returns.
    pub fn train(
        words: &DistinctWords,
        num_merges: usize,
        form: Form,
        progress: &mut Progress<'_>,
    ) -> Result<WordTokenizer> {
        let trained = train::train(words, num_merges, form, progress)?;
        Self::from_parts(form, trained.tokens, trained.merges)
    }

    /// A tokenizer from its tokens (id 2 first) with their counts, and its merges in order.
    ///
    /// # Errors
    /// `Invalid` where a token is empty or listed twice, or where a merge of [`Form::Standard`]
    /// names or makes something that is not a token.
    pub fn from_parts(
        form: Form,
        tokens: Vec<(Symbol, u64)>,
        merges: Vec<SymbolPair>,
    ) -> Result<WordTokenizer> {
        let (tokens, counts): (Vec<Symbol>, Vec<u64>) = tokens.into_iter().unzip();
        if tokens.len() >= u32::MAX as usize - FIRST_ID as usize {
            return Err(Error::invalid(format!(
                "{} tokens do not fit into u32 ids",
                tokens.len()
            )));
        }
        let mut ids = HashMap::with_capacity(tokens.len());
        for (token, id) in tokens.iter().zip(FIRST_ID..) {
            if token.is_empty() {
                return Err(Error::invalid(format!("the token with id {id} is empty")));
            }
            if let Some(other) = ids.insert(token.clone(), id) {
                return Err(Error::invalid(format!(
                    "token {} is listed twice, as id {other} and as id {id}",
                    quoted(token.display())
                )));
            }
        }
        let segmenter = match form {
            Form::Notebook => Segmenter::LongestFirst(LongestFirst::new(&tokens)?),
            Form::Standard => Segmenter::MergeOrder(MergeOrder::new(&ids, &merges)?),
        };
        Ok(WordTokenizer {
            form,
            tokens,
            counts,
            merges,
            segmenter,
        })
    }

    /// The ids of `text`; unknown characters become [`UNKNOWN_ID`], one each.
    ///
    /// # Errors
    /// `Interrupted` when the caller wants to stop.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        // Words repeat: where the ids of a word stand in `ids` the first time.
        let mut seen: HashMap<&str, (usize, usize)> = HashMap::new();
        for (i, word) in split(text).enumerate() {
            if i % WORDS_PER_CHECK == WORDS_PER_CHECK - 1 {
                threads::check_interrupt()?;
            }
            if let Some(&(start, end)) = seen.get(word) {
                ids.extend_from_within(start..end);
                continue;
            }
            let start = ids.len();
            match &self.segmenter {
                Segmenter::LongestFirst(segmenter) => segmenter.encode(word, &mut ids),
                Segmenter::MergeOrder(segmenter) => segmenter.encode(word, &mut ids),
            }
            seen.insert(word, (start, ids.len()));
        }
        Ok(ids)
    }

    /// The ids of `text` padded to `max_length`, and their attention mask: 1 for tokens of the
    /// text, 0 for padding.
    ///
    /// # Errors
    /// `Invalid` for a text of more tokens, unless `truncation` cuts it, and as
    /// [`check_row_length`].
    pub fn encode_padded(
        &self,
        text: &str,
        max_length: usize,
        truncation: bool,
    ) -> Result<(Vec<u32>, Vec<u32>)> {
        check_row_length("max_length", max_length)?;
        let mut ids = self.encode(text)?;
        if ids.len() > max_length && !truncation {
            return Err(Error::invalid(format!(
                "the text has {} tokens, max_length is {max_length}; \
                 pass truncation=True to cut it, or a larger max_length",
                ids.len()
            )));
        }
        ids.truncate(max_length);
        let mut mask = vec![1; ids.len()];
        mask.resize(max_length, 0);
        ids.resize(max_length, PADDING_ID);
        Ok((ids, mask))
    }

    /// The text of `ids`: words joined by one space, padding left out, unknown shown as `</u>`.
    ///
    /// # Errors
    /// `Invalid` for an id outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut text = String::with_capacity(ids.len() * 4);
        for &id in ids {
            match id {
                UNKNOWN_ID => text.push_str(UNKNOWN),
                PADDING_ID => {}
                id => {
                    let token = self.symbol(id)?;
                    text.push_str(&token.text);
                    if token.end {
                        text.push(' ');
                    }
                }
            }
        }
        if text.ends_with(' ') {
            text.pop();
        }
        Ok(text)
    }

    /// The token with this id as a string, `</w>`, `</u>` and `</p>` written out.
    ///
    /// # Errors
    /// `Invalid` for an id outside the vocabulary.
    pub fn token(&self, id: u32) -> Result<String> {
        match id {
            UNKNOWN_ID => Ok(UNKNOWN.to_owned()),
            PADDING_ID => Ok(PADDING.to_owned()),
            id => self.symbol(id).map(Symbol::display),
        }
    }

    fn symbol(&self, id: u32) -> Result<&Symbol> {
        id.checked_sub(FIRST_ID)
            .and_then(|index| self.tokens.get(index as usize))
            .ok_or_else(|| unknown_id(id, self.vocab_size()))
    }

    /// Number of ids, the two specials included.
    pub fn vocab_size(&self) -> usize {
        self.tokens.len() + FIRST_ID as usize
    }

    /// Which form this is.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The tokens with how often each stands in the segmented training text, id 2 first.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = (&Symbol, u64)> {
        self.tokens.iter().zip(self.counts.iter().copied())
    }

    /// The merges in the order in which they were learned.
    pub fn merges(&self) -> &[SymbolPair] {
        &self.merges
    }
}
