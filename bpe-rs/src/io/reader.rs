//! Reads files of any size and format in parts of some hundred kilobytes, for counting and encoding.
//!
//! One thread at a time asks the [`Reader`] for the next part, and any thread reads it. The end of a
//! part of a large plain file is found by looking at a few kilobytes, so that several threads read
//! one file at a time, each into its own buffer. Files are read, not mapped: reading a mapped file
//! that became shorter raises SIGBUS.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cuts::{Cuts, Lines, PART};
use super::file::{fill, open};
use super::part::{Chunk, Content, Part};
use super::stream::{Stream, TextFormat};
use crate::error::Result;

/// Largest number of files in a part of small files.
const FILES: usize = 64;
/// Bytes of the first window of a plain file that is searched for a cut.
const WINDOW: u64 = 1 << 12;
/// Bytes that the system is told to read ahead.
const AHEAD: u64 = 8 << 20;

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

/// A file of which parts are left.
struct Current<'a> {
    /// The next chunk, without the bytes.
    chunk: Chunk<'a>,
    source: Source,
}

enum Source {
    Plain(PlainFile),
    Stream(Stream),
}

/// The length of a regular file that is not compressed, `None` for any other. A length of zero is
/// not trusted: files in `/proc` report it although they have contents.
fn plain_bytes(path: &Path, data: std::io::Result<Metadata>) -> Option<u64> {
    if TextFormat::of(path).is_compressed() {
        return None;
    }
    let data = data.ok()?;
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
        let Some(Current { chunk, source }) = &mut self.current else {
            return Ok(None);
        };
        let (path, lines) = (chunk.path, chunk.json_lines);
        let (content, text_bytes, file_bytes, is_done) = match source {
            Source::Plain(file) => {
                let bytes = if lines {
                    file.next(path, &Lines)?
                } else {
                    file.next(path, self.cuts)?
                };
                let content = Content::Stretch(file.file.clone());
                (content, bytes, bytes, file.at >= file.len)
            }
            Source::Stream(stream) => {
                let bytes = if lines {
                    stream.next(path, &Lines, buffer)?
                } else {
                    stream.next(path, self.cuts, buffer)?
                };
                let text_bytes = bytes.len() as u64;
                let file_bytes = stream.take_file_bytes();
                (Content::Read(bytes), text_bytes, file_bytes, stream.is_done)
            }
        };
        let part = Part {
            content,
            chunk: Chunk {
                origin: self.origin,
                ends_file: is_done,
                ..*chunk
            },
            text_bytes,
            file_bytes,
        };
        chunk.offset += text_bytes;
        self.origin += text_bytes;
        if is_done {
            self.current = None;
        }
        Ok(Some(part))
    }

    /// A part of the small plain files that come next, if the next one is such a file.
    fn small_files(&mut self) -> Option<Part<'a>> {
        let (mut count, mut bytes) = (0, 0);
        while count < FILES.min(self.paths.len()) {
            let path = &self.paths[count];
            let known = self.first.take().filter(|_| count == 0);
            let more = known.unwrap_or_else(|| plain_bytes(path, std::fs::metadata(path)));
            let Some(small) = more.filter(|more| bytes + more <= PART as u64) else {
                self.first = Some(more);
                break;
            };
            self.note_begun(path, small);
            bytes += small;
            count += 1;
        }
        let (files, rest) = self.paths.split_at(count);
        let chunk = Chunk::first(files.first()?, self.origin);
        self.paths = rest;
        self.origin += bytes;
        Some(Part {
            content: Content::Files(files),
            chunk,
            text_bytes: bytes,
            file_bytes: bytes,
        })
    }

    fn begin(&mut self, path: &'a Path) -> Result<Current<'a>> {
        let file = open(path)?;
        let source = match plain_bytes(path, file.metadata()) {
            None => Source::Stream(Stream::new(file, path)?),
            Some(len) => {
                self.note_begun(path, len);
                Source::Plain(PlainFile {
                    file: Arc::new(file),
                    len,
                    at: 0,
                    advised: 0,
                    window: Vec::new(),
                })
            }
        };
        let chunk = Chunk::first(path, self.origin);
        Ok(Current { chunk, source })
    }

    fn note_begun(&mut self, path: &Path, bytes: u64) {
        if !TextFormat::of(path).json_lines {
            self.begun += bytes;
        }
    }
}

/// A large plain file, cut into stretches one after the other.
struct PlainFile {
    file: Arc<File>,
    /// Length of the file when it was opened; bytes that are appended later are ignored.
    len: u64,
    /// The start of the next stretch.
    at: u64,
    /// The system was told to read ahead up to here.
    advised: u64,
    window: Vec<u8>,
}

impl PlainFile {
    /// The length of the next stretch; `path` is for messages.
    ///
    /// # Errors
    /// `Io`, also where the file has become shorter.
    fn next(&mut self, path: &Path, cuts: &impl Cuts) -> Result<u64> {
        if self.at + AHEAD > self.advised {
            read_ahead(&self.file, self.advised, AHEAD);
            self.advised += AHEAD;
        }
        let from = self.at;
        self.at = self.end(path, cuts)?;
        Ok(self.at - from)
    }

    /// The end of the stretch that starts at `self.at`: the last cut of a window at its end, which
    /// is made larger until it has one, first towards the start, then beyond.
    fn end(&mut self, path: &Path, cuts: &impl Cuts) -> Result<u64> {
        if !cuts.exist() {
            return Ok(self.len);
        }
        let (mut near, mut window, mut searched) = (self.at + PART as u64, WINDOW, self.at);
        while near < self.len {
            let from = searched.max(near.saturating_sub(window));
            let context = (cuts.context() as u64).min(from - self.at);
            let start = from - context;
            let bytes = fill(&self.file, path, start, near - start, &mut self.window)?;
            if let Some(cut) = cuts.last_cut(bytes, context as usize) {
                return Ok(start + cut as u64);
            }
            if from > searched {
                window *= 16;
            } else {
                searched = near - 1;
                near += window.max(PART as u64);
            }
        }
        Ok(self.len)
    }
}

/// Tells the system that these bytes will be read soon.
fn read_ahead(file: &File, from: u64, len: u64) {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use std::os::fd::AsRawFd;
        let (from, len) = (from as libc::off64_t, len as libc::off64_t);
        // SAFETY: an open file; the call reads no memory of ours.
        unsafe { libc::posix_fadvise64(file.as_raw_fd(), from, len, libc::POSIX_FADV_WILLNEED) };
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = (file, from, len);
}
