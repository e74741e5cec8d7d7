//! The format of a text file, by its name: compressed or not, plain text or JSON lines.

use std::io::{BufReader, Read};
use std::path::Path;

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
        let json_lines = match compression {
            Compression::None => ends_in(path, &["jsonl", "ndjson"]),
            _ => ends_in(&path.with_extension(""), &["jsonl", "ndjson"]),
        };
        Self {
            compression,
            json_lines,
        }
    }

    pub(super) fn is_compressed(self) -> bool {
        self.compression != Compression::None
    }

    /// The contents of `file`, decompressed while they are read; `path` is for messages.
    ///
    /// # Errors
    /// `Io` where the bytes are not what the name says.
    pub(super) fn decompress(
        self,
        file: impl Read + Send + 'static,
        path: &Path,
    ) -> Result<Box<dyn Read + Send>> {
        /// Compressed bytes read at a time.
        const BUFFER: usize = 1 << 16;
        let buffered = |file| BufReader::with_capacity(BUFFER, file);
        Ok(match self.compression {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(buffered(file))),
            Compression::Zstd => {
                let frames = Frames::new(buffered(file));
                Box::new(frames.map_err(|error| Error::io(path, error))?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_name() {
        for (name, compression, json_lines) in [
            ("a.txt", Compression::None, false),
            ("a", Compression::None, false),
            ("a.jsonl", Compression::None, true),
            ("a.NDJSON", Compression::None, true),
            ("a.jsonl.gz", Compression::Gzip, true),
            ("a.jsonl/b.txt.gz", Compression::Gzip, false),
            ("a.GZ", Compression::Gzip, false),
            ("a.ndjson.zst", Compression::Zstd, true),
            ("a.zst.txt", Compression::None, false),
        ] {
            let format = TextFormat::of(Path::new(name));
            assert_eq!(
                (format.compression, format.json_lines),
                (compression, json_lines),
                "{name}"
            );
        }
    }
}
