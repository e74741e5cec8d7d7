//! The crate's errors as Python exceptions.

use pyo3::exceptions::{
    PyFileNotFoundError, PyIsADirectoryError, PyKeyError, PyKeyboardInterrupt, PyOSError,
    PyPermissionError, PyValueError,
};
use pyo3::PyErr;

use crate::error::{Error, Kind};

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match (error.kind(), error.io_kind()) {
            (Kind::NotFound, _) => PyKeyError::new_err(message),
            (Kind::Interrupted, _) => PyKeyboardInterrupt::new_err(message),
            (Kind::Io, Some(std::io::ErrorKind::NotFound)) => PyFileNotFoundError::new_err(message),
            (Kind::Io, Some(std::io::ErrorKind::IsADirectory)) => {
                PyIsADirectoryError::new_err(message)
            }
            (Kind::Io, Some(std::io::ErrorKind::PermissionDenied)) => {
                PyPermissionError::new_err(message)
            }
            (Kind::Io, _) => PyOSError::new_err(message),
            (Kind::Invalid | Kind::Pattern, _) => PyValueError::new_err(message),
        }
    }
}
