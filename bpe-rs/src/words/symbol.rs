//! Symbols of words, the two forms of merging them, and the special tokens of both tokenizers.

use crate::error::{quoted, Error, Result};

/// The token for a character that no other token covers; id 0.
pub const UNKNOWN: &str = "</u>";
/// The token that fills a row up to a fixed length; id 1.
pub const PADDING: &str = "</p>";
/// How the end of a word is written when a token is shown.
pub const END_OF_WORD: &str = "</w>";
/// The id of [`UNKNOWN`].
pub const UNKNOWN_ID: u32 = 0;
/// The id of [`PADDING`].
pub const PADDING_ID: u32 = 1;
/// The id of the first token, after the two specials.
pub(super) const FIRST_ID: u32 = 2;

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

    /// The form of that name.
    ///
    /// # Errors
    /// `Invalid` for any other name.
    pub fn from_name(name: &str) -> Result<Form> {
        match name {
            "notebook" => Ok(Form::Notebook),
            "standard" => Ok(Form::Standard),
            other => Err(Error::invalid(format!(
                "form: expected 'notebook' or 'standard', got {}",
                quoted(other)
            ))),
        }
    }
}

/// A symbol of a word, which merging starts from or makes: some characters, and whether the word
/// ends with them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Symbol {
    /// The characters; empty only for the bare end-of-word mark of [`Form::Notebook`].
    pub text: String,
    /// Whether `</w>` follows the characters.
    pub end: bool,
}

impl Symbol {
    /// The characters and `</w>`, as one string.
    pub fn display(&self) -> String {
        let end = if self.end { END_OF_WORD } else { "" };
        format!("{}{end}", self.text)
    }

    /// Number of characters, `</w>` counting as one.
    pub fn len(&self) -> usize {
        self.text.chars().count() + usize::from(self.end)
    }

    /// Whether there is neither a character nor `</w>`, as in no token.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && !self.end
    }

    pub(super) fn join(&self, right: &Symbol) -> Symbol {
        Symbol {
            text: format!("{}{}", self.text, right.text),
            end: right.end,
        }
    }
}

/// A merge: the two symbols that become one.
pub type SymbolPair = (Symbol, Symbol);

/// The error for an id that is not below `size`.
pub(super) fn unknown_id(id: u32, size: usize) -> Error {
    Error::invalid(format!(
        "id {id} is outside the vocabulary of {size} ids (0 to {})",
        size - 1
    ))
}

/// The words of `text`: what Python's `str.split()` gives.
///
/// Python counts the four separators U+001C to U+001F as white space, Unicode's property does not.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
        .filter(|word| !word.is_empty())
}
