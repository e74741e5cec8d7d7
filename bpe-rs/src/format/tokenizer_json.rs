//! `tokenizer.json`: a whole tokenizer in one file.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::Value;

use super::components::{
    self, refuse, Component, Decoder, Normalizer, Padding, PostProcessor, PreTokenizer, Truncation,
};
use super::model::{other_type, BpeModel, RawModel};
use crate::error::{Error, Result};

/// The version that every such file has.
const VERSION: &str = "1.0";

/// A token that is found in the text before the model sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedToken {
    /// Its id. Where a token is added to a tokenizer, the tokenizer chooses it.
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
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
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
    #[serde(default)]
    version: Option<String>,
    truncation: Option<Value>,
    padding: Option<Value>,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    #[serde(borrow)]
    model: RawModel<'a>,
}

#[derive(Deserialize)]
struct OnlyModel<'a> {
    #[serde(borrow)]
    model: &'a RawValue,
}

/// The component that the file may have at `path`.
fn optional<T: Component>(value: Option<&Value>, path: &str) -> Result<Option<T>> {
    value.map(|value| components::read(value, path)).transpose()
}

impl TokenizerJson {
    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// `Invalid` where the text is not such a file, or where it holds a component that is not
    /// reproduced exactly: WordPiece, Unigram and WordLevel models, every normaliser, pre-tokenizer,
    /// post-processor or decoder that [`super::components`] does not list.
    pub fn parse(text: &str) -> Result<Self> {
        let raw: Raw = serde_json::from_str(text).map_err(|error| {
            let file: Option<OnlyModel> = serde_json::from_str(text).ok();
            let other = file.and_then(|file| other_type(file.model.get()));
            other.unwrap_or_else(|| Error::invalid(format!("tokenizer.json: {error}")))
        })?;
        if let Some(version) = raw.version.filter(|version| version != VERSION) {
            return Err(refuse(
                "version",
                &format!("expected {VERSION}, got {version}"),
            ));
        }
        // The model first: the message about its type tells most about a file that is refused.
        let model = BpeModel::from_raw(raw.model)?;
        Ok(Self {
            truncation: optional(raw.truncation.as_ref(), "truncation")?,
            padding: optional(raw.padding.as_ref(), "padding")?,
            added_tokens: raw.added_tokens,
            normalizer: optional(raw.normalizer.as_ref(), "normalizer")?,
            pre_tokenizer: optional(raw.pre_tokenizer.as_ref(), "pre_tokenizer")?,
            post_processor: optional(raw.post_processor.as_ref(), "post_processor")?,
            decoder: optional(raw.decoder.as_ref(), "decoder")?,
            model,
        })
    }

    /// Check that an [`crate::Encoding`] can hold the model: the last pre-tokenizer, and only it, is
    /// `ByteLevel`, and no setting is about characters.
    pub(crate) fn check_byte_level(&self) -> Result<()> {
        if let Some(setting) = self.model.character_setting() {
            return Err(refuse("model", &format!("expected no {setting}")));
        }
        if self.model.dropout.is_some_and(|rate| rate > 0.0) {
            return Err(refuse("model", "expected no dropout"));
        }
        let problem = match self.pre_tokenizer.as_ref() {
            Some(steps) if steps.ends_in_bytes() => return Ok(()),
            Some(_) => "other steps",
            None => "no step",
        };
        Err(refuse(
            "pre_tokenizer",
            &format!("expected exactly one ByteLevel, as the last step, got {problem}"),
        ))
    }

    /// Check that every added token has the id that Hugging Face's engine gives it, whatever the
    /// file says: that of the vocabulary, or else the next free one in the order of the list.
    ///
    /// # Errors
    /// `Invalid` with the first token of another id.
    pub(crate) fn check_added_ids(&self) -> Result<()> {
        let listed: HashSet<&str> = self
            .added_tokens
            .iter()
            .map(|token| &token.content[..])
            .collect();
        let vocab = self.model.vocab.iter();
        let mut known: HashMap<&str, u32> = vocab
            .filter(|(token, _)| listed.contains(&token[..]))
            .map(|(token, id)| (&token[..], *id))
            .collect();
        let mut next = self.model.vocab.len() as u32;
        for AddedToken { content, id, .. } in &self.added_tokens {
            let due = *known.entry(content).or_insert(next);
            if due != *id {
                return Err(refuse(
                    "added_tokens",
                    &format!(
                        "expected ids of the vocabulary, or ids that continue the vocabulary in \
                         the order of the list, got {id} for {content}, which gets {due}"
                    ),
                ));
            }
            next = next.max(due.saturating_add(1));
        }
        Ok(())
    }

    /// The text of the file: one line, or indented by two spaces.
    pub fn to_text(&self, pretty: bool) -> String {
        #[derive(Serialize)]
        struct Versioned<'a> {
            version: &'a str,
            #[serde(flatten)]
            file: &'a TokenizerJson,
        }
        let file = Versioned {
            version: VERSION,
            file: self,
        };
        let text = if pretty {
            serde_json::to_string_pretty(&file)
        } else {
            serde_json::to_string(&file)
        };
        // Serialising strings, numbers and lists of them cannot fail.
        text.unwrap_or_default()
    }
}
