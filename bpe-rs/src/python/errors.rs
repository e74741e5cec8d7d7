//! The crate's errors as Python exceptions.

use pyo3::exceptions::{PyKeyError, PyKeyboardInterrupt, PyOSError, PyValueError};
use pyo3::PyErr;

use super::progress::take_raised;
use crate::error::{Error, ErrorKind};

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match (error.kind(), error.io_kind()) {
            (ErrorKind::NotFound, _) => PyKeyError::new_err(message),
            (ErrorKind::Interrupted, _) => {
                take_raised().unwrap_or_else(|| PyKeyboardInterrupt::new_err(message))
            }
            // PyO3 knows which subclass of OSError belongs to a kind.
            (ErrorKind::Io, Some(kind)) => std::io::Error::new(kind, message).into(),
            (ErrorKind::Io, None) => PyOSError::new_err(message),
            (ErrorKind::Invalid | ErrorKind::Pattern, _) => PyValueError::new_err(message),
        }
    }
}
