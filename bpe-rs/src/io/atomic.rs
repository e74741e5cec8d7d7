//! Files that appear whole or not at all: a temporary file of the same folder is written, synced
//! to the disk, then renamed. No two writers share a temporary file, so the last rename
//! leaves a whole file.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::open::is_a_directory;
use crate::error::{Error, Result};

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

#[cfg(test)]
#[cfg(not(miri))]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn every_load_sees_one_writers_whole_file() {
        const WRITERS: u8 = 4;
        let folder = std::env::temp_dir().join(format!("bpe-rs-atomic-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("shared");
        write_atomic(&path, &[0; 100]).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let path = &path;
                // Each writes contents of its own length, all of one byte.
                let contents = vec![writer; 100 + 30_000 * usize::from(writer)];
                scope.spawn(move || (0..50).for_each(|_| write_atomic(path, &contents).unwrap()));
            }
            for _ in 0..200 {
                let mut contents = Vec::new();
                let mut file = File::open(&path).unwrap();
                file.read_to_end(&mut contents).unwrap();
                let writer = contents[0];
                assert_eq!(contents.len(), 100 + 30_000 * usize::from(writer));
                assert!(contents.iter().all(|&byte| byte == writer));
            }
        });
        let left = std::fs::read_dir(&folder).unwrap().count();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left, 1, "temporary files are left");
    }

    #[test]
    fn what_is_not_committed_leaves_nothing() {
        let folder = std::env::temp_dir().join(format!("bpe-rs-dropped-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut file = AtomicFile::create(&folder.join("a")).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        let error = write_atomic(&folder, b"x").unwrap_err().to_string();
        assert!(error.contains("directory"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
