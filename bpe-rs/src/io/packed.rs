//! What a file's name says about its bytes: packed or not, plain text or lines of JSON.

use std::io::{BufRead, BufReader, Error as IoError, ErrorKind, Read};
use std::path::Path;

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// The form of a file: `.gz` or `.zst` or neither, with `.jsonl` or `.ndjson` below it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    packing: Packing,
    /// One JSON object a line.
    pub(super) json_lines: bool,
}

impl Form {
    /// By the extensions of `path`.
    pub(super) fn of(path: &Path) -> Self {
        let ends_in = |path: &Path, extensions: &[&str]| {
            let found = path.extension().unwrap_or_default();
            extensions.iter().any(|ext| found.eq_ignore_ascii_case(ext))
        };
        let packing = match () {
            () if ends_in(path, &["gz"]) => Packing::Gzip,
            () if ends_in(path, &["zst"]) => Packing::Zstd,
            () => Packing::Plain,
        };
        let json_lines = match packing {
            Packing::Plain => ends_in(path, &["jsonl", "ndjson"]),
            _ => ends_in(&path.with_extension(""), &["jsonl", "ndjson"]),
        };
        Self {
            packing,
            json_lines,
        }
    }

    /// Whether the file is compressed.
    pub(super) fn is_packed(self) -> bool {
        self.packing != Packing::Plain
    }

    /// What is packed in `file`, read piece by piece; `path` is for messages.
    ///
    /// Errors: `Io` when the bytes are not what the name says.
    pub(super) fn unpack(
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
                Box::new(Frames::new(file).map_err(|error| Error::io(path, error))?)
            }
        })
    }
}

/// The contents of all frames of a zstd file; `ruzstd`'s own reader ends with the first.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
}

impl<R: BufRead> Frames<R> {
    /// Errors: `InvalidData` unless a frame begins here.
    fn new(source: R) -> std::io::Result<Self> {
        let mut frames = Self {
            source,
            decoder: FrameDecoder::new(),
        };
        if frames.begin()? {
            return Ok(frames);
        }
        let problem = "expected zstd data, got no frame of it";
        Err(IoError::new(ErrorKind::InvalidData, problem))
    }

    /// Read the head of the next frame; `false` at the end of the source.
    fn begin(&mut self) -> std::io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                // A frame of something else: tables of parallel and seekable packers.
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut frame = self.source.by_ref().take(length.into());
                    if std::io::copy(&mut frame, &mut std::io::sink())? < length.into() {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => {
                    let problem = format!("expected zstd data: {error}");
                    return Err(IoError::new(ErrorKind::InvalidData, problem));
                }
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        loop {
            while self.decoder.can_collect() < out.len() && !self.decoder.is_finished() {
                let missing = out.len() - self.decoder.can_collect();
                let enough = BlockDecodingStrategy::UptoBytes(missing);
                let decoded = self.decoder.decode_blocks(&mut self.source, enough);
                decoded.map_err(IoError::other)?;
            }
            let count = self.decoder.read(out)?;
            if count > 0 || out.is_empty() || !self.begin()? {
                return Ok(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame whose one block is `bytes` as they are.
    fn frame(bytes: &[u8]) -> Vec<u8> {
        let len = bytes.len() as u8;
        let head = [0x28, 0xB5, 0x2F, 0xFD, 0x20, len, len << 3 | 1, len >> 5, 0];
        [&head, bytes].concat()
    }

    #[test]
    fn all_frames_of_a_zstd_file() {
        let form = Form::of(Path::new("a.zst"));
        let other = [&[0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0][..], b"not"].concat();
        let packed = [
            &other[..],
            &frame(b"one, "),
            &frame(b""),
            &other,
            &frame(b"two"),
        ]
        .concat();
        let read = |packed: &[u8]| {
            let mut text = String::new();
            let source = std::io::Cursor::new(packed.to_vec());
            let mut unpacked = form
                .unpack(source, Path::new("a.zst"))
                .map_err(|e| e.to_string())?;
            let read = unpacked.read_to_string(&mut text);
            read.map(|_| text).map_err(|error| error.to_string())
        };
        assert_eq!(read(&packed).as_deref(), Ok("one, two"));
        for cut in [1, 4, packed.len() - frame(b"two").len() - 2] {
            assert!(
                read(&packed[..packed.len() - cut]).is_err(),
                "{cut} bytes less"
            );
        }
        assert!(read(&[&packed[..], b"and more"].concat()).is_err());
        assert!(read(&[]).is_err());
    }

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
