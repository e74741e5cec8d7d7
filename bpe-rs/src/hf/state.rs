//! An encoded input as JSON: the state that Hugging Face's `Encoding` pickles.

use serde::de::DeserializeOwned;
use serde_json::{json, Map, Value};

use super::encoded_input::EncodedInput;
use super::fragment::TokenColumns;
use crate::error::{Error, Result};

impl EncodedInput {
    /// All properties of all tokens, the overflowing parts included.
    pub fn to_json(&self) -> Value {
        let columns = self.to_columns();
        let sequences: Map<String, Value> = self
            .sequences()
            .iter()
            .map(|(id, range)| {
                let range = json!({"start": range.start, "end": range.end});
                (id.to_string(), range)
            })
            .collect();
        let overflowing: Vec<Value> = self.overflowing.iter().map(Self::to_json).collect();
        json!({
            "ids": columns.ids,
            "type_ids": columns.type_ids,
            "tokens": columns.tokens,
            "words": columns.words,
            "offsets": columns.offsets,
            "special_tokens_mask": columns.special,
            "attention_mask": columns.attention,
            "overflowing": overflowing,
            "sequence_ranges": sequences,
        })
    }

    /// The encoded input that [`EncodedInput::to_json`] described.
    ///
    /// # Errors
    /// `Invalid` for other JSON, or columns of different lengths.
    pub fn from_json(state: &Value) -> Result<Self> {
        read(state)
            .ok_or_else(|| Error::invalid("expected the state of an Encoding, got other JSON"))
    }
}

fn read(state: &Value) -> Option<EncodedInput> {
    let len = state.get("ids")?.as_array()?.len();
    let columns = TokenColumns {
        ids: column(state, "ids", len)?,
        type_ids: column(state, "type_ids", len)?,
        tokens: column(state, "tokens", len)?,
        words: column(state, "words", len)?,
        offsets: column(state, "offsets", len)?,
        special: column(state, "special_tokens_mask", len)?,
        attention: column(state, "attention_mask", len)?,
    };
    let mut sequences = Vec::new();
    for (id, range) in state.get("sequence_ranges")?.as_object()? {
        let bound = |key| range.get(key).and_then(Value::as_u64).map(|at| at as usize);
        sequences.push((id.parse().ok()?, bound("start")?..bound("end")?));
    }
    let overflowing = state.get("overflowing")?.as_array()?;
    let overflowing = overflowing.iter().map(read).collect::<Option<_>>()?;
    Some(EncodedInput::from_columns(columns, sequences, overflowing))
}

/// The list under `key`, which must have `len` items.
fn column<T: DeserializeOwned>(state: &Value, key: &str, len: usize) -> Option<Vec<T>> {
    let list: Vec<T> = serde_json::from_value(state.get(key)?.clone()).ok()?;
    (list.len() == len).then_some(list)
}
