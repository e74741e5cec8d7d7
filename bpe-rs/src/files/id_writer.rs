//! The output of encoding files: ids in memory, or an id file that appears whole or not at all.

use std::io::{BufWriter, IntoInnerError, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::id_buffer::IdBuffer;
use crate::error::{Error, Result};
use crate::format::id_file::{Header, Width, HEADER_BYTES};
use crate::io::AtomicFile;

/// Collects ids that come in any number of parts, in memory or in a file.
#[derive(Debug)]
pub struct IdWriter {
    width: Width,
    count: u64,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Memory(IdBuffer),
    File {
        file: BufWriter<AtomicFile>,
        path: PathBuf,
        fingerprint: [u8; 32],
    },
}

impl IdWriter {
    fn new(width: Width, target: Target) -> Self {
        Self {
            width,
            count: 0,
            target,
        }
    }

    /// Collects in memory.
    pub fn memory(width: Width) -> Self {
        Self::new(width, Target::Memory(IdBuffer::default()))
    }

    /// Writes to a new file beside `path`, which takes its name in [`IdWriter::finish`].
    /// `fingerprint`: of the tokenizer, for the header.
    ///
    /// # Errors
    /// `Io`, also where `path` is a directory; `Invalid` where it names no file.
    pub fn create(path: &Path, width: Width, fingerprint: [u8; 32]) -> Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, AtomicFile::create(path)?);
        file.write_all(&[0; HEADER_BYTES])
            .map_err(|error| Error::io(path, error))?;
        let path = path.into();
        let target = Target::File {
            file,
            path,
            fingerprint,
        };
        Ok(Self::new(width, target))
    }

    /// The width of an id.
    pub fn width(&self) -> Width {
        self.width
    }

    /// Reserves memory for at most `count` ids more.
    pub fn expect(&mut self, count: usize) {
        if let Target::Memory(buffer) = &mut self.target {
            buffer.reserve(count.saturating_mul(self.width.bytes()));
        }
    }

    /// Appends ids.
    ///
    /// # Errors
    /// `Invalid` for an id that does not fit the width, `Io`.
    pub fn write(&mut self, ids: &[u32]) -> Result<()> {
        let mut bytes = Vec::new();
        self.width.write(ids, &mut bytes)?;
        self.append(&bytes)
    }

    /// Appends what [`Width::write`] made of ids.
    ///
    /// # Errors
    /// `Io`.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.target {
            Target::Memory(buffer) => buffer.append(bytes),
            Target::File { file, path, .. } => file
                .write_all(bytes)
                .map_err(|error| Error::io(path, error))?,
        }
        self.count += (bytes.len() / self.width.bytes()) as u64;
        Ok(())
    }

    /// Number of ids so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The ids as little-endian bytes where they were collected in memory; otherwise nothing, and
    /// the file takes its name.
    ///
    /// # Errors
    /// `Io`; then no file appears.
    pub fn finish(self) -> Result<Vec<u8>> {
        let (width, count) = (self.width, self.count);
        match self.target {
            Target::Memory(buffer) => Ok(buffer.into_vec()),
            Target::File {
                file,
                path,
                fingerprint,
            } => {
                let header = Header {
                    width,
                    count,
                    fingerprint,
                };
                let with_header = || {
                    let mut file = file.into_inner().map_err(IntoInnerError::into_error)?;
                    file.seek(SeekFrom::Start(0))?;
                    file.write_all(&header.to_bytes())?;
                    Ok(file)
                };
                let written = with_header().map_err(|error| Error::io(path, error))?;
                written.commit()?;
                Ok(Vec::new())
            }
        }
    }
}
