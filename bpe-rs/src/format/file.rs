//! Reading and writing whole files.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// The text of a file.
///
/// # Errors
/// `Io`, or `Invalid` where it is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|error| Error::io(path, error))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid(format!(
            "{}: expected UTF-8, got other bytes at {at}",
            path.display()
        ))
    })
}

/// Writes a file so that it is either the old or the new one, whatever happens: into a temporary
/// file of the same folder, synced, then renamed.
///
/// # Errors
/// `Io`.
pub fn write_atomic(path: &Path, contents: &[u8]) -> Result<()> {
    let failed = |error| Error::io(path, error);
    let name = path.file_name().ok_or_else(|| {
        Error::invalid(format!(
            "expected the path of a file, got {:?}",
            path.display()
        ))
    })?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(hidden);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(contents).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}
