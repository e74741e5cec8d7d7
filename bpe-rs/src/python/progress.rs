//! Progress callbacks and signals during a long Rust call.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::error::{Error, Result};

/// Time between two checks of a call that reports very often.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);

/// Runs pending signal handlers (Ctrl-C) and the caller's progress callback from inside a long
/// call that has released the GIL.
///
/// An exception that either of them raises stops the call: [`Self::check`] keeps it and returns
/// [`Error::interrupted`], and [`Self::finish`] raises it in place of that error.
pub(super) struct ProgressCheck {
    callback: Option<Py<PyAny>>,
    interval: Duration,
    last: Instant,
    raised: Option<PyErr>,
}

impl ProgressCheck {
    /// A check that does nothing more often than every `interval`.
    pub(super) fn new(callback: Option<Py<PyAny>>, interval: Duration) -> Self {
        Self {
            callback,
            interval,
            last: Instant::now(),
            raised: None,
        }
    }

    /// Run pending signal handlers, then `callback(done)`.
    ///
    /// # Errors
    /// `Interrupted` when one of them raises an exception.
    pub(super) fn check(&mut self, done: u64) -> Result<()> {
        if self.last.elapsed() < self.interval {
            return Ok(());
        }
        self.last = Instant::now();
        let outcome = Python::attach(|py| {
            py.check_signals()?;
            match &self.callback {
                Some(callback) => callback.call1(py, (done,)).map(drop),
                None => Ok(()),
            }
        });
        outcome.map_err(|raised| {
            self.raised = Some(raised);
            Error::interrupted()
        })
    }

    /// The result of the call, or the exception that stopped it.
    pub(super) fn finish<T>(self, result: Result<T>) -> PyResult<T> {
        match self.raised {
            Some(raised) => Err(raised),
            None => Ok(result?),
        }
    }
}
