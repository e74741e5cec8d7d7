//! Pre-tokenizers.

use serde::{Deserialize, Serialize};

use super::{ByteLevel, Component, Metaspace, Pattern};

/// What a `Split` does with the delimiters that it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Behavior {
    /// Drop them.
    Removed,
    /// Each is a piece.
    Isolated,
    /// They end the piece before.
    MergedWithPrevious,
    /// They begin the piece after.
    MergedWithNext,
    /// Neighbouring delimiters are one piece.
    Contiguous,
}

/// Cuts the text into pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum PreTokenizer {
    /// Bytes to the byte-level alphabet, optionally split by GPT-2's pattern.
    ByteLevel(ByteLevel),
    /// Split by a pattern.
    Split {
        /// What to look for.
        pattern: Pattern,
        /// What to do with it.
        behavior: Behavior,
        /// Treat what lies between the matches as the delimiters.
        #[serde(default)]
        invert: bool,
    },
    /// Spaces to another character, which begins a piece.
    Metaspace(Metaspace),
    /// Words and runs of other characters; white space is dropped.
    Whitespace,
    /// What lies between white space.
    WhitespaceSplit,
    /// Words and single punctuation characters; white space is dropped.
    BertPreTokenizer,
    /// Split off punctuation.
    Punctuation {
        /// What to do with it.
        #[serde(default = "isolated")]
        behavior: Behavior,
    },
    /// What lies between a character.
    CharDelimiterSplit {
        /// The character, which is dropped.
        delimiter: char,
    },
    /// Pieces of so many characters.
    FixedLength {
        /// The number of characters.
        #[serde(default = "five")]
        length: usize,
    },
    /// Split off digits.
    Digits {
        /// Every digit by itself, else runs of them.
        #[serde(default)]
        individual_digits: bool,
    },
    /// Where the script changes; Chinese and Japanese are one, spaces belong to any.
    UnicodeScripts,
    /// One after the other, each on the pieces of the one before.
    Sequence {
        /// The pre-tokenizers in order.
        pretokenizers: Vec<PreTokenizer>,
    },
}

fn isolated() -> Behavior {
    Behavior::Isolated
}

fn five() -> usize {
    5
}

impl Component for PreTokenizer {
    fn check(&self) -> std::result::Result<(), String> {
        match self {
            Self::FixedLength { length: 0 } => {
                Err("FixedLength: expected a length of at least 1, got 0".into())
            }
            Self::Sequence { pretokenizers } => pretokenizers.iter().try_for_each(Self::check),
            _ => Ok(()),
        }
    }
}

impl PreTokenizer {
    /// Whether the last step, and no other, makes characters of the byte-level alphabet of bytes.
    pub fn ends_in_bytes(&self) -> bool {
        let steps = self.flattened();
        let is_byte_level = |step: &&PreTokenizer| matches!(step, Self::ByteLevel(_));
        steps.last().is_some_and(is_byte_level)
            && steps.iter().filter(|s| is_byte_level(s)).count() == 1
    }

    /// The components in the order in which they run, sequences unfolded.
    pub fn flattened(&self) -> Vec<&PreTokenizer> {
        match self {
            Self::Sequence { pretokenizers } => {
                pretokenizers.iter().flat_map(Self::flattened).collect()
            }
            other => vec![other],
        }
    }
}
