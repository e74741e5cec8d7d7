//! The `model` of a `tokenizer.json`: a vocabulary and its merges.

use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::components::refuse;
use crate::error::{quoted, Error, Result};

/// A byte-pair model as files hold it: its tokens are strings in the byte-level alphabet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BpeModel {
    /// Every token with its id, in file order.
    pub vocab: Vec<(String, u32)>,
    /// Pairs of tokens, the first is merged first.
    pub merges: Vec<(String, String)>,
    /// Take a piece that is a token whole, before any merging.
    pub ignore_merges: bool,
    /// The token for bytes that have none. It never occurs where all 256 bytes are tokens; kept for
    /// writing the file again.
    pub unk_token: Option<String>,
    /// Whether neighbouring unknown tokens become one; kept for writing the file again.
    pub fuse_unk: bool,
    /// Empty or `None`, which mean the same; kept for writing the file again.
    pub continuing_subword_prefix: Option<String>,
    /// As `continuing_subword_prefix`.
    pub end_of_word_suffix: Option<String>,
}

#[derive(Deserialize)]
struct ModelType {
    #[serde(rename = "type")]
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(rename = "type")]
    kind: Option<String>,
    dropout: Option<f64>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    vocab: VocabEntries,
    merges: Vec<MergeEntry>,
}

struct VocabEntries(Vec<(String, u32)>);

impl<'de> Deserialize<'de> for VocabEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = VocabEntries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tokens and their ids")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<VocabEntries, A::Error> {
                let mut entries = Vec::with_capacity(map.size_hint().unwrap_or(1 << 16));
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(VocabEntries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// `"a b"` (files before 2024) or `["a", "b"]`.
struct MergeEntry(String, String);

impl<'de> Deserialize<'de> for MergeEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = MergeEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge: \"left right\" or [\"left\", \"right\"]")
            }

            fn visit_str<E: serde::de::Error>(
                self,
                text: &str,
            ) -> std::result::Result<MergeEntry, E> {
                split_merge(text)
                    .map(|(left, right)| MergeEntry(left.into(), right.into()))
                    .ok_or_else(|| {
                        E::custom(format!(
                            "expected a merge \"left right\", got {text}",
                            text = quoted(text)
                        ))
                    })
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<MergeEntry, A::Error> {
                let short = |count| serde::de::Error::invalid_length(count, &"two tokens");
                let left = seq.next_element()?.ok_or_else(|| short(0))?;
                let right = seq.next_element()?.ok_or_else(|| short(1))?;
                match seq.next_element::<serde::de::IgnoredAny>()? {
                    None => Ok(MergeEntry(left, right)),
                    Some(_) => Err(short(3)),
                }
            }
        }
        deserializer.deserialize_any(Pair)
    }
}

/// The two tokens of `left right`; `None` unless there is exactly one space.
pub(super) fn split_merge(line: &str) -> Option<(&str, &str)> {
    let (left, right) = line.split_once(' ')?;
    (!left.is_empty() && !right.is_empty() && !right.contains(' ')).then_some((left, right))
}

impl BpeModel {
    /// Reads the `model` value of a `tokenizer.json`.
    ///
    /// # Errors
    /// Names the model type or the setting that is not reproduced exactly.
    pub fn from_json(text: &str) -> Result<Self> {
        let bad = |error: serde_json::Error| Error::invalid(format!("model: {error}"));
        let raw: Raw = serde_json::from_str(text).map_err(|error| {
            // Of another type of model, the type says more than the first setting that is unknown.
            match serde_json::from_str::<ModelType>(text) {
                Ok(ModelType { name: Some(name) }) if name != "BPE" => refuse(
                    "model",
                    &format!("expected a model of type BPE, got {name}"),
                ),
                _ => bad(error),
            }
        })?;
        let is_text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let expected = [
            ("type", raw.kind.is_some_and(|kind| kind != "BPE"), "BPE"),
            (
                "dropout",
                raw.dropout.is_some_and(|rate| rate != 0.0),
                "null",
            ),
            ("byte_fallback", raw.byte_fallback, "false"),
            (
                "continuing_subword_prefix",
                is_text(&raw.continuing_subword_prefix),
                "null",
            ),
            (
                "end_of_word_suffix",
                is_text(&raw.end_of_word_suffix),
                "null",
            ),
        ];
        if let Some((setting, _, value)) = expected.iter().find(|(_, is_other, _)| *is_other) {
            return Err(refuse(
                "model",
                &format!("expected the setting {setting} to be {value}"),
            ));
        }
        Ok(Self {
            vocab: raw.vocab.0,
            merges: raw
                .merges
                .into_iter()
                .map(|MergeEntry(left, right)| (left, right))
                .collect(),
            ignore_merges: raw.ignore_merges,
            unk_token: raw.unk_token,
            fuse_unk: raw.fuse_unk,
            continuing_subword_prefix: raw.continuing_subword_prefix,
            end_of_word_suffix: raw.end_of_word_suffix,
        })
    }

    /// The text that [`BpeModel::from_json`] reads.
    pub fn to_json(&self) -> String {
        // Serialising strings, numbers and lists of them cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The settings, with no tokens and merges.
    #[must_use]
    pub fn without_tokens(&self) -> Self {
        Self {
            vocab: Vec::new(),
            merges: Vec::new(),
            unk_token: self.unk_token.clone(),
            continuing_subword_prefix: self.continuing_subword_prefix.clone(),
            end_of_word_suffix: self.end_of_word_suffix.clone(),
            ..*self
        }
    }
}

struct ById<'a>(Vec<&'a (String, u32)>);

impl Serialize for ById<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (token, id) in &self.0 {
            map.serialize_entry(token, id)?;
        }
        map.end()
    }
}

impl Serialize for BpeModel {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(10))?;
        map.serialize_entry("type", "BPE")?;
        map.serialize_entry("dropout", &None::<f32>)?;
        map.serialize_entry("unk_token", &self.unk_token)?;
        map.serialize_entry("continuing_subword_prefix", &self.continuing_subword_prefix)?;
        map.serialize_entry("end_of_word_suffix", &self.end_of_word_suffix)?;
        map.serialize_entry("fuse_unk", &self.fuse_unk)?;
        map.serialize_entry("byte_fallback", &false)?;
        map.serialize_entry("ignore_merges", &self.ignore_merges)?;
        let mut by_id: Vec<&(String, u32)> = self.vocab.iter().collect();
        by_id.sort_by_key(|(_, id)| *id);
        map.serialize_entry("vocab", &ById(by_id))?;
        map.serialize_entry("merges", &self.merges)?;
        map.end()
    }
}
