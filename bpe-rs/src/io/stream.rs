//! Files that can only be read from start to end: compressed ones, pipes, files in `/proc`.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use super::cuts::{Cuts, PART};
use super::text_format::TextFormat;
use crate::error::{Error, Result};

/// A stream, read a part at a time.
pub(super) struct Stream<'a> {
    source: Box<dyn Read + Send>,
    path: &'a Path,
    json_lines: bool,
    /// Bytes read beyond the last cut.
    carry: Vec<u8>,
    /// Offset of the next part in the text.
    offset: u64,
    is_done: bool,
    /// Bytes read from the file, before decompression, since the last `take_file_bytes`.
    file_bytes: Arc<AtomicU64>,
}

/// Counts the bytes that are read from a file.
struct Metered {
    file: File,
    bytes: Arc<AtomicU64>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl<'a> Stream<'a> {
    /// # Errors
    /// `Io` where the file is not of the format that its name says.
    pub(super) fn new(file: File, path: &'a Path, format: TextFormat) -> Result<Self> {
        let file_bytes = Arc::new(AtomicU64::new(0));
        let bytes = file_bytes.clone();
        Ok(Self {
            source: format.decompress(Metered { file, bytes }, path)?,
            path,
            json_lines: format.json_lines,
            carry: Vec::new(),
            offset: 0,
            is_done: false,
            file_bytes,
        })
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    pub(super) fn json_lines(&self) -> bool {
        self.json_lines
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the last part was handed out.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    pub(super) fn take_file_bytes(&self) -> u64 {
        self.file_bytes.swap(0, Ordering::Relaxed)
    }

    /// The next part, in the memory of `buffer`.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn next(&mut self, cuts: &impl Cuts, mut buffer: Vec<u8>) -> Result<Vec<u8>> {
        buffer.clear();
        buffer.append(&mut self.carry);
        let mut searched = 0;
        loop {
            let had = buffer.len();
            buffer.reserve(PART);
            let mut part = self.source.by_ref().take(PART as u64);
            part.read_to_end(&mut buffer)
                .map_err(|error| Error::io(self.path, error))?;
            if buffer.len() - had < PART {
                self.is_done = true;
                break;
            }
            if let Some(cut) = cuts.last_cut(&buffer, searched) {
                self.carry.extend_from_slice(&buffer[cut..]);
                buffer.truncate(cut);
                break;
            }
            searched = buffer.len() - 1;
        }
        self.offset += buffer.len() as u64;
        Ok(buffer)
    }
}
