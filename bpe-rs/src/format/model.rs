//! The `model` of a `tokenizer.json`: a vocabulary and its merges.

use std::borrow::Cow;
use std::fmt;

use foldhash::{HashMap, HashMapExt};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::components::refuse;
use crate::error::{quoted, Error, Result};

/// A byte-pair model as files hold it: its tokens are strings, in the byte-level alphabet or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BpeModel {
    /// Every token with its id, in file order.
    pub vocab: Vec<(String, u32)>,
    /// Pairs of ids, the first is merged first.
    pub merges: Vec<(u32, u32)>,
    /// The probability with which each merge is left out; 0 and `None` mean the same.
    pub dropout: Option<f32>,
    /// Take a piece that is a token whole, before any merging.
    pub ignore_merges: bool,
    /// The token for characters that have none; without one they are dropped.
    pub unk_token: Option<String>,
    /// Whether neighbouring unknown tokens become one.
    pub fuse_unk: bool,
    /// Whether tokens `<0x00>` to `<0xFF>` stand for the bytes of characters that have no token.
    pub byte_fallback: bool,
    /// What tokens begin with, but at the start of a piece. Empty and `None` mean the same.
    pub continuing_subword_prefix: Option<String>,
    /// What tokens at the end of a piece end with. Empty and `None` mean the same.
    pub end_of_word_suffix: Option<String>,
}

#[derive(Deserialize)]
struct ModelType {
    #[serde(rename = "type")]
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModel<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    dropout: Option<f32>,
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
    #[serde(borrow)]
    merges: Vec<MergeEntry<'a>>,
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

/// `"a b"` (files before 2024) or `["a", "b"]`, borrowed from the text of the file where nothing is
/// escaped.
struct MergeEntry<'a>(Cow<'a, str>, Cow<'a, str>);

#[derive(Deserialize)]
struct Token<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for MergeEntry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pair;
        fn split<E: serde::de::Error>(text: &str) -> std::result::Result<(&str, &str), E> {
            split_merge(text).ok_or_else(|| {
                E::custom(format!(
                    "expected a merge \"left right\", got {}",
                    quoted(text)
                ))
            })
        }
        impl<'de> Visitor<'de> for Pair {
            type Value = MergeEntry<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge: \"left right\" or [\"left\", \"right\"]")
            }

            fn visit_borrowed_str<E: serde::de::Error>(
                self,
                text: &'de str,
            ) -> std::result::Result<MergeEntry<'de>, E> {
                split(text).map(|(left, right)| MergeEntry(left.into(), right.into()))
            }

            fn visit_str<E: serde::de::Error>(
                self,
                text: &str,
            ) -> std::result::Result<MergeEntry<'de>, E> {
                let (left, right) = split(text)?;
                Ok(MergeEntry(left.to_owned().into(), right.to_owned().into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<MergeEntry<'de>, A::Error> {
                let short = |count| serde::de::Error::invalid_length(count, &"two tokens");
                let Token(left) = seq.next_element()?.ok_or_else(|| short(0))?;
                let Token(right) = seq.next_element()?.ok_or_else(|| short(1))?;
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
        let raw = serde_json::from_str(text).map_err(|error| {
            other_type(text).unwrap_or_else(|| Error::invalid(format!("model: {error}")))
        })?;
        Self::from_raw(raw)
    }

    /// [`BpeModel::from_json`] of a value that was read with the rest of the file.
    pub(super) fn from_raw(raw: RawModel<'_>) -> Result<Self> {
        let expected = [("type", raw.kind.is_some_and(|kind| kind != "BPE"), "BPE")];
        if let Some((setting, _, value)) = expected.iter().find(|(_, is_other, _)| *is_other) {
            return Err(refuse(
                "model",
                &format!("expected the setting {setting} to be {value}"),
            ));
        }
        if raw.dropout.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            return Err(refuse("model", "expected dropout between 0 and 1"));
        }
        let merges = raw
            .merges
            .iter()
            .map(|MergeEntry(left, right)| (&left[..], &right[..]));
        let merges = merge_ids(&raw.vocab.0, merges, "model.merges")?;
        Ok(Self {
            vocab: raw.vocab.0,
            merges,
            dropout: raw.dropout,
            ignore_merges: raw.ignore_merges,
            unk_token: raw.unk_token,
            fuse_unk: raw.fuse_unk,
            byte_fallback: raw.byte_fallback,
            continuing_subword_prefix: raw.continuing_subword_prefix,
            end_of_word_suffix: raw.end_of_word_suffix,
        })
    }

    /// The setting with which this is no model of bytes alone: affixes and byte fallback are about
    /// characters.
    pub(crate) fn character_setting(&self) -> Option<&'static str> {
        let is_text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let settings = [
            ("byte_fallback", self.byte_fallback),
            (
                "continuing_subword_prefix",
                is_text(&self.continuing_subword_prefix),
            ),
            ("end_of_word_suffix", is_text(&self.end_of_word_suffix)),
        ];
        settings
            .iter()
            .find(|(_, is_set)| *is_set)
            .map(|(name, _)| *name)
    }

    /// The text that [`BpeModel::from_json`] reads.
    pub fn to_json(&self) -> String {
        // Serialising strings, numbers and lists of them cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The tokens of each merge; empty ones for ids that are not in the vocabulary.
    pub fn merged_tokens(&self) -> impl Iterator<Item = (&str, &str)> {
        let tokens = self.vocab.iter().map(|(token, id)| (*id, &token[..]));
        let tokens: HashMap<u32, &str> = tokens.collect();
        self.merges.iter().map(move |(left, right)| {
            let token = |id| tokens.get(id).copied().unwrap_or_default();
            (token(left), token(right))
        })
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

/// The error for a model whose type is not BPE, which says more than that of the first setting that is
/// unknown.
pub(super) fn other_type(model: &str) -> Option<Error> {
    let ModelType { name } = serde_json::from_str(model).ok()?;
    let name = name.filter(|name| name != "BPE")?;
    let problem = format!("expected a model of type BPE, got {name}");
    Some(refuse("model", &problem))
}

/// The ids of pairs of tokens, which the file has at `path`.
///
/// # Errors
/// `Invalid` with the token that is not in the vocabulary, or there twice, or has another's id.
pub(super) fn merge_ids<'a>(
    vocab: &[(String, u32)],
    merges: impl Iterator<Item = (&'a str, &'a str)>,
    path: &str,
) -> Result<Vec<(u32, u32)>> {
    let mut ids = HashMap::with_capacity(vocab.len());
    let mut tokens = HashMap::with_capacity(vocab.len());
    for (token, id) in vocab {
        let twice = match (ids.insert(&token[..], *id), tokens.insert(*id, token)) {
            (Some(_), _) => format!("tokens, got {} twice", quoted(token)),
            (_, Some(_)) => format!("ids, got {id} twice (again for {})", quoted(token)),
            _ => continue,
        };
        return Err(Error::invalid(format!(
            "model.vocab: expected distinct {twice}"
        )));
    }
    let find = |token: &str| {
        ids.get(token).copied().ok_or_else(|| {
            Error::invalid(format!(
                "{path}: expected tokens of the vocabulary, got {}",
                quoted(token)
            ))
        })
    };
    merges
        .map(|(left, right)| Ok((find(left)?, find(right)?)))
        .collect()
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
        map.serialize_entry("dropout", &self.dropout)?;
        map.serialize_entry("unk_token", &self.unk_token)?;
        map.serialize_entry("continuing_subword_prefix", &self.continuing_subword_prefix)?;
        map.serialize_entry("end_of_word_suffix", &self.end_of_word_suffix)?;
        map.serialize_entry("fuse_unk", &self.fuse_unk)?;
        map.serialize_entry("byte_fallback", &self.byte_fallback)?;
        map.serialize_entry("ignore_merges", &self.ignore_merges)?;
        let mut by_id: Vec<&(String, u32)> = self.vocab.iter().collect();
        by_id.sort_by_key(|(_, id)| *id);
        map.serialize_entry("vocab", &ById(by_id))?;
        map.serialize_entry("merges", &self.merged_tokens().collect::<Vec<_>>())?;
        map.end()
    }
}
