//! Parts of files, which any thread can read into its own buffer, and their text.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::cuts::PART;
use super::file::{fill, open, read_whole};
use super::stream::{Stream, TextFormat};
use crate::error::{quoted, Error, Result};

/// Some bytes of the files that can be handled independently of all others.
pub(crate) struct Part<'a> {
    pub(super) content: Content<'a>,
    /// Its chunk, or the first one, without the bytes.
    pub(super) chunk: Chunk<'a>,
    /// Bytes of text.
    pub(super) text_bytes: u64,
    /// Bytes of the files, fewer than `text_bytes` where they are compressed.
    pub(super) file_bytes: u64,
}

pub(super) enum Content<'a> {
    /// Plain files, each small and whole.
    Files(&'a [PathBuf]),
    /// A stretch of a large plain file.
    Stretch(Arc<File>),
    /// The next bytes of a stream, already read.
    Read(Vec<u8>),
}

impl Part<'_> {
    /// Bytes of text, as far as they are known before the part is read.
    pub(crate) fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Bytes of the files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Calls `visit` with the chunk of each file, in order. `buffer` is memory to read into, whatever
    /// it holds.
    ///
    /// # Errors
    /// `Io`, also where a file has become shorter; those of `visit`.
    pub(crate) fn each(
        &self,
        buffer: &mut Vec<u8>,
        mut visit: impl FnMut(Chunk<'_>) -> Result<()>,
    ) -> Result<()> {
        let Chunk { path, offset, .. } = self.chunk;
        let bytes = match &self.content {
            Content::Files(paths) => {
                let mut origin = self.chunk.origin;
                return paths.iter().try_for_each(|path| {
                    let bytes = read_whole(path, self.text_bytes, buffer)?;
                    let (begin, ends_file) = (origin, true);
                    origin += bytes.len() as u64;
                    visit(Chunk {
                        bytes,
                        ends_file,
                        ..Chunk::first(path, begin)
                    })
                });
            }
            Content::Stretch(file) => fill(file, path, offset, self.text_bytes, buffer)?,
            Content::Read(bytes) => bytes,
        };
        visit(Chunk {
            bytes,
            ..self.chunk
        })
    }

    /// The memory of a part that was read from a stream, for reuse.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        match self.content {
            Content::Read(bytes) => bytes,
            _ => Vec::new(),
        }
    }
}

/// Bytes of one file that can be handled apart: plain text, or whole lines of JSON.
#[derive(Clone, Copy)]
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
    /// Of no bytes, at the start of a file whose text stands at `origin` in that of all files.
    pub(super) fn first(path: &'a Path, origin: u64) -> Self {
        Self {
            bytes: &[],
            path,
            json_lines: TextFormat::of(path).json_lines,
            offset: 0,
            origin,
            ends_file: false,
        }
    }

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
            let stream = Stream::new(open(self.path).ok()?, self.path).ok()?;
            let mut before = stream.source.take(self.offset);
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
