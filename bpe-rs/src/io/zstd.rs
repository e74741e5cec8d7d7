//! Zstandard files of several frames.

use std::io::{BufRead, Error as IoError, ErrorKind, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The contents of all frames of a source, one after the other; `ruzstd`'s own reader ends with the
/// first.
pub(super) struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
}

impl<R: BufRead> Frames<R> {
    /// # Errors
    /// `InvalidData` where the source has no frame at its start.
    pub(super) fn new(source: R) -> std::io::Result<Self> {
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

    /// Reads the header of the next frame; `false` at the end of the source.
    fn begin(&mut self) -> std::io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                // A skippable frame: parallel and seekable compressors keep tables in them.
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
    fn all_frames_are_read_and_the_end_is_checked() {
        let other = [&[0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0][..], b"not"].concat();
        let last = frame(b"two");
        let file = [&other[..], &frame(b"one, "), &frame(b""), &other, &last].concat();
        let read = |file: &[u8]| {
            let mut text = String::new();
            Frames::new(file)
                .and_then(|mut frames| frames.read_to_string(&mut text))
                .map(|_| text)
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(&file).as_deref(), Ok("one, two"));
        for cut in [1, 4, file.len() - last.len() - 2] {
            assert!(read(&file[..file.len() - cut]).is_err(), "{cut} bytes less");
        }
        assert!(read(&[&file[..], b"and more"].concat()).is_err());
        assert!(read(&[]).is_err());
        let error = read(b"plain text").unwrap_err();
        assert!(error.contains("expected zstd data"), "{error}");
    }
}
