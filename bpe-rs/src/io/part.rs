//! Parts of files, which any thread can read into its own buffer.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chunk::Chunk;
use super::plain::{fill, read_whole};
use super::text_format::TextFormat;
use crate::error::Result;

/// Some bytes of the files that can be handled independently of all others.
pub(crate) struct Part<'a> {
    pub(super) content: Content<'a>,
    /// Place of the text in all files' text.
    pub(super) origin: u64,
    /// Bytes of text.
    pub(super) text_bytes: u64,
    /// Bytes of the files, fewer than `text_bytes` where they are compressed.
    pub(super) file_bytes: u64,
}

pub(super) enum Content<'a> {
    /// Plain files, each small and whole.
    Files(&'a [PathBuf]),
    /// A stretch of a large plain file.
    Stretch {
        file: Arc<File>,
        path: &'a Path,
        json_lines: bool,
        from: u64,
        ends_file: bool,
    },
    /// The next bytes of a stream, already read.
    Read {
        bytes: Vec<u8>,
        path: &'a Path,
        json_lines: bool,
        offset: u64,
        ends_file: bool,
    },
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

    /// Calls `visit` with each chunk of text, in order: one for each file. `buffer` is memory to
    /// read into; what it holds does not matter.
    ///
    /// # Errors
    /// `Io`, also where a file has become shorter; those of `visit`.
    pub(crate) fn each(
        &self,
        buffer: &mut Vec<u8>,
        mut visit: impl FnMut(Chunk<'_>) -> Result<()>,
    ) -> Result<()> {
        match &self.content {
            Content::Files(paths) => {
                let mut origin = self.origin;
                paths.iter().try_for_each(|path| {
                    let bytes = read_whole(path, self.text_bytes, buffer)?;
                    let chunk = Chunk {
                        bytes,
                        path,
                        json_lines: TextFormat::of(path).json_lines,
                        offset: 0,
                        origin,
                        ends_file: true,
                    };
                    origin += bytes.len() as u64;
                    visit(chunk)
                })
            }
            Content::Stretch {
                file,
                path,
                json_lines,
                from,
                ends_file,
            } => visit(Chunk {
                bytes: fill(file, path, *from, self.text_bytes, buffer)?,
                path,
                json_lines: *json_lines,
                offset: *from,
                origin: self.origin,
                ends_file: *ends_file,
            }),
            Content::Read {
                bytes,
                path,
                json_lines,
                offset,
                ends_file,
            } => visit(Chunk {
                bytes,
                path,
                json_lines: *json_lines,
                offset: *offset,
                origin: self.origin,
                ends_file: *ends_file,
            }),
        }
    }

    /// The memory of a part that was read from a stream, for reuse.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        match self.content {
            Content::Read { bytes, .. } => bytes,
            _ => Vec::new(),
        }
    }
}
