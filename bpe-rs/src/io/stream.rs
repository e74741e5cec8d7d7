//! Files that can only be read from start to end: compressed ones, pipes, files in `/proc`; and what
//! a file's name tells of its format.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use super::cuts::{Cuts, PART};
use super::zstd::Frames;
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

/// The format of a text file: `.gz` or `.zst` or neither, with `.jsonl` or `.ndjson` below it or
/// not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextFormat {
    compression: Compression,
    /// One JSON object a line.
    pub(super) json_lines: bool,
}

impl TextFormat {
    /// By the extensions of `path`, whose case does not matter.
    pub(super) fn of(path: &Path) -> Self {
        let ends_in = |path: &Path, extensions: &[&str]| {
            let found = path.extension().unwrap_or_default();
            extensions.iter().any(|ext| found.eq_ignore_ascii_case(ext))
        };
        let compression = if ends_in(path, &["gz"]) {
            Compression::Gzip
        } else if ends_in(path, &["zst"]) {
            Compression::Zstd
        } else {
            Compression::None
        };
        let lines = ["jsonl", "ndjson"];
        let json_lines = match compression {
            Compression::None => ends_in(path, &lines),
            _ => ends_in(&path.with_extension(""), &lines),
        };
        Self {
            compression,
            json_lines,
        }
    }

    pub(super) fn is_compressed(self) -> bool {
        self.compression != Compression::None
    }
}

/// A stream, read a part at a time.
pub(super) struct Stream {
    /// The text.
    pub(super) source: Box<dyn Read + Send>,
    /// Bytes read beyond the last cut.
    carry: Vec<u8>,
    /// Whether the last part was handed out.
    pub(super) is_done: bool,
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

impl Stream {
    /// The contents of `file`, decompressed while they are read.
    ///
    /// # Errors
    /// `Io` where the file is not of the format that its name says.
    pub(super) fn new(file: File, path: &Path) -> Result<Self> {
        /// Compressed bytes read at a time.
        const BUFFER: usize = 1 << 16;
        let file_bytes = Arc::new(AtomicU64::new(0));
        let bytes = file_bytes.clone();
        let file = Metered { file, bytes };
        let buffered = |file| BufReader::with_capacity(BUFFER, file);
        let source: Box<dyn Read + Send> = match TextFormat::of(path).compression {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(buffered(file))),
            Compression::Zstd => {
                let frames = Frames::new(buffered(file));
                Box::new(frames.map_err(|error| Error::io(path, error))?)
            }
        };
        Ok(Self {
            source,
            carry: Vec::new(),
            is_done: false,
            file_bytes,
        })
    }

    pub(super) fn take_file_bytes(&self) -> u64 {
        self.file_bytes.swap(0, Ordering::Relaxed)
    }

    /// The next part, in the memory of `buffer`; `path` is for messages.
    pub(super) fn next(
        &mut self,
        path: &Path,
        cuts: &impl Cuts,
        mut buffer: Vec<u8>,
    ) -> Result<Vec<u8>> {
        buffer.clear();
        buffer.append(&mut self.carry);
        let mut searched = 0;
        loop {
            let had = buffer.len();
            buffer.reserve(PART);
            let mut part = self.source.by_ref().take(PART as u64);
            part.read_to_end(&mut buffer)
                .map_err(|error| Error::io(path, error))?;
            if buffer.len() - had < PART {
                self.is_done = true;
                return Ok(buffer);
            }
            if let Some(cut) = cuts.last_cut(&buffer, searched) {
                self.carry.extend_from_slice(&buffer[cut..]);
                buffer.truncate(cut);
                return Ok(buffer);
            }
            searched = buffer.len() - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_name() {
        use Compression::{Gzip, None, Zstd};
        for (name, compression, json_lines) in [
            ("a.txt", None, false),
            ("a", None, false),
            ("a.jsonl", None, true),
            ("a.NDJSON", None, true),
            ("a.jsonl.gz", Gzip, true),
            ("a.jsonl/b.txt.gz", Gzip, false),
            ("a.GZ", Gzip, false),
            ("a.ndjson.zst", Zstd, true),
            ("a.zst.txt", None, false),
        ] {
            let want = TextFormat {
                compression,
                json_lines,
            };
            assert_eq!(TextFormat::of(Path::new(name)), want, "{name}");
        }
    }
}
