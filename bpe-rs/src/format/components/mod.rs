//! The parts of a `tokenizer.json` around the model, read strictly: a component or a setting that
//! this crate would not reproduce exactly is refused by name, never skipped.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

mod decoder;
mod normalizer;
mod post_processor;
mod pre_tokenizer;
mod settings;

pub use decoder::Decoder;
pub use normalizer::Normalizer;
pub use post_processor::{PostProcessor, SequenceId, TemplateItem, TemplateToken};
pub use pre_tokenizer::{Behavior, PreTokenizer};
pub use settings::{Direction, Padding, PaddingLength, Strategy, Truncation};

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
pub(crate) fn refuse(path: &str, problem: &str) -> Error {
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

/// What a `Split` or a `Replace` looks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pattern {
    /// A regular expression.
    Regex(String),
    /// A string.
    String(String),
}

/// Where [`Metaspace`] puts its character before a piece that does not begin with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrependScheme {
    /// Before every piece that reaches it.
    Always,
    /// Before one at the start of the text.
    First,
    /// Nowhere.
    Never,
}

/// The settings of a pre-tokenizer or decoder of type `Metaspace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawMetaspace")]
pub struct Metaspace {
    /// What stands for a space.
    pub replacement: char,
    /// Where one is added.
    pub prepend_scheme: PrependScheme,
    /// Whether it begins a piece.
    pub split: bool,
}

/// [`Metaspace`] as files of all ages have it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMetaspace {
    replacement: char,
    add_prefix_space: Option<bool>,
    prepend_scheme: Option<PrependScheme>,
    split: Option<bool>,
    #[serde(rename = "str_rep")]
    _str_rep: Option<String>,
}

impl TryFrom<RawMetaspace> for Metaspace {
    type Error = &'static str;

    fn try_from(raw: RawMetaspace) -> std::result::Result<Self, Self::Error> {
        let mut prepend_scheme = raw.prepend_scheme.unwrap_or(PrependScheme::Always);
        if raw.add_prefix_space == Some(false) {
            if prepend_scheme != PrependScheme::Never {
                return Err("Metaspace: expected prepend_scheme never with add_prefix_space false");
            }
            prepend_scheme = PrependScheme::Never;
        }
        Ok(Self {
            replacement: raw.replacement,
            prepend_scheme,
            split: raw.split.unwrap_or(true),
        })
    }
}
