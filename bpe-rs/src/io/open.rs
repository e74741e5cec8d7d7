//! Opening and reading whole files, with errors that name them.

use std::fs::File;
use std::io::{Error as IoError, ErrorKind};
use std::path::Path;

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
