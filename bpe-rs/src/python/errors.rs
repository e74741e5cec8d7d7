//! The crate's errors as Python exceptions.

use pyo3::exceptions::{
    PyFileNotFoundError, PyIsADirectoryError, PyKeyError, PyKeyboardInterrupt, PyOSError,
    PyPermissionError, PyValueError,
};
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
            (ErrorKind::Io, Some(std::io::ErrorKind::NotFound)) => {
                PyFileNotFoundError::new_err(message)
            }
            (ErrorKind::Io, Some(std::io::ErrorKind::IsADirectory)) => {
                PyIsADirectoryError::new_err(message)
            }
            (ErrorKind::Io, Some(std::io::ErrorKind::PermissionDenied)) => {
                PyPermissionError::new_err(message)
            }
            (ErrorKind::Io, _) => PyOSError::new_err(message),
            (ErrorKind::Invalid | ErrorKind::Pattern, _) => PyValueError::new_err(message),
        }
    }
}
