//! Post-processors put special tokens around encodings and trim offsets.

use std::collections::BTreeMap;

use serde_json::{json, Map, Value};

use super::byte_level::ByteLevel;
use crate::error::Result;
use crate::format::fields::{refuse, Fields};

/// One item of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateItem {
    /// The first (0) or second (1) sequence.
    Sequence {
        /// 0 for `$A`, 1 for `$B`.
        index: usize,
        /// The type id that its tokens get.
        type_id: u32,
    },
    /// A special token by name.
    Special {
        /// Its key among the template's special tokens.
        name: String,
        /// The type id that it gets.
        type_id: u32,
    },
}

/// The tokens that a special token of a template stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateToken {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Their strings, as many as `ids`.
    pub tokens: Vec<String>,
}

/// Makes one encoding of one or two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostProcessor {
    /// Trims offsets.
    ByteLevel(ByteLevel),
    /// Puts special tokens around the sequences.
    Template {
        /// For one sequence.
        single: Vec<TemplateItem>,
        /// For two.
        pair: Vec<TemplateItem>,
        /// The special tokens that the two name.
        special_tokens: BTreeMap<String, TemplateToken>,
    },
    /// One after the other.
    Sequence(Vec<PostProcessor>),
}

impl TemplateItem {
    fn from_json(value: &Value, path: &str) -> Result<Self> {
        let mut outer = Fields::of(value, path)?;
        let is_sequence = outer.has("Sequence");
        let inner = outer.take(if is_sequence {
            "Sequence"
        } else {
            "SpecialToken"
        })?;
        outer.finish()?;
        let mut fields = Fields::of(&inner, path)?;
        let name = fields.string("id")?;
        let type_id = fields.number("type_id")?;
        fields.finish()?;
        if !is_sequence {
            return Ok(Self::Special { name, type_id });
        }
        match name.as_str() {
            "A" => Ok(Self::Sequence { index: 0, type_id }),
            "B" => Ok(Self::Sequence { index: 1, type_id }),
            other => Err(refuse(path, "template sequence", other, "A, B")),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Sequence { index, type_id } => {
                json!({"Sequence": {"id": if *index == 0 { "A" } else { "B" }, "type_id": type_id}})
            }
            Self::Special { name, type_id } => {
                json!({"SpecialToken": {"id": name, "type_id": type_id}})
            }
        }
    }
}

impl TemplateToken {
    fn from_json(value: &Value, path: &str) -> Result<Self> {
        let mut fields = Fields::of(value, path)?;
        let _name = fields.string("id")?;
        let ids = fields.list("ids", |value, path| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| refuse(path, "token id", &value.to_string(), "a number below 2^32"))
        })?;
        let tokens: Vec<String> = fields.list("tokens", |value, path| match value {
            Value::String(token) => Ok(token.clone()),
            other => Err(refuse(path, "token", &other.to_string(), "a string")),
        })?;
        fields.finish()?;
        if ids.len() != tokens.len() {
            let got = format!("{} ids and {} tokens", ids.len(), tokens.len());
            return Err(refuse(path, "special token", &got, "as many ids as tokens"));
        }
        Ok(Self { ids, tokens })
    }
}

impl PostProcessor {
    /// Reads the value at `path`.
    ///
    /// # Errors
    /// Names the component or setting that is not reproduced exactly, or the template token that
    /// is not defined.
    pub fn from_json(value: &Value, path: &str) -> Result<Self> {
        let mut fields = Fields::of(value, path)?;
        let processor = match fields.kind()?.as_str() {
            "ByteLevel" => Self::ByteLevel(ByteLevel::read(&mut fields)?),
            "TemplateProcessing" => Self::read_template(&mut fields, path)?,
            "Sequence" => Self::Sequence(fields.list("processors", Self::from_json)?),
            other => {
                let known = "ByteLevel, TemplateProcessing, Sequence";
                return Err(refuse(path, "post-processor", other, known));
            }
        };
        fields.finish()?;
        Ok(processor)
    }

    fn read_template(fields: &mut Fields, path: &str) -> Result<Self> {
        let single = fields.list("single", TemplateItem::from_json)?;
        let pair = fields.list("pair", TemplateItem::from_json)?;
        let mut special_tokens = BTreeMap::new();
        if let Value::Object(entries) = fields.take("special_tokens")? {
            for (name, token) in &entries {
                let path = format!("{path}.special_tokens[{name:?}]");
                special_tokens.insert(name.clone(), TemplateToken::from_json(token, &path)?);
            }
        }
        for item in single.iter().chain(&pair) {
            if let TemplateItem::Special { name, .. } = item {
                if !special_tokens.contains_key(name) {
                    return Err(refuse(
                        path,
                        "template token",
                        name,
                        "one of special_tokens",
                    ));
                }
            }
        }
        Ok(Self::Template {
            single,
            pair,
            special_tokens,
        })
    }

    /// The value that [`PostProcessor::from_json`] reads.
    pub fn to_json(&self) -> Value {
        match self {
            Self::ByteLevel(settings) => settings.to_json(),
            Self::Template {
                single,
                pair,
                special_tokens,
            } => {
                let tokens: Map<String, Value> = special_tokens
                    .iter()
                    .map(|(name, token)| {
                        let value = json!({"id": name, "ids": token.ids, "tokens": token.tokens});
                        (name.clone(), value)
                    })
                    .collect();
                json!({
                    "type": "TemplateProcessing",
                    "single": single.iter().map(TemplateItem::to_json).collect::<Vec<_>>(),
                    "pair": pair.iter().map(TemplateItem::to_json).collect::<Vec<_>>(),
                    "special_tokens": tokens,
                })
            }
            Self::Sequence(items) => json!({
                "type": "Sequence",
                "processors": items.iter().map(Self::to_json).collect::<Vec<_>>(),
            }),
        }
    }
}
