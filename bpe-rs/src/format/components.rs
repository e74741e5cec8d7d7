//! The parts of a `tokenizer.json` around the model, read strictly: a component or a setting that
//! this crate would not reproduce exactly is refused by name, never skipped.

use std::collections::BTreeMap;

use serde_json::{json, Map, Value};

use super::fields::{refuse, Fields};
use crate::error::Result;

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

/// What a `Split` looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitPattern {
    /// A regular expression.
    Regex(String),
    /// These very characters.
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

/// Text to pieces.
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

/// What a special token of a template stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateToken {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Their strings, as many as `ids`.
    pub tokens: Vec<String>,
}

/// Encodings to one encoding.
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
    fn read(fields: &mut Fields) -> Result<Self> {
        Ok(Self {
            add_prefix_space: fields.bool("add_prefix_space", true)?,
            trim_offsets: fields.bool("trim_offsets", true)?,
            use_regex: fields.bool("use_regex", true)?,
        })
    }

    fn to_json(self) -> Value {
        json!({
            "type": "ByteLevel",
            "add_prefix_space": self.add_prefix_space,
            "trim_offsets": self.trim_offsets,
            "use_regex": self.use_regex,
        })
    }
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
