//! Reads files of any size and format in parts of some hundred kilobytes, for counting and encoding.
//!
//! One thread at a time asks the [`Reader`] for the next part, and any thread reads it. The end of a
//! part of a large plain file is found by looking at a few kilobytes, so that several threads read
//! one file at a time, each into its own buffer. Files are read, not mapped: reading a mapped file
//! that became shorter raises SIGBUS.

use std::path::{Path, PathBuf};

use super::cuts::{Cuts, Lines, PART};
use super::open::open;
use super::part::{Content, Part};
use super::plain::PlainFile;
use super::stream::Stream;
use super::text_format::TextFormat;
use crate::error::{Error, Result};

/// Largest number of files in a part of small files.
const FILES: usize = 64;

/// Hands out the parts of several files in order.
pub(crate) struct Reader<'a, C> {
    /// The files that were not begun yet.
    paths: &'a [PathBuf],
    /// [`plain_bytes`] of the first of them, if it was looked up.
    first: Option<Option<u64>>,
    current: Option<Current<'a>>,
    cuts: &'a C,
    origin: u64,
    /// Bytes of the plain text files begun since they were last asked for.
    begun: u64,
}

enum Current<'a> {
    Plain(PlainFile<'a>),
    Stream(Stream<'a>),
}

/// The length of a regular file that is not compressed, `None` for any other. A length of zero is
/// not trusted: files in `/proc` report it although they have contents.
fn plain_bytes(path: &Path) -> Option<u64> {
    if TextFormat::of(path).is_compressed() {
        return None;
    }
    let data = std::fs::metadata(path).ok()?;
    (data.is_file() && data.len() > 0).then_some(data.len())
}

impl<'a, C: Cuts> Reader<'a, C> {
    /// Reads `paths`; the text of the first stands at `origin` in a corpus.
    pub(crate) fn new(paths: &'a [PathBuf], cuts: &'a C, origin: u64) -> Self {
        Self {
            paths,
            first: None,
            current: None,
            cuts,
            origin,
            begun: 0,
        }
    }

    /// Bytes of the plain text files begun since the last call.
    pub(crate) fn take_begun(&mut self) -> u64 {
        std::mem::take(&mut self.begun)
    }

    /// The next part; `None` after the last file. A part of a stream is read into `buffer`.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn next(&mut self, buffer: Vec<u8>) -> Result<Option<Part<'a>>> {
        if self.current.is_none() {
            if let Some(part) = self.small_files() {
                return Ok(Some(part));
            }
            let Some((path, rest)) = self.paths.split_first() else {
                return Ok(None);
            };
            (self.paths, self.first) = (rest, None);
            self.current = Some(self.begin(path)?);
        }
        let (content, text_bytes, file_bytes) = match &mut self.current {
            Some(Current::Plain(file)) => {
                let lines = file.json_lines();
                let (from, to) = if lines {
                    file.next(&Lines)?
                } else {
                    file.next(self.cuts)?
                };
                let content = Content::Stretch {
                    file: file.file(),
                    path: file.path(),
                    json_lines: lines,
                    from,
                    ends_file: file.is_done(),
                };
                (content, to - from, to - from)
            }
            Some(Current::Stream(stream)) => {
                let offset = stream.offset();
                let lines = stream.json_lines();
                let bytes = if lines {
                    stream.next(&Lines, buffer)?
                } else {
                    stream.next(self.cuts, buffer)?
                };
                let text_bytes = bytes.len() as u64;
                let content = Content::Read {
                    bytes,
                    path: stream.path(),
                    json_lines: lines,
                    offset,
                    ends_file: stream.is_done(),
                };
                (content, text_bytes, stream.take_file_bytes())
            }
            None => return Ok(None),
        };
        if let Content::Stretch {
            ends_file: true, ..
        }
        | Content::Read {
            ends_file: true, ..
        } = content
        {
            self.current = None;
        }
        let origin = self.origin;
        self.origin += text_bytes;
        Ok(Some(Part {
            content,
            origin,
            text_bytes,
            file_bytes,
        }))
    }

    /// A part of the small plain files that come next, if the next one is such a file.
    fn small_files(&mut self) -> Option<Part<'a>> {
        let (mut count, mut bytes) = (0, 0);
        while count < FILES.min(self.paths.len()) {
            let known = self.first.take().filter(|_| count == 0);
            let more = known.unwrap_or_else(|| plain_bytes(&self.paths[count]));
            match more {
                Some(more) if bytes + more <= PART as u64 => {
                    if !TextFormat::of(&self.paths[count]).json_lines {
                        self.begun += more;
                    }
                    bytes += more;
                    count += 1;
                }
                more => {
                    self.first = Some(more);
                    break;
                }
            }
        }
        if count == 0 {
            return None;
        }
        let (files, rest) = self.paths.split_at(count);
        let origin = self.origin;
        self.paths = rest;
        self.origin += bytes;
        Some(Part {
            content: Content::Files(files),
            origin,
            text_bytes: bytes,
            file_bytes: bytes,
        })
    }

    fn begin(&mut self, path: &'a Path) -> Result<Current<'a>> {
        let file = open(path)?;
        let format = TextFormat::of(path);
        let data = file.metadata().map_err(|error| Error::io(path, error))?;
        if format.is_compressed() || !data.is_file() || data.len() == 0 {
            return Ok(Current::Stream(Stream::new(file, path, format)?));
        }
        if !format.json_lines {
            self.begun += data.len();
        }
        Ok(Current::Plain(PlainFile::new(
            file,
            path,
            format.json_lines,
            data.len(),
        )))
    }
}
