//! Files as chunks of text, whatever their form: a few megabytes of memory for any size.

use std::collections::VecDeque;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::io::{self, Form};

use super::text::Splitter;

/// Bytes that are read at a time: what the second cache holds while it is checked, cut, counted.
pub(super) const CHUNK: usize = 1 << 18;

/// A piece of a file that can be counted apart from the others.
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) lines_of_json: bool,
    /// Place in the whole corpus.
    pub(super) origin: u64,
    /// Place in the file, for messages.
    pub(super) offset: u64,
    pub(super) path: Arc<PathBuf>,
}

/// Hands out the chunks of several files, one after the other.
pub(super) struct FileReader {
    waiting: VecDeque<PathBuf>,
    open: Option<OpenFile>,
    origin: u64,
    read: Arc<AtomicU64>,
}

struct OpenFile {
    source: Box<dyn Read + Send>,
    path: Arc<PathBuf>,
    lines_of_json: bool,
    /// Read, but behind the last cut.
    carry: Vec<u8>,
    offset: u64,
}

/// Counts what passes, so that progress is measured in bytes of the file even if it is packed.
struct Metered<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl FileReader {
    /// `read` grows by the bytes read from the files.
    pub(super) fn new(paths: &[PathBuf], origin: u64, read: Arc<AtomicU64>) -> Self {
        Self {
            waiting: paths.iter().cloned().collect(),
            open: None,
            origin,
            read,
        }
    }

    /// Where the corpus ends after the chunks handed out so far.
    pub(super) fn origin(&self) -> u64 {
        self.origin
    }

    /// The next chunk, in `buffer`'s memory; `None` behind the last file.
    pub(super) fn next(&mut self, splitter: &Splitter, buffer: Vec<u8>) -> Result<Option<Chunk>> {
        let mut buffer = buffer;
        loop {
            if self.open.is_none() {
                let Some(path) = self.waiting.pop_front() else {
                    return Ok(None);
                };
                self.open = Some(OpenFile::open(&path, &self.read)?);
            }
            let Some(file) = &mut self.open else { continue };
            let more = file.fill(splitter, &mut buffer)?;
            let (path, lines_of_json, offset) =
                (file.path.clone(), file.lines_of_json, file.offset);
            file.offset += buffer.len() as u64;
            if !more {
                self.open = None;
            }
            if !buffer.is_empty() {
                let origin = self.origin;
                self.origin += buffer.len() as u64;
                return Ok(Some(Chunk {
                    bytes: buffer,
                    lines_of_json,
                    origin,
                    offset,
                    path,
                }));
            }
        }
    }
}

impl OpenFile {
    fn open(path: &Path, read: &Arc<AtomicU64>) -> Result<Self> {
        let file = Metered {
            inner: io::open(path)?,
            read: read.clone(),
        };
        let form = Form::of(path);
        let source = form.unpack(file, path)?;
        let lines_of_json = form.json_lines;
        let path = Arc::new(path.to_path_buf());
        Ok(Self {
            source,
            path,
            lines_of_json,
            carry: Vec::new(),
            offset: 0,
        })
    }

    /// Put the next chunk into `buffer`. `false` if it is the file's last.
    fn fill(&mut self, splitter: &Splitter, buffer: &mut Vec<u8>) -> Result<bool> {
        buffer.clear();
        buffer.append(&mut self.carry);
        let mut searched = 0;
        loop {
            let had = buffer.len();
            // A margin, so that no look-up of a short word at the very end needs a copy.
            buffer.reserve_exact(CHUNK + 16);
            let mut part = self.source.by_ref().take(CHUNK as u64);
            part.read_to_end(buffer)
                .map_err(|error| Error::io(self.path.as_ref(), error))?;
            if buffer.len() - had < CHUNK {
                return Ok(false);
            }
            let cut = if self.lines_of_json {
                memchr::memrchr(b'\n', &buffer[had..]).map(|at| had + at + 1)
            } else {
                splitter.last_cut(buffer, searched)
            };
            if let Some(cut) = cut {
                self.carry.extend_from_slice(&buffer[cut..]);
                buffer.truncate(cut);
                return Ok(true);
            }
            searched = buffer.len() - 1;
        }
    }
}
