//! The settings of `ByteLevel` components.

use serde_json::{json, Value};

use crate::error::Result;
use crate::format::fields::Fields;

/// The settings of a pre-tokenizer, post-processor or decoder of type `ByteLevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteLevel {
    /// Put a space before a segment that does not start with one.
    pub add_prefix_space: bool,
    /// Leave leading and trailing white space out of a token's offsets.
    pub trim_offsets: bool,
    /// Split by GPT-2's pattern.
    pub use_regex: bool,
}

impl ByteLevel {
    pub(super) fn read(fields: &mut Fields) -> Result<Self> {
        Ok(Self {
            add_prefix_space: fields.bool("add_prefix_space", true)?,
            trim_offsets: fields.bool("trim_offsets", true)?,
            use_regex: fields.bool("use_regex", true)?,
        })
    }

    pub(super) fn to_json(self) -> Value {
        json!({
            "type": "ByteLevel",
            "add_prefix_space": self.add_prefix_space,
            "trim_offsets": self.trim_offsets,
            "use_regex": self.use_regex,
        })
    }
}
