//! Writing ids: into memory, or into an id file that appears whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::idfile::{Header, Width, HEADER_BYTES};
use crate::error::{Error, Result};
use crate::unpack::is_a_directory;

/// Takes ids in any number of parts.
#[derive(Debug)]
pub struct IdWriter {
    width: Width,
    count: u64,
    fingerprint: [u8; 32],
    target: Target,
    /// What is collected in memory.
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Target {
    Memory,
    File {
        file: BufWriter<File>,
        temporary: Temporary,
        path: PathBuf,
    },
}

/// A file that is removed unless it was renamed.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing of this name.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Buffers from this size on ask for huge pages.
const HUGE_FROM: usize = 8 << 20;
/// From this size on the C library maps memory of its own for a buffer (glibc at the latest). What
/// comes out of its heap instead is on small pages, which it gives back and takes again each time.
const MAPPED: usize = (32 << 20) + 4096;

/// Fresh memory on pages of 4 KB costs as much as encoding what goes there.
fn ask_for_huge_pages(buffer: &mut Vec<u8>) {
    #[cfg(target_os = "linux")]
    if buffer.capacity() >= HUGE_FROM {
        const PAGE: usize = 4096;
        let start = buffer.as_mut_ptr() as usize;
        let from = start.next_multiple_of(PAGE);
        let to = (start + buffer.capacity()) / PAGE * PAGE;
        // SAFETY: whole pages inside the buffer's memory; the advice changes nothing in them.
        unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = buffer;
}

impl IdWriter {
    /// Collect in memory.
    pub fn memory(width: Width) -> Self {
        let target = Target::Memory;
        Self {
            width,
            count: 0,
            fingerprint: [0; 32],
            target,
            buffer: Vec::new(),
        }
    }

    /// Write to a new file next to `path`, which takes its name when finished.
    ///
    /// Errors: `Io`.
    pub fn create(path: &Path, width: Width, fingerprint: [u8; 32]) -> Result<Self> {
        // Else it would be found out at the end.
        if path.is_dir() {
            return Err(Error::io(path, is_a_directory()));
        }
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        // Two writers to one path, of two threads even, must not share it.
        static WRITERS: AtomicU64 = AtomicU64::new(0);
        let number = WRITERS.fetch_add(1, Ordering::Relaxed);
        name.push(format!(".{}.{number}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).map_err(|error| Error::io(path, error))?;
        let temporary = Temporary(temporary);
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(&[0; HEADER_BYTES])
            .map_err(|error| Error::io(path, error))?;
        let target = Target::File {
            file,
            temporary,
            path: path.into(),
        };
        Ok(Self {
            width,
            count: 0,
            fingerprint,
            target,
            buffer: Vec::new(),
        })
    }

    /// Bytes of an id.
    pub fn width(&self) -> Width {
        self.width
    }

    /// Expect at most `count` ids more. Memory that grows step by step is moved, or its large pages
    /// are split; what is not used is never there, and given back in the end.
    pub fn expect(&mut self, count: usize) {
        if let Target::Memory = self.target {
            let had = self.buffer.capacity();
            let bytes = match count.saturating_mul(self.width.bytes()) {
                HUGE_FROM..MAPPED => MAPPED,
                bytes => bytes,
            };
            // Elsewhere what is reserved is taken. Without the room it is found, or missed, on the
            // way.
            let all = cfg!(unix) && self.buffer.try_reserve_exact(bytes).is_ok();
            if !all {
                let _ = self.buffer.try_reserve_exact(bytes / 3);
            }
            if self.buffer.capacity() != had {
                ask_for_huge_pages(&mut self.buffer);
            }
        }
    }

    /// Append ids.
    ///
    /// Errors: `Invalid` for an id that does not fit the width, `Io`.
    pub fn write(&mut self, ids: &[u32]) -> Result<()> {
        let mut bytes = Vec::new();
        self.width.write(ids, &mut bytes)?;
        self.append(&bytes)
    }

    /// Append what [`Width::write`] made of ids.
    ///
    /// Errors: `Io`.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.target {
            Target::Memory => {
                let had = self.buffer.capacity();
                self.buffer.extend_from_slice(bytes);
                if self.buffer.capacity() != had {
                    ask_for_huge_pages(&mut self.buffer);
                }
            }
            Target::File { file, path, .. } => file
                .write_all(bytes)
                .map_err(|error| Error::io(path, error))?,
        }
        self.count += (bytes.len() / self.width.bytes()) as u64;
        Ok(())
    }

    /// How many ids so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Finish: the ids as little-endian bytes if they were collected in memory, nothing if they
    /// are in their file now.
    ///
    /// Errors: `Io`.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        let Target::File {
            file,
            temporary,
            path,
        } = self.target
        else {
            if self.buffer.capacity() >= HUGE_FROM {
                self.buffer.shrink_to_fit();
            }
            return Ok(self.buffer);
        };
        let header = Header {
            width: self.width,
            count: self.count,
            fingerprint: self.fingerprint,
        };
        let finish = || {
            let mut file = file
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header.to_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary.0, &path)
        };
        finish().map_err(|error| Error::io(&path, error))?;
        Ok(Vec::new())
    }
}
