//! Normalizers change the text before it is cut.

use serde_json::{json, Value};

use crate::error::Result;
use crate::format::fields::{refuse, Fields};

/// Changes the text before it is cut.
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
