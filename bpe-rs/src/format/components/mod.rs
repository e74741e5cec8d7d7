//! The parts of a `tokenizer.json` around the model, read strictly: a component or a setting that
//! this crate would not reproduce exactly is refused by name, never skipped.

mod post_processor;
mod pre_tokenizer;

use serde_json::{json, Value};

use super::fields::{refuse, Fields};
use crate::error::Result;

pub use post_processor::{PostProcessor, TemplateItem, TemplateToken};
pub use pre_tokenizer::{Behavior, PreTokenizer, SplitPattern};

/// Text to text, before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Normalizer {
    /// Unicode normalisation form C.
    Nfc,
    /// Unicode normalisation form D.
    Nfd,
    /// Unicode normalisation form KC.
    Nfkc,
    /// Unicode normalisation form KD.
    Nfkd,
    /// One after the other.
    Sequence(Vec<Normalizer>),
}

/// Settings shared by everything that is called `ByteLevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteLevel {
    /// Put a space before a segment that does not start with one.
    pub add_prefix_space: bool,
    /// Leave leading and trailing white space out of a token's offsets.
    pub trim_offsets: bool,
    /// Split by GPT-2's pattern.
    pub use_regex: bool,
}

/// Tokens to text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// The byte-level alphabet back to bytes; invalid UTF-8 becomes `U+FFFD`.
    ByteLevel(ByteLevel),
    /// The same, wrapped in a sequence of one.
    Sequence(Box<Decoder>),
}

impl Normalizer {
    /// Reads the value at `path`.
    ///
    /// # Errors
    /// Names the component or setting that is not reproduced exactly.
    pub fn from_json(value: &Value, path: &str) -> Result<Self> {
        let mut fields = Fields::of(value, path)?;
        let normalizer = match fields.kind()?.as_str() {
            "NFC" => Self::Nfc,
            "NFD" => Self::Nfd,
            "NFKC" => Self::Nfkc,
            "NFKD" => Self::Nfkd,
            "Sequence" => Self::Sequence(fields.list("normalizers", Self::from_json)?),
            other => {
                return Err(refuse(
                    path,
                    "normalizer",
                    other,
                    "NFC, NFD, NFKC, NFKD, Sequence",
                ))
            }
        };
        fields.finish()?;
        Ok(normalizer)
    }

    /// The value that [`Normalizer::from_json`] reads.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Nfc => json!({"type": "NFC"}),
            Self::Nfd => json!({"type": "NFD"}),
            Self::Nfkc => json!({"type": "NFKC"}),
            Self::Nfkd => json!({"type": "NFKD"}),
            Self::Sequence(items) => json!({
                "type": "Sequence",
                "normalizers": items.iter().map(Self::to_json).collect::<Vec<_>>(),
            }),
        }
    }
}

impl ByteLevel {
    pub(super) fn read(fields: &mut Fields) -> Result<Self> {
        Ok(Self {
            add_prefix_space: fields.bool("add_prefix_space", true)?,
            trim_offsets: fields.bool("trim_offsets", true)?,
            use_regex: fields.bool("use_regex", true)?,
        })
    }

    pub(super) fn to_json(self) -> Value {
        json!({
            "type": "ByteLevel",
            "add_prefix_space": self.add_prefix_space,
            "trim_offsets": self.trim_offsets,
            "use_regex": self.use_regex,
        })
    }
}

impl Decoder {
    /// Reads the value at `path`.
    ///
    /// # Errors
    /// Names the component or setting that is not reproduced exactly.
    pub fn from_json(value: &Value, path: &str) -> Result<Self> {
        let mut fields = Fields::of(value, path)?;
        let known = "ByteLevel, Sequence of one ByteLevel";
        let decoder = match fields.kind()?.as_str() {
            "ByteLevel" => Self::ByteLevel(ByteLevel::read(&mut fields)?),
            "Sequence" => {
                let mut items = fields.list("decoders", Self::from_json)?;
                match (items.pop(), items.is_empty()) {
                    (Some(only), true) => Self::Sequence(Box::new(only)),
                    _ => return Err(refuse(path, "decoder", "Sequence of several", known)),
                }
            }
            other => return Err(refuse(path, "decoder", other, known)),
        };
        fields.finish()?;
        Ok(decoder)
    }

    /// The value that [`Decoder::from_json`] reads.
    pub fn to_json(&self) -> Value {
        match self {
            Self::ByteLevel(settings) => settings.to_json(),
            Self::Sequence(only) => json!({"type": "Sequence", "decoders": [only.to_json()]}),
        }
    }
}
