//! Reading files into buffers, with errors that name them, and writing files that appear whole or
//! not at all.
//!
//! A file is written as a temporary file of the same folder, synced to the disk, then renamed. No two
//! writers share a temporary file, so the last rename leaves a whole file.

use std::fs::{File, OpenOptions};
use std::io::{Error as IoError, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Opens a file to read.
///
/// # Errors
/// `Io`, also for a directory, which some systems open and then do not read.
pub(super) fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|error| {
        let error = if path.is_dir() {
            is_a_directory()
        } else {
            error
        };
        Error::io(path, error)
    })?;
    if file.metadata().is_ok_and(|data| data.is_dir()) {
        return Err(Error::io(path, is_a_directory()));
    }
    Ok(file)
}

/// The error for a directory where a file is expected.
pub(super) fn is_a_directory() -> IoError {
    IoError::new(ErrorKind::IsADirectory, "is a directory, not a file")
}

/// The text of a file.
///
/// # Errors
/// `Io`, or `Invalid` where it is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid(format!(
            "{}: expected UTF-8, got other bytes at {at}",
            path.display()
        ))
    })
}

/// The `len` bytes at `from` in `file`, read into `buffer`.
///
/// # Errors
/// `Io`, also where the file ends before.
pub(super) fn fill<'b>(
    file: &File,
    path: &Path,
    from: u64,
    len: u64,
    buffer: &'b mut Vec<u8>,
) -> Result<&'b [u8]> {
    let failed = |error| Error::io(path, error);
    let len = usize::try_from(len).map_err(|_| failed(ErrorKind::OutOfMemory.into()))?;
    enlarge(buffer, len).map_err(failed)?;
    let mut filled = 0;
    while filled < len {
        match read_at(file, &mut buffer[filled..len], from + filled as u64) {
            Ok(0) => {
                let problem = format!(
                    "the file became shorter while it was read: expected {len} bytes at offset \
                     {from}, got {filled}"
                );
                return Err(failed(IoError::new(ErrorKind::UnexpectedEof, problem)));
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(&buffer[..len])
}

/// All bytes of a small file, which had at most `expected` a moment ago, read into `buffer`.
pub(super) fn read_whole<'b>(
    path: &Path,
    expected: u64,
    buffer: &'b mut Vec<u8>,
) -> Result<&'b [u8]> {
    let failed = |error| Error::io(path, error);
    let mut file = File::open(path).map_err(failed)?;
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            // One byte more than expected, so that the next read finds the end.
            enlarge(buffer, (2 * filled).max(expected as usize + 1)).map_err(failed)?;
        }
        match file.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(&buffer[..filled]),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Makes `buffer` at least `len` bytes long. Its length only grows, so that reading into it again
/// does not clear it first.
fn enlarge(buffer: &mut Vec<u8>, len: usize) -> std::io::Result<()> {
    if buffer.len() < len {
        let more = len - buffer.len();
        buffer
            .try_reserve_exact(more)
            .map_err(|_| IoError::from(ErrorKind::OutOfMemory))?;
        buffer.resize(len, 0);
    }
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
}

/// A file that takes the place of its target in [`AtomicFile::commit`]; dropped before, it leaves
/// nothing behind.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    file: File,
    temporary: Temporary,
    target: PathBuf,
}

/// The path of a temporary file, which is removed on drop.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename no file has this name.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl AtomicFile {
    /// An empty file beside `target`.
    ///
    /// # Errors
    /// `Io`, also where `target` is a directory; `Invalid` where it names no file.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        // Otherwise only the rename would fail, after all the work.
        if target.is_dir() {
            return Err(Error::io(target, is_a_directory()));
        }
        let name = target.file_name().ok_or_else(|| {
            Error::invalid(format!(
                "expected the path of a file, got {:?}",
                target.display()
            ))
        })?;
        // The counter makes names of one process differ, the process id those of several.
        // `create_new` covers the rest: machines that share a folder, files that a crash left.
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}.{number}.tmp", std::process::id()));
            let temporary = target.with_file_name(hidden);
            match OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&temporary)
            {
                Ok(file) => {
                    return Ok(Self {
                        file,
                        temporary: Temporary(temporary),
                        target: target.into(),
                    })
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(target, error)),
            }
        }
    }

    /// Syncs the file and gives it the target's name.
    ///
    /// # Errors
    /// `Io`; then the target is as it was.
    pub(crate) fn commit(self) -> Result<()> {
        self.file
            .sync_all()
            .and_then(|()| std::fs::rename(&self.temporary.0, &self.target))
            .map_err(|error| Error::io(&self.target, error))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

/// Writes a file so that it is either the old or the new one, whatever happens.
///
/// # Errors
/// `Io`; `Invalid` where `path` names no file.
pub fn write_atomic(path: &Path, contents: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(contents)
        .map_err(|error| Error::io(path, error))?;
    file.commit()
}
