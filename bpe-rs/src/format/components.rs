//! The parts of a `tokenizer.json` around the model, read strictly: a component or a setting that
//! this crate would not reproduce exactly is refused by name, never skipped.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// A part of the file that [`read`] reads.
pub trait Component: DeserializeOwned {
    /// What the types of the fields do not express.
    ///
    /// # Errors
    /// With the contradiction, or with what is not reproduced exactly.
    fn check(&self) -> std::result::Result<(), String> {
        Ok(())
    }
}

/// The component that `value` describes, which the file has at `path`.
///
/// # Errors
/// `Invalid` with the component or the setting that is not reproduced exactly.
pub fn read<T: Component>(value: &Value, path: &str) -> Result<T> {
    let component = T::deserialize(value).map_err(|error| refuse(path, &error.to_string()))?;
    component.check().map_err(|error| refuse(path, &error))?;
    Ok(component)
}

/// The error for a part of a file that is not reproduced exactly.
pub(super) fn refuse(path: &str, problem: &str) -> Error {
    Error::invalid(format!(
        "{path}: {problem}; bpe_rs reads only what it reproduces exactly, use the original \
         tokenizer for this file"
    ))
}

fn yes() -> bool {
    true
}

/// The settings of a pre-tokenizer, post-processor or decoder of type `ByteLevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByteLevel {
    /// Put a space before a segment that does not start with one.
    #[serde(default = "yes")]
    pub add_prefix_space: bool,
    /// Leave leading and trailing white space out of a token's offsets.
    #[serde(default = "yes")]
    pub trim_offsets: bool,
    /// Split by GPT-2's pattern.
    #[serde(default = "yes")]
    pub use_regex: bool,
}

/// Changes the text before it is cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Normalizer {
    /// Unicode normalisation form C.
    #[serde(rename = "NFC")]
    Nfc,
    /// Unicode normalisation form D.
    #[serde(rename = "NFD")]
    Nfd,
    /// Unicode normalisation form KC.
    #[serde(rename = "NFKC")]
    Nfkc,
    /// Unicode normalisation form KD.
    #[serde(rename = "NFKD")]
    Nfkd,
    /// One after the other.
    Sequence {
        /// The normalisers in order.
        normalizers: Vec<Normalizer>,
    },
}

impl Component for Normalizer {}

/// What a `Split` looks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SplitPattern {
    /// A regular expression.
    Regex(String),
    /// A string.
    String(String),
}

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
        pattern: SplitPattern,
        /// What to do with it.
        behavior: Behavior,
        /// Treat what lies between the matches as the delimiters.
        #[serde(default)]
        invert: bool,
    },
    /// Split off digits.
    Digits {
        /// Every digit by itself, else runs of them.
        #[serde(default)]
        individual_digits: bool,
    },
    /// One after the other, each on the pieces of the one before.
    Sequence {
        /// The pre-tokenizers in order.
        pretokenizers: Vec<PreTokenizer>,
    },
}

impl Component for PreTokenizer {}

impl PreTokenizer {
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

/// The first or the second sequence in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SequenceId {
    /// The first.
    A,
    /// The second.
    B,
}

/// One item of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TemplateItem {
    /// A sequence.
    Sequence {
        /// Which one.
        id: SequenceId,
        /// The type id that its tokens get.
        type_id: u32,
    },
    /// A special token.
    SpecialToken {
        /// Its key among the template's special tokens.
        id: String,
        /// The type id that it gets.
        type_id: u32,
    },
}

/// The tokens that a special token of a template stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateToken {
    /// Its name.
    pub id: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// Their strings, as many as `ids`.
    pub tokens: Vec<String>,
}

/// Makes one encoding of one or two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum PostProcessor {
    /// Trims offsets.
    ByteLevel(ByteLevel),
    /// Puts special tokens around the sequences.
    TemplateProcessing {
        /// For one sequence.
        single: Vec<TemplateItem>,
        /// For two.
        pair: Vec<TemplateItem>,
        /// The special tokens that the two name.
        special_tokens: BTreeMap<String, TemplateToken>,
    },
    /// One after the other.
    Sequence {
        /// The post-processors in order.
        processors: Vec<PostProcessor>,
    },
}

impl Component for PostProcessor {
    fn check(&self) -> std::result::Result<(), String> {
        match self {
            Self::ByteLevel(_) => Ok(()),
            Self::Sequence { processors } => processors.iter().try_for_each(Self::check),
            Self::TemplateProcessing {
                single,
                pair,
                special_tokens,
            } => {
                for item in single.iter().chain(pair) {
                    match item {
                        TemplateItem::SpecialToken { id, .. }
                            if !special_tokens.contains_key(id) =>
                        {
                            return Err(format!("expected {id} among its special_tokens"));
                        }
                        _ => {}
                    }
                }
                let uneven = special_tokens
                    .values()
                    .find(|token| token.ids.len() != token.tokens.len());
                uneven.map_or(Ok(()), |token| {
                    Err(format!("{}: expected as many ids as tokens", token.id))
                })
            }
        }
    }
}

/// Turns tokens into text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Decoder {
    /// The byte-level alphabet back to bytes; invalid UTF-8 becomes `U+FFFD`.
    ByteLevel(ByteLevel),
    /// The same, wrapped in a sequence of one.
    Sequence {
        /// One decoder.
        decoders: Vec<Decoder>,
    },
}

impl Component for Decoder {
    fn check(&self) -> std::result::Result<(), String> {
        match self {
            Self::ByteLevel(_) => Ok(()),
            Self::Sequence { decoders } => match &decoders[..] {
                [only] => only.check(),
                _ => Err("expected a Sequence of one decoder".into()),
            },
        }
    }
}

/// The end at which sequences are truncated or padded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// At the start.
    Left,
    /// At the end.
    #[default]
    Right,
}

/// Which sequence of a pair is truncated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// Always the longer one, token by token.
    #[default]
    LongestFirst,
    /// Only the first.
    OnlyFirst,
    /// Only the second.
    OnlySecond,
}

/// How sequences are truncated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truncation {
    /// The end that is cut off.
    #[serde(default)]
    pub direction: Direction,
    /// Most tokens of the result, special ones included.
    pub max_length: usize,
    /// Which sequence of a pair is truncated.
    pub strategy: Strategy,
    /// Tokens that each overflowing part shares with the one before.
    pub stride: usize,
}

impl Component for Truncation {}

/// To which length sequences are padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaddingLength {
    /// That of the longest of the batch.
    BatchLongest,
    /// This one.
    Fixed(usize),
}

/// How sequences are padded to a common length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Padding {
    /// The common length.
    pub strategy: PaddingLength,
    /// The end that is padded.
    pub direction: Direction,
    /// Round the length up to a multiple of this.
    pub pad_to_multiple_of: Option<usize>,
    /// Id of the padding token.
    pub pad_id: u32,
    /// Its type id.
    pub pad_type_id: u32,
    /// Its string.
    pub pad_token: String,
}

impl Component for Padding {}
