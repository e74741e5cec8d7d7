//! An encoded input as JSON: the state that Hugging Face's `Encoding` pickles.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::encoded_input::EncodedInput;
use super::fragment::TokenColumns;
use crate::error::{Error, Result};

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(flatten)]
    columns: TokenColumns,
    overflowing: Vec<State>,
    sequence_ranges: BTreeMap<usize, Range<usize>>,
}

impl EncodedInput {
    /// All properties of all tokens, the overflowing parts included.
    pub fn to_json(&self) -> String {
        // Serialising strings, numbers and lists of them cannot fail.
        serde_json::to_string(&self.state()).unwrap_or_default()
    }

    fn state(&self) -> State {
        State {
            columns: self.to_columns(),
            overflowing: self.overflowing.iter().map(Self::state).collect(),
            sequence_ranges: self.sequences().iter().cloned().collect(),
        }
    }

    /// The encoded input that [`EncodedInput::to_json`] described.
    ///
    /// # Errors
    /// `Invalid` for other JSON, or columns of different lengths.
    pub fn from_json(state: &[u8]) -> Result<Self> {
        let expected = |problem: String| {
            Error::invalid(format!("expected the state of an Encoding: {problem}"))
        };
        let state = serde_json::from_slice(state).map_err(|error| expected(error.to_string()))?;
        Self::from_state(state).ok_or_else(|| expected("its lists differ in length".into()))
    }

    fn from_state(state: State) -> Option<Self> {
        let overflowing = state.overflowing.into_iter().map(Self::from_state);
        let overflowing = overflowing.collect::<Option<_>>()?;
        let sequences = state.sequence_ranges.into_iter().collect();
        let columns = state.columns;
        let is_even = columns.is_even();
        is_even.then(|| Self::from_columns(columns, sequences, overflowing))
    }
}
