//! Reading plain files: small ones whole, large ones in stretches that end at cuts.

use std::fs::File;
use std::io::{Error as IoError, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use super::cuts::{Cuts, PART};
use crate::error::{Error, Result};

/// Bytes of the first window that is searched for a cut.
const WINDOW: u64 = 1 << 12;
/// Bytes that the system is told to read ahead.
const AHEAD: u64 = 8 << 20;

/// A large plain file, cut into stretches one after the other.
pub(super) struct PlainFile<'a> {
    file: Arc<File>,
    path: &'a Path,
    json_lines: bool,
    /// Length of the file when it was opened; bytes that are appended later are ignored.
    len: u64,
    /// The start of the next stretch.
    at: u64,
    /// The system was told to read ahead up to here.
    advised: u64,
    window: Vec<u8>,
}

impl<'a> PlainFile<'a> {
    pub(super) fn new(file: File, path: &'a Path, json_lines: bool, len: u64) -> Self {
        Self {
            file: Arc::new(file),
            path,
            json_lines,
            len,
            at: 0,
            advised: 0,
            window: Vec::new(),
        }
    }

    pub(super) fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    pub(super) fn json_lines(&self) -> bool {
        self.json_lines
    }

    /// Whether the last stretch was handed out.
    pub(super) fn is_done(&self) -> bool {
        self.at >= self.len
    }

    /// Start and end of the next stretch.
    ///
    /// # Errors
    /// `Io`, also where the file has become shorter.
    pub(super) fn next(&mut self, cuts: &impl Cuts) -> Result<(u64, u64)> {
        if self.at + AHEAD > self.advised {
            read_ahead(&self.file, self.advised, AHEAD);
            self.advised += AHEAD;
        }
        let from = self.at;
        self.at = self.end(cuts)?;
        Ok((from, self.at))
    }

    /// The end of the stretch that starts at `self.at`: the last cut of a window at its end, which
    /// is made larger until it has one, first towards the start, then beyond.
    fn end(&mut self, cuts: &impl Cuts) -> Result<u64> {
        if !cuts.exist() {
            return Ok(self.len);
        }
        let (mut near, mut window, mut searched) = (self.at + PART as u64, WINDOW, self.at);
        while near < self.len {
            let from = searched.max(near.saturating_sub(window));
            let context = (cuts.context() as u64).min(from - self.at);
            let start = from - context;
            let bytes = fill(&self.file, self.path, start, near - start, &mut self.window)?;
            if let Some(cut) = cuts.last_cut(bytes, context as usize) {
                return Ok(start + cut as u64);
            }
            if from > searched {
                window *= 16;
            } else {
                searched = near - 1;
                near += window.max(PART as u64);
            }
        }
        Ok(self.len)
    }
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
///
/// # Errors
/// `Io`.
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

/// Tells the system that these bytes will be read soon.
fn read_ahead(file: &File, from: u64, len: u64) {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use std::os::fd::AsRawFd;
        let (from, len) = (from as libc::off64_t, len as libc::off64_t);
        // SAFETY: an open file; the call reads no memory of ours.
        unsafe { libc::posix_fadvise64(file.as_raw_fd(), from, len, libc::POSIX_FADV_WILLNEED) };
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = (file, from, len);
}
