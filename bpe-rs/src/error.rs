//! The crate's one error type: a kind that callers can match on, a message for people.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. The message says what was expected, what was found and what to do.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<std::io::Error>,
}

/// The kinds of [`Error`] that a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument or a file's contents are not what they have to be.
    Invalid,
    /// A token, id or name is not in the vocabulary or registry.
    NotFound,
    /// The operating system refused to read or write.
    Io,
    /// The regex engine gave up on a text (its step limit), so there is no answer.
    Pattern,
    /// The caller's progress callback asked to stop.
    Interrupted,
}

impl Error {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// An argument or a file's contents are wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Something was looked up and is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The regex engine gave up.
    pub fn pattern(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Pattern, message)
    }

    /// The caller asked to stop.
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
    }

    /// `error` happened on `path`.
    pub fn io(path: impl AsRef<Path>, error: std::io::Error) -> Self {
        let path: PathBuf = path.as_ref().into();
        Self {
            kind: ErrorKind::Io,
            message: format!("{}: {error}", path.display()),
            source: Some(error),
        }
    }

    /// Which kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The operating system's error, where there is one.
    pub fn io_kind(&self) -> Option<std::io::ErrorKind> {
        self.source.as_ref().map(std::io::Error::kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}
