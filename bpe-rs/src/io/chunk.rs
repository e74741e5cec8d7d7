//! A chunk of one file's bytes as text.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Bytes of one file that can be handled apart: plain text, or whole lines of JSON.
pub(crate) struct Chunk<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) path: &'a Path,
    /// Each line is a JSON object, one of whose fields is a text.
    pub(crate) json_lines: bool,
    /// Place in the file's text, for messages.
    pub(super) offset: u64,
    /// Place in the text of all files.
    pub(crate) origin: u64,
    /// Whether the file ends here.
    pub(crate) ends_file: bool,
}

impl<'a> Chunk<'a> {
    /// Number of bytes.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The bytes as text.
    ///
    /// # Errors
    /// `Invalid` where they are not UTF-8.
    pub(crate) fn text(&self) -> Result<&'a str> {
        simdutf8::compat::from_utf8(self.bytes).map_err(|error| {
            let at = error.valid_up_to();
            Error::invalid(format!(
                "{}: expected UTF-8 text, got the byte 0x{:02x} at offset {}: convert the file \
                 first",
                self.path.display(),
                self.bytes[at],
                self.offset + at as u64
            ))
        })
    }

    /// Calls `visit(text, origin)` with the string under `field` of each line that is not blank.
    ///
    /// # Errors
    /// `Invalid` for a line without such a string; those of `visit`.
    pub(crate) fn each_line(
        &self,
        field: &str,
        mut visit: impl FnMut(&str, u64) -> Result<()>,
    ) -> Result<()> {
        let mut at = 0;
        for line in self.text()?.split_inclusive('\n') {
            if !line.trim().is_empty() {
                let text = string_under(field, line).map_err(|problem| {
                    Error::invalid(format!(
                        "{}: offset {}: expected a line of JSON, {problem}",
                        self.path.display(),
                        self.offset + at
                    ))
                })?;
                visit(&text, self.origin + at)?;
            }
            at += line.len() as u64;
        }
        Ok(())
    }
}

/// The string under `field` of a JSON object, or what is wrong.
fn string_under(field: &str, object: &str) -> std::result::Result<String, String> {
    let mut object: Map<String, Value> =
        serde_json::from_str(object).map_err(|error| format!("got {error}"))?;
    let kind = match object.remove(field) {
        Some(Value::String(text)) => return Ok(text),
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "an object",
        None => {
            let names: Vec<&str> = object.keys().take(8).map(String::as_str).collect();
            return Err(format!("got no field {field:?}, only {}", names.join(", ")));
        }
    };
    Err(format!("expected a string under {field:?}, got {kind}"))
}
