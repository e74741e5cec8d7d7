//! Truncation and padding.

use serde::{Deserialize, Serialize};

use super::Component;

/// The end at which sequences are truncated or padded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// At the start.
    Left,
    /// At the end.
    #[default]
    Right,
}

/// Which sequence of a pair is truncated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truncation {
    /// The end that is cut off.
    #[serde(default)]
    pub direction: Direction,
    /// Most tokens of the result, special ones included.
    pub max_length: usize,
    /// Which sequence of a pair is truncated.
    pub strategy: Strategy,
    /// Tokens that each overflowing part shares with the one before.
    pub stride: usize,
}

impl Component for Truncation {}

/// To which length sequences are padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaddingLength {
    /// That of the longest of the batch.
    BatchLongest,
    /// This one.
    Fixed(usize),
}

/// How sequences are padded to a common length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Padding {
    /// The common length.
    pub strategy: PaddingLength,
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

impl Component for Padding {}
