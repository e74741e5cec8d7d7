//! What a file's name says about its bytes: packed or not, plain text or lines of JSON.

use std::fs::File;
use std::io::{BufReader, Error as IoError, ErrorKind, Read};
use std::path::Path;

use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// Open a file to read.
///
/// Errors: `Io`, also for a directory, which the system opens and then does not read.
pub(crate) fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    if file.metadata().is_ok_and(|data| data.is_dir()) {
        return Err(Error::io(path, is_a_directory()));
    }
    Ok(file)
}

/// What is wrong with a directory in a file's place.
pub(crate) fn is_a_directory() -> IoError {
    IoError::new(ErrorKind::IsADirectory, "is a directory, not a file")
}

/// The form of a file: `.gz` or `.zst` or neither, with `.jsonl` or `.ndjson` below it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    packing: Packing,
    /// One JSON object a line.
    pub(crate) json_lines: bool,
}

impl Form {
    /// By the extensions of `path`.
    pub(crate) fn of(path: &Path) -> Self {
        let extension = |path: &Path| {
            let extension = path.extension().and_then(|ext| ext.to_str());
            extension.unwrap_or_default().to_ascii_lowercase()
        };
        let packing = match extension(path).as_str() {
            "gz" => Packing::Gzip,
            "zst" => Packing::Zstd,
            _ => Packing::Plain,
        };
        let inner = match packing {
            Packing::Plain => extension(path),
            _ => extension(&path.with_extension("")),
        };
        Self {
            packing,
            json_lines: matches!(inner.as_str(), "jsonl" | "ndjson"),
        }
    }

    /// The bytes of the file are the text itself.
    pub(crate) fn is_plain_text(self) -> bool {
        self.packing == Packing::Plain && !self.json_lines
    }

    /// What is packed in `file`, read piece by piece; `path` is for messages.
    ///
    /// Errors: `Io` when the bytes are not what the name says.
    pub(crate) fn unpack(
        self,
        file: impl Read + Send + 'static,
        path: &Path,
    ) -> Result<Box<dyn Read + Send>> {
        /// Packed bytes read at a time.
        const BUFFER: usize = 1 << 16;
        Ok(match self.packing {
            Packing::Plain => Box::new(file),
            Packing::Gzip => {
                let file = BufReader::with_capacity(BUFFER, file);
                Box::new(flate2::read::MultiGzDecoder::new(file))
            }
            Packing::Zstd => {
                let file = BufReader::with_capacity(BUFFER, file);
                let decoder = ruzstd::decoding::StreamingDecoder::new(file);
                Box::new(decoder.map_err(|error| {
                    let problem = format!("expected zstd data: {error}");
                    Error::io(path, IoError::new(ErrorKind::InvalidData, problem))
                })?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_by_name() {
        for (name, packing, json_lines) in [
            ("a.txt", Packing::Plain, false),
            ("a", Packing::Plain, false),
            ("a.jsonl", Packing::Plain, true),
            ("a.NDJSON", Packing::Plain, true),
            ("a.jsonl.gz", Packing::Gzip, true),
            ("a.jsonl/b.txt.gz", Packing::Gzip, false),
            ("a.GZ", Packing::Gzip, false),
            ("a.ndjson.zst", Packing::Zstd, true),
            ("a.zst.txt", Packing::Plain, false),
        ] {
            let form = Form::of(Path::new(name));
            assert_eq!(
                (form.packing, form.json_lines),
                (packing, json_lines),
                "{name}"
            );
        }
    }

    #[test]
    fn bytes_that_are_not_zstd_are_refused() {
        let form = Form::of(Path::new("a.zst"));
        let error = form.unpack(&b"plain text"[..], Path::new("a.zst")).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(
            error.contains("a.zst") && error.contains("expected zstd"),
            "{error}"
        );
    }
}
