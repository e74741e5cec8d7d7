//! `tokenizer.json`: a whole tokenizer in one file.

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::Value;

use super::components::{Decoder, Normalizer, PostProcessor, PreTokenizer};
use super::fields::refuse;
use super::model::BpeModel;
use super::params::{Padding, Truncation};
use crate::error::{Error, Result};

/// A token that is found in the text before the model sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedToken {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub content: String,
    /// Match only between word boundaries.
    #[serde(default)]
    pub single_word: bool,
    /// The match includes the white space on its left.
    #[serde(default)]
    pub lstrip: bool,
    /// The match includes the white space on its right.
    #[serde(default)]
    pub rstrip: bool,
    /// Match in the normalised text.
    #[serde(default)]
    pub normalized: bool,
    /// A control token: left out by `decode(skip_special_tokens=True)`.
    #[serde(default)]
    pub special: bool,
}

/// A `tokenizer.json` all of whose components this crate reproduces exactly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenizerJson {
    /// Truncation that the file switches on.
    pub truncation: Option<Truncation>,
    /// Padding that the file switches on.
    pub padding: Option<Padding>,
    /// Tokens that are found before the model runs.
    pub added_tokens: Vec<AddedToken>,
    /// Changes the text.
    pub normalizer: Option<Normalizer>,
    /// Cuts the text into pieces.
    pub pre_tokenizer: Option<PreTokenizer>,
    /// Adds special tokens, trims offsets.
    pub post_processor: Option<PostProcessor>,
    /// Turns tokens into text.
    pub decoder: Option<Decoder>,
    /// Turns pieces into ids.
    pub model: BpeModel,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    #[serde(rename = "version")]
    _version: Option<String>,
    truncation: Option<Value>,
    padding: Option<Value>,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    #[serde(borrow)]
    model: &'a RawValue,
}

/// Applies `read` to a value that may be null.
fn optional<T>(
    value: Option<&Value>,
    path: &str,
    read: impl Fn(&Value, &str) -> Result<T>,
) -> Result<Option<T>> {
    value.map(|value| read(value, path)).transpose()
}

impl TokenizerJson {
    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// `Invalid` where the text is not such a file, or where it holds a component that is not
    /// reproduced exactly: WordPiece, Unigram and WordLevel models, byte fallback, dropout, every
    /// normaliser, pre-tokenizer, post-processor or decoder that [`super::components`] does not list.
    pub fn parse(text: &str) -> Result<Self> {
        let raw: Raw = serde_json::from_str(text)
            .map_err(|error| Error::invalid(format!("tokenizer.json: {error}")))?;
        // The model first: the message about its type tells most about a file that is refused.
        let model = BpeModel::from_json(raw.model.get())?;
        let tokenizer = Self {
            truncation: optional(raw.truncation.as_ref(), "truncation", Truncation::from_json)?,
            padding: optional(raw.padding.as_ref(), "padding", Padding::from_json)?,
            added_tokens: raw.added_tokens,
            normalizer: optional(raw.normalizer.as_ref(), "normalizer", Normalizer::from_json)?,
            pre_tokenizer: optional(
                raw.pre_tokenizer.as_ref(),
                "pre_tokenizer",
                PreTokenizer::from_json,
            )?,
            post_processor: optional(
                raw.post_processor.as_ref(),
                "post_processor",
                PostProcessor::from_json,
            )?,
            decoder: optional(raw.decoder.as_ref(), "decoder", Decoder::from_json)?,
            model,
        };
        tokenizer.check_byte_level()?;
        Ok(tokenizer)
    }

    /// Checks that the last pre-tokenizer, and only it, is `ByteLevel`: merging needs bytes.
    pub(crate) fn check_byte_level(&self) -> Result<()> {
        let steps = self
            .pre_tokenizer
            .as_ref()
            .map(PreTokenizer::flattened)
            .unwrap_or_default();
        let expected = "exactly one ByteLevel, as the last step";
        match steps.split_last() {
            Some((PreTokenizer::ByteLevel(_), before)) => {
                if before
                    .iter()
                    .any(|step| matches!(step, PreTokenizer::ByteLevel(_)))
                {
                    return Err(refuse(
                        "pre_tokenizer",
                        "order",
                        "several ByteLevel",
                        expected,
                    ));
                }
                Ok(())
            }
            _ => Err(refuse(
                "pre_tokenizer",
                "pre-tokenizer",
                "without ByteLevel",
                expected,
            )),
        }
    }

    /// The text of the file: one line, or indented by two spaces.
    pub fn to_text(&self, pretty: bool) -> String {
        let text = if pretty {
            serde_json::to_string_pretty(self)
        } else {
            serde_json::to_string(self)
        };
        // Serialising strings, numbers and lists of them cannot fail.
        text.unwrap_or_default()
    }
}

impl Serialize for TokenizerJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(9))?;
        map.serialize_entry("version", "1.0")?;
        map.serialize_entry(
            "truncation",
            &self.truncation.as_ref().map(Truncation::to_json),
        )?;
        map.serialize_entry("padding", &self.padding.as_ref().map(Padding::to_json))?;
        map.serialize_entry("added_tokens", &self.added_tokens)?;
        map.serialize_entry(
            "normalizer",
            &self.normalizer.as_ref().map(Normalizer::to_json),
        )?;
        let pre_tokenizer = self.pre_tokenizer.as_ref().map(PreTokenizer::to_json);
        map.serialize_entry("pre_tokenizer", &pre_tokenizer)?;
        let post_processor = self.post_processor.as_ref().map(PostProcessor::to_json);
        map.serialize_entry("post_processor", &post_processor)?;
        map.serialize_entry("decoder", &self.decoder.as_ref().map(Decoder::to_json))?;
        map.serialize_entry("model", &self.model)?;
        map.end()
    }
}
