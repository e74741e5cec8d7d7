//! Decoders turn tokens into text.

use serde_json::{json, Value};

use super::byte_level::ByteLevel;
use crate::error::Result;
use crate::format::fields::{refuse, Fields};

/// Turns tokens into text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// The byte-level alphabet back to bytes; invalid UTF-8 becomes `U+FFFD`.
    ByteLevel(ByteLevel),
    /// The same, wrapped in a sequence of one.
    Sequence(Box<Decoder>),
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
