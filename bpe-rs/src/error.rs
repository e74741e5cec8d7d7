//! The one error type of the crate: a kind that callers can match on, and a message for people.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A user's text as error messages show it: quoted as Python writes a str, control characters escaped.
pub(crate) fn quoted(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    let has_only_single = text.contains('\'') && !text.contains('"');
    let quote = if has_only_single { '"' } else { '\'' };
    let mut shown = String::from(quote);
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\\' => shown.push_str("\\\\"),
            // All control characters are below U+0100.
            _ if character.is_control() => shown += &format!("\\x{:02x}", u32::from(character)),
            _ if character == quote => shown.extend(['\\', quote]),
            _ => shown.push(character),
        }
    }
    shown.push(quote);
    shown
}

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
    /// An argument or the contents of a file are wrong.
    Invalid,
    /// A token, id or name is not in the vocabulary or registry.
    NotFound,
    /// Reading or writing failed.
    Io,
    /// The regex engine reached its backtracking limit.
    Pattern,
    /// The caller's progress callback stopped the work.
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

    /// An error of kind [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// An error of kind [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// An error of kind [`ErrorKind::Pattern`].
    pub fn pattern(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Pattern, message)
    }

    /// An error of kind [`ErrorKind::Interrupted`].
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
    }

    /// An error of kind [`ErrorKind::Io`], on the file `path`.
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

    /// The kind of the operating system's error, for [`ErrorKind::Io`].
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

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn text_is_quoted_as_python_writes_it() {
        for (text, shown) in [
            ("gpt2", "'gpt2'"),
            ("it's", "\"it's\""),
            ("'\"", "'\\'\"'"),
            ("a\n\t\\\0\u{85}é", "'a\\n\\t\\\\\\x00\\x85é'"),
        ] {
            assert_eq!(quoted(text), shown);
        }
    }
}
