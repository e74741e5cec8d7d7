//! Tokenizers that look at characters, not bytes: word-level BPE with an end-of-word mark, and
//! one id per character.
//!
//! Text is split on white space, every word ends in `</w>`, and `</u>` (unknown, id 0) and
//! `</p>` (padding, id 1) come before all tokens. Two forms exist:
//!
//! * [`Form::Notebook`]: `</w>` is a symbol of its own while merging; the vocabulary is what is
//!   left of the words after the last merge, longest tokens first; encoding takes the longest
//!   token anywhere in the word, then goes on left and right of it.
//! * [`Form::Standard`]: `</w>` is attached to the last character of a word, and the merges are
//!   applied in the order in which they were learned (Sennrich, Haddow and Birch, 2016,
//!   <https://arxiv.org/abs/1508.07909>; Hugging Face's `end_of_word_suffix`).
//!
//! White space is not kept: decoding joins words by one space.
//!
//! ```
//! use bpe_rs::words::{Form, WordCounter, WordTokenizer};
//!
//! let mut counter = WordCounter::default();
//! counter.add("low low lower lowest");
//! let tokenizer = WordTokenizer::train(&counter, 3, Form::Notebook);
//! let ids = tokenizer.encode("low lower");
//! assert_eq!(tokenizer.decode(&ids).unwrap(), "low lower");
//! ```

mod chars;
mod segment;
mod train;

use std::collections::HashMap;

pub use chars::CharTokenizer;
pub use train::WordCounter;

use crate::error::{Error, Result};
use crate::io::Progress;
use segment::{LongestFirst, MergeOrder};

/// What a character that no token covers becomes; id 0.
pub const UNKNOWN: &str = "</u>";
/// What fills a row up to a fixed length; id 1.
pub const PADDING: &str = "</p>";
/// How the end of a word is written when a token is shown.
pub const END_OF_WORD: &str = "</w>";
/// The id of [`UNKNOWN`].
pub const UNKNOWN_ID: u32 = 0;
/// The id of [`PADDING`].
pub const PADDING_ID: u32 = 1;
/// The id of the first token, after the two specials.
const FIRST_ID: u32 = 2;

/// How `</w>` takes part in merging, and how a word is cut into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `</w>` is its own symbol; the longest token in the word is taken first.
    Notebook,
    /// `</w>` sits on the last character; merges are applied in order.
    Standard,
}

impl Form {
    /// `"notebook"` or `"standard"`.
    pub fn name(self) -> &'static str {
        match self {
            Form::Notebook => "notebook",
            Form::Standard => "standard",
        }
    }

    /// The form of that name; an error names the two there are.
    pub fn from_name(name: &str) -> Result<Form> {
        match name {
            "notebook" => Ok(Form::Notebook),
            "standard" => Ok(Form::Standard),
            other => Err(Error::invalid(format!(
                "form must be \"notebook\" or \"standard\", got {other:?}"
            ))),
        }
    }
}

/// Some characters of a word, and whether the word ends with them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// The characters; empty only for the bare end-of-word mark of [`Form::Notebook`].
    pub text: String,
    /// Whether `</w>` follows the characters.
    pub end: bool,
}

impl Piece {
    /// The characters and `</w>`, as one string.
    pub fn display(&self) -> String {
        let end = if self.end { END_OF_WORD } else { "" };
        format!("{}{end}", self.text)
    }

    /// Number of characters, `</w>` counting as one.
    pub fn len(&self) -> usize {
        self.text.chars().count() + usize::from(self.end)
    }

    /// Whether the piece holds nothing at all, which no token does.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && !self.end
    }

    fn join(&self, right: &Piece) -> Piece {
        Piece {
            text: format!("{}{}", self.text, right.text),
            end: right.end,
        }
    }
}

/// A merge: the two pieces that become one.
pub type Merge = (Piece, Piece);

/// Word-level BPE with an end-of-word mark. See the module's documentation.
#[derive(Clone, Debug)]
pub struct WordTokenizer {
    form: Form,
    tokens: Vec<Piece>,
    counts: Vec<u64>,
    merges: Vec<Merge>,
    segmenter: Segmenter,
}

#[derive(Clone, Debug)]
enum Segmenter {
    LongestFirst(LongestFirst),
    MergeOrder(MergeOrder),
}

impl WordTokenizer {
    /// Learns `num_merges` merges (fewer when no pair is left) from the counted words.
    ///
    /// The most frequent pair is merged first; of equally frequent pairs the one that comes first
    /// when the words are read in the order in which they were first seen.
    pub fn train(words: &WordCounter, num_merges: usize, form: Form) -> WordTokenizer {
        Self::train_with(words, num_merges, form, &mut |_| Ok(()))
            .expect("training that is never stopped comes to its end")
    }

    /// As [`WordTokenizer::train`]; tells `progress` the merges made, every few merges.
    ///
    /// # Errors
    /// What `progress` returns.
    pub fn train_with(
        words: &WordCounter,
        num_merges: usize,
        form: Form,
        progress: &mut Progress<'_>,
    ) -> Result<WordTokenizer> {
        let trained = train::train(words, num_merges, form, progress)?;
        let tokenizer = Self::from_parts(form, trained.tokens, trained.merges);
        Ok(tokenizer.expect("what training made fits together"))
    }

    /// A tokenizer from its tokens (id 2 first) with their counts, and its merges in order.
    ///
    /// # Errors
    /// When a token is empty or listed twice, or when a merge of [`Form::Standard`] names or
    /// makes something that is not a token.
    pub fn from_parts(
        form: Form,
        tokens: Vec<(Piece, u64)>,
        merges: Vec<Merge>,
    ) -> Result<WordTokenizer> {
        let (tokens, counts): (Vec<Piece>, Vec<u64>) = tokens.into_iter().unzip();
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
                    "token {:?} is listed twice, as id {other} and as id {id}",
                    token.display()
                )));
            }
        }
        let segmenter = match form {
            Form::Notebook => Segmenter::LongestFirst(LongestFirst::new(&tokens)),
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
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        // Words repeat: where the ids of a word stand in `ids` the first time.
        let mut seen: HashMap<&str, (usize, usize)> = HashMap::new();
        for word in split(text) {
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
        ids
    }

    /// The ids of `text` padded to `max_length`, and their attention mask: 1 for tokens of the
    /// text, 0 for padding.
    ///
    /// # Errors
    /// `Invalid` for a text of more tokens, unless `truncation` cuts it.
    pub fn encode_padded(
        &self,
        text: &str,
        max_length: usize,
        truncation: bool,
    ) -> Result<(Vec<u32>, Vec<u32>)> {
        let mut ids = self.encode(text);
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
    /// When an id is outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut text = String::with_capacity(ids.len() * 4);
        for &id in ids {
            match id {
                UNKNOWN_ID => text.push_str(UNKNOWN),
                PADDING_ID => {}
                id => {
                    let token = self.piece(id)?;
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
    /// When the id is outside the vocabulary.
    pub fn token(&self, id: u32) -> Result<String> {
        match id {
            UNKNOWN_ID => Ok(UNKNOWN.to_owned()),
            PADDING_ID => Ok(PADDING.to_owned()),
            id => self.piece(id).map(Piece::display),
        }
    }

    fn piece(&self, id: u32) -> Result<&Piece> {
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
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = (&Piece, u64)> {
        self.tokens.iter().zip(self.counts.iter().copied())
    }

    /// The merges in the order in which they were learned.
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }
}

fn unknown_id(id: u32, size: usize) -> Error {
    Error::invalid(format!(
        "id {id} is outside the vocabulary of {size} ids (0 to {})",
        size - 1
    ))
}

/// The words of `text`: what Python's `str.split()` gives.
///
/// Python counts the four separators U+001C to U+001F as white space, Unicode's property does not.
fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
        .filter(|word| !word.is_empty())
}
