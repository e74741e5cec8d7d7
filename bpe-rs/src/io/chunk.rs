//! A chunk of one file's bytes as text.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::cuts::PART;
use super::open::open;
use super::text_format::TextFormat;
use crate::error::{quoted, Error, Result};

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
                self.place(at),
                self.bytes[at],
                self.offset + at as u64
            ))
        })
    }

    /// The file and, in JSON lines, the line of a byte of the chunk, for messages.
    fn place(&self, at: usize) -> String {
        let path = self.path.display();
        match self.line_number(at).filter(|_| self.json_lines) {
            Some(line) => format!("{path}, line {line}"),
            None => path.to_string(),
        }
    }

    /// The number of the line that a byte of the chunk is in. Lines are counted only for an error:
    /// the text before the chunk is read again, which is not possible for a pipe.
    fn line_number(&self, at: usize) -> Option<usize> {
        let newlines = |bytes: &[u8]| memchr::memchr_iter(b'\n', bytes).count();
        let mut line = 1 + newlines(&self.bytes[..at]);
        if self.offset > 0 {
            std::fs::metadata(self.path)
                .ok()
                .filter(|data| data.is_file())?;
            let text = TextFormat::of(self.path).decompress(open(self.path).ok()?, self.path);
            let mut before = text.ok()?.take(self.offset);
            let mut buffer = vec![0; PART];
            loop {
                match before.read(&mut buffer).ok()? {
                    0 => break,
                    count => line += newlines(&buffer[..count]),
                }
            }
        }
        Some(line)
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
                    let (place, offset) = (self.place(at), self.offset + at as u64);
                    Error::invalid(format!(
                        "{place}: offset {offset}: expected a line of JSON, {problem}"
                    ))
                })?;
                visit(&text, self.origin + at as u64)?;
            }
            at += line.len();
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
            let (field, names) = (quoted(field), names.join(", "));
            return Err(format!("got no field {field}, only {names}"));
        }
    };
    Err(format!(
        "expected a string under {}, got {kind}",
        quoted(field)
    ))
}
