//! Truncation and padding, which a `tokenizer.json` may switch on.

use serde_json::{json, Value};

use super::fields::{refuse, Fields};
use crate::error::Result;

/// The end at which sequences are truncated or padded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// At the start.
    Left,
    /// At the end.
    #[default]
    Right,
}

/// Which sequence of a pair is truncated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// The end that is cut off.
    pub direction: Direction,
    /// Most tokens of the result, special ones included.
    pub max_length: usize,
    /// Which sequence of a pair is truncated.
    pub strategy: Strategy,
    /// Tokens that each overflowing part shares with the one before.
    pub stride: usize,
}

/// How sequences are padded to a common length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Padding {
    /// A fixed length; `None` for the longest of the batch.
    pub length: Option<usize>,
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

impl Direction {
    fn read(fields: &mut Fields, path: &str) -> Result<Self> {
        match fields.string("direction")?.as_str() {
            "Left" => Ok(Self::Left),
            "Right" => Ok(Self::Right),
            other => Err(refuse(path, "direction", other, "Left, Right")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Left => "Left",
            Self::Right => "Right",
        }
    }
}

impl Truncation {
    /// Reads the value at `path`.
    ///
    /// # Errors
    /// `Invalid` with the setting that is missing or unknown.
    pub fn from_json(value: &Value, path: &str) -> Result<Self> {
        let mut fields = Fields::of(value, path)?;
        let truncation = Self {
            direction: if fields.has("direction") {
                Direction::read(&mut fields, path)?
            } else {
                Direction::Right
            },
            max_length: fields.number("max_length")? as usize,
            strategy: match fields.string("strategy")?.as_str() {
                "LongestFirst" => Strategy::LongestFirst,
                "OnlyFirst" => Strategy::OnlyFirst,
                "OnlySecond" => Strategy::OnlySecond,
                other => {
                    let known = "LongestFirst, OnlyFirst, OnlySecond";
                    return Err(refuse(path, "strategy", other, known));
                }
            },
            stride: fields.number("stride")? as usize,
        };
        fields.finish()?;
        Ok(truncation)
    }

    /// The value that [`Truncation::from_json`] reads.
    pub fn to_json(&self) -> Value {
        let strategy = match self.strategy {
            Strategy::LongestFirst => "LongestFirst",
            Strategy::OnlyFirst => "OnlyFirst",
            Strategy::OnlySecond => "OnlySecond",
        };
        json!({
            "direction": self.direction.name(),
            "max_length": self.max_length,
            "strategy": strategy,
            "stride": self.stride,
        })
    }
}

impl Padding {
    /// Reads the value at `path`.
    ///
    /// # Errors
    /// `Invalid` with the setting that is missing or unknown.
    pub fn from_json(value: &Value, path: &str) -> Result<Self> {
        let mut fields = Fields::of(value, path)?;
        let length = match fields.take("strategy")? {
            Value::String(name) if name == "BatchLongest" => None,
            Value::Object(fixed) => match fixed.get("Fixed").and_then(Value::as_u64) {
                Some(length) => Some(length as usize),
                None => return Err(refuse(path, "strategy", "object", "{\"Fixed\": length}")),
            },
            other => {
                return Err(refuse(
                    path,
                    "strategy",
                    &other.to_string(),
                    "BatchLongest, Fixed",
                ))
            }
        };
        let direction = Direction::read(&mut fields, path)?;
        let multiple = fields.take("pad_to_multiple_of")?;
        let padding = Self {
            length,
            direction,
            pad_to_multiple_of: multiple.as_u64().map(|multiple| multiple as usize),
            pad_id: fields.number("pad_id")?,
            pad_type_id: fields.number("pad_type_id")?,
            pad_token: fields.string("pad_token")?,
        };
        fields.finish()?;
        Ok(padding)
    }

    /// The value that [`Padding::from_json`] reads.
    pub fn to_json(&self) -> Value {
        json!({
            "strategy": self.length.map_or(json!("BatchLongest"), |length| json!({"Fixed": length})),
            "direction": self.direction.name(),
            "pad_to_multiple_of": self.pad_to_multiple_of,
            "pad_id": self.pad_id,
            "pad_type_id": self.pad_type_id,
            "pad_token": self.pad_token,
        })
    }
}
