//! Files to ids: mapped or unpacked, cut into parts, encoded by all threads, written in order.
//!
//! Memory stays bounded whatever the size: a round of parts is encoded and written before the
//! next is looked at.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::encode::Scratch;
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::format::idwriter::IdWriter;
use crate::threads::{self, ReusableBuffers};
use crate::unpack::{self, Form};

mod rules;

use rules::{Rules, PART};

/// How files are read.
#[derive(Debug)]
pub struct FileOptions {
    /// A special token's text: ends a document where it stands in plain text, and its id is
    /// written after every document.
    pub separator: Option<String>,
    /// Whether other special tokens in the text become their ids; otherwise they are plain text.
    pub special_tokens: bool,
    /// The field of JSON lines that holds the text.
    pub field: String,
    /// Threads.
    pub threads: usize,
}

/// Told the bytes of text done; an error stops the work.
pub type Progress<'a> = dyn FnMut(u64) -> Result<()> + Send + 'a;

/// Parts of a round for each thread: enough to even out, few enough for memory.
const ROUND: usize = 32;

/// Encode `paths` in order: plain UTF-8 text, or JSON lines (`.jsonl`, `.ndjson`), either packed
/// (`.gz`, `.zst`) or not. `done`: bytes that earlier calls have done, which `progress` counts in;
/// returns the new number.
///
/// Errors: `Io`, also for bytes that are not packed as the name says; `Invalid` for bytes that are
/// not UTF-8 or not JSON; and what `progress` returns.
pub fn encode_files(
    encoding: &Encoding,
    paths: &[PathBuf],
    options: &FileOptions,
    done: u64,
    progress: &mut Progress<'_>,
    out: &mut IdWriter,
) -> Result<u64> {
    let mut job = Job::new(encoding, options, done, progress, out)?;
    paths.iter().try_for_each(|path| job.file(path))?;
    Ok(job.done)
}

/// Encode documents that the caller has read, in order; the rest as in [`encode_files`].
///
/// Errors: `Io`, and what `progress` returns.
pub fn encode_documents(
    encoding: &Encoding,
    documents: &[&str],
    options: &FileOptions,
    done: u64,
    progress: &mut Progress<'_>,
    out: &mut IdWriter,
) -> Result<u64> {
    let mut job = Job::new(encoding, options, done, progress, out)?;
    job.documents(documents)?;
    Ok(job.done)
}

struct Job<'a, 'p> {
    rules: Rules<'a>,
    progress: &'a mut Progress<'p>,
    done: u64,
    out: &'a mut IdWriter,
    /// A thread's ids, and what becomes of them.
    buffers: ReusableBuffers<Vec<u32>, Vec<u8>>,
}

impl<'a, 'p> Job<'a, 'p> {
    fn new(
        encoding: &'a Encoding,
        options: &'a FileOptions,
        done: u64,
        progress: &'a mut Progress<'p>,
        out: &'a mut IdWriter,
    ) -> Result<Self> {
        Ok(Self {
            rules: Rules::new(encoding, options)?,
            progress,
            done,
            out,
            buffers: ReusableBuffers::default(),
        })
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        let file = unpack::open(path)?;
        let data = file.metadata().map_err(|error| Error::io(path, error))?;
        let form = Form::of(path);
        // Pipes and the system's own files say that they are empty.
        if form.is_plain_text() && data.is_file() && data.len() > 0 {
            return self.mapped(path, &file);
        }
        self.stream(path, form.unpack(file, path)?, form.json_lines)
    }

    /// A plain file, mapped.
    fn mapped(&mut self, path: &Path, file: &File) -> Result<()> {
        // SAFETY: sound while nobody changes the file, which nothing can promise: what is cut off
        // meanwhile stops the process (SIGBUS), and bytes that change between their check and
        // their use are no text any more. The docstring asks to leave it alone.
        let map = unsafe { Mmap::map(file) }.map_err(|error| Error::io(path, error))?;
        #[cfg(unix)]
        let _ = map.advise(memmap2::Advice::Sequential);
        // A token has a byte at least.
        self.out.expect(map.len());
        let end = self.text(path, &map, 0, true)?;
        debug_assert_eq!(end, map.len());
        self.end_document()
    }

    /// A packed file, JSON lines or a pipe, a block at a time.
    fn stream(&mut self, path: &Path, mut source: Box<dyn Read + Send>, json: bool) -> Result<()> {
        let block = (PART * ROUND * self.rules.threads()) as u64;
        let (mut buffer, mut offset) = (Vec::new(), 0);
        loop {
            let had = buffer.len();
            let read = source.by_ref().take(block).read_to_end(&mut buffer);
            read.map_err(|error| Error::io(path, error))?;
            let last = ((buffer.len() - had) as u64) < block;
            let used = if json {
                self.lines(path, &buffer, offset, last)?
            } else {
                self.text(path, &buffer, offset, last)?
            };
            buffer.drain(..used);
            offset += used as u64;
            if last {
                break;
            }
        }
        if json {
            Ok(())
        } else {
            self.end_document()
        }
    }

    /// Encode `bytes`, which stand at `offset` in their file; returns how many were used: all if
    /// they are the `last`, else up to a place where the text may be cut.
    fn text(&mut self, path: &Path, bytes: &[u8], offset: u64, last: bool) -> Result<usize> {
        let mut from = 0;
        while from < bytes.len() {
            let mut parts = Vec::new();
            let mut at = from;
            while at < bytes.len() && parts.len() < ROUND * self.rules.threads() {
                let end = match self.rules.cut(bytes, at, last) {
                    Some(end) => end,
                    None if last => bytes.len(),
                    None => break,
                };
                parts.push((at, end));
                at = end;
            }
            if parts.is_empty() {
                break;
            }
            self.round(&parts, |rules, scratch, &(start, end), ids| {
                let text = simdutf8::compat::from_utf8(&bytes[start..end]).map_err(|error| {
                    let at = start + error.valid_up_to();
                    Error::invalid(format!(
                        "{}: expected UTF-8 text, got the byte 0x{:02x} at offset {}: convert the \
                         file first",
                        path.display(),
                        bytes[at],
                        offset + at as u64
                    ))
                })?;
                rules.plain(scratch, text, ids)
            })?;
            self.done += (at - from) as u64;
            from = at;
            (self.progress)(self.done)?;
        }
        Ok(from)
    }

    /// Encode the lines of `bytes`; returns how many bytes were used.
    fn lines(&mut self, path: &Path, bytes: &[u8], offset: u64, last: bool) -> Result<usize> {
        let end = if last {
            bytes.len()
        } else {
            memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1)
        };
        let lines: Vec<&[u8]> = bytes[..end].split(|&byte| byte == b'\n').collect();
        let documents = lines.chunks(64).collect::<Vec<_>>();
        for round in documents.chunks(ROUND * self.rules.threads()) {
            self.round(round, |rules, scratch, lines, ids| {
                for line in lines.iter().filter(|line| !line.trim_ascii().is_empty()) {
                    let at = offset + (line.as_ptr() as usize - bytes.as_ptr() as usize) as u64;
                    rules.document(scratch, &rules.field(path, line, at)?, ids)?;
                }
                Ok(())
            })?;
            (self.progress)(self.done)?;
        }
        self.done += end as u64;
        (self.progress)(self.done)?;
        Ok(end)
    }

    /// Encode documents, a round's worth of text at a time.
    fn documents(&mut self, mut documents: &[&str]) -> Result<()> {
        while !documents.is_empty() {
            let (mut parts, mut taken, mut bytes) = (Vec::new(), 0, 0);
            while taken < documents.len() && parts.len() < ROUND / 4 * self.rules.threads() {
                let from = taken;
                let mut size = 0;
                while taken < documents.len() && size < PART / 4 {
                    size += documents[taken].len();
                    taken += 1;
                }
                parts.push(&documents[from..taken]);
                bytes += size;
            }
            self.round(&parts, |rules, scratch, part, ids| {
                part.iter()
                    .try_for_each(|text| rules.document(scratch, text, ids))
            })?;
            documents = &documents[taken..];
            self.done += bytes as u64;
            (self.progress)(self.done)?;
        }
        Ok(())
    }

    /// Encode a round's parts on all threads and write them in order.
    fn round<P: Sync>(
        &mut self,
        parts: &[P],
        encode: impl Fn(&Rules<'_>, &mut Scratch, &P, &mut Vec<u32>) -> Result<()> + Sync,
    ) -> Result<()> {
        let (rules, out) = (&self.rules, &mut *self.out);
        let width = out.width();
        let work = |thread: usize, ids: &mut Vec<u32>, bytes: &mut Vec<u8>, i: usize| {
            ids.clear();
            encode(rules, &mut rules.lease(thread), &parts[i], ids)?;
            bytes.clear();
            width.write(ids, bytes)
        };
        let done = |bytes: &mut Vec<u8>, _| out.append(bytes);
        let threads = rules.threads();
        threads::in_order(parts.len(), threads, &mut self.buffers, work, done)
    }

    /// After a file of plain text, which is a document, or the last of several.
    fn end_document(&mut self) -> Result<()> {
        self.rules
            .separator
            .map_or(Ok(()), |id| self.out.write(&[id]))
    }
}
