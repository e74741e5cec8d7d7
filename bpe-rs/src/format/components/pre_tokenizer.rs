//! Pre-tokenizers cut the text into pieces.

use serde_json::{json, Value};

use super::byte_level::ByteLevel;
use crate::error::Result;
use crate::format::fields::{refuse, Fields};

/// What a `Split` looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitPattern {
    /// A regular expression.
    Regex(String),
    /// A string.
    Text(String),
}

/// What a `Split` does with the delimiters that it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

const BEHAVIORS: [(&str, Behavior); 5] = [
    ("Removed", Behavior::Removed),
    ("Isolated", Behavior::Isolated),
    ("MergedWithPrevious", Behavior::MergedWithPrevious),
    ("MergedWithNext", Behavior::MergedWithNext),
    ("Contiguous", Behavior::Contiguous),
];

/// Cuts the text into pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        invert: bool,
    },
    /// Split off digits.
    Digits {
        /// Every digit by itself, else runs of them.
        individual_digits: bool,
    },
    /// One after the other, each on the pieces of the one before.
    Sequence(Vec<PreTokenizer>),
}

impl SplitPattern {
    fn from_json(value: &Value, path: &str) -> Result<Self> {
        let mut fields = Fields::of(value, path)?;
        let pattern = if fields.has("Regex") {
            Self::Regex(fields.string("Regex")?)
        } else {
            Self::Text(fields.string("String")?)
        };
        fields.finish()?;
        Ok(pattern)
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Regex(text) => json!({ "Regex": text }),
            Self::Text(text) => json!({ "String": text }),
        }
    }
}

impl Behavior {
    fn from_json(name: &str, path: &str) -> Result<Self> {
        let found = BEHAVIORS.iter().find(|(known, _)| *known == name);
        found.map(|&(_, behavior)| behavior).ok_or_else(|| {
            let names: Vec<&str> = BEHAVIORS.iter().map(|&(name, _)| name).collect();
            refuse(path, "split behavior", name, &names.join(", "))
        })
    }

    fn name(self) -> &'static str {
        let found = BEHAVIORS.iter().find(|&&(_, behavior)| behavior == self);
        found.map_or("Isolated", |&(name, _)| name)
    }
}

impl PreTokenizer {
    /// Reads the value at `path`.
    ///
    /// # Errors
    /// Names the component or setting that is not reproduced exactly.
    pub fn from_json(value: &Value, path: &str) -> Result<Self> {
        let mut fields = Fields::of(value, path)?;
        let pre_tokenizer = match fields.kind()?.as_str() {
            "ByteLevel" => Self::ByteLevel(ByteLevel::read(&mut fields)?),
            "Split" => {
                let pattern = fields.take("pattern")?;
                Self::Split {
                    pattern: SplitPattern::from_json(&pattern, &format!("{path}.pattern"))?,
                    behavior: Behavior::from_json(&fields.string("behavior")?, path)?,
                    invert: fields.bool("invert", false)?,
                }
            }
            "Digits" => Self::Digits {
                individual_digits: fields.bool("individual_digits", false)?,
            },
            "Sequence" => Self::Sequence(fields.list("pretokenizers", Self::from_json)?),
            other => {
                let known = "ByteLevel, Split, Digits, Sequence";
                return Err(refuse(path, "pre-tokenizer", other, known));
            }
        };
        fields.finish()?;
        Ok(pre_tokenizer)
    }

    /// The value that [`PreTokenizer::from_json`] reads.
    pub fn to_json(&self) -> Value {
        match self {
            Self::ByteLevel(settings) => settings.to_json(),
            Self::Split {
                pattern,
                behavior,
                invert,
            } => json!({
                "type": "Split",
                "pattern": pattern.to_json(),
                "behavior": behavior.name(),
                "invert": invert,
            }),
            Self::Digits { individual_digits } => {
                json!({"type": "Digits", "individual_digits": individual_digits})
            }
            Self::Sequence(items) => json!({
                "type": "Sequence",
                "pretokenizers": items.iter().map(Self::to_json).collect::<Vec<_>>(),
            }),
        }
    }

    /// The components in the order in which they run, sequences unfolded.
    pub fn flattened(&self) -> Vec<&PreTokenizer> {
        match self {
            Self::Sequence(items) => items.iter().flat_map(Self::flattened).collect(),
            other => vec![other],
        }
    }
}
