//! Progress and signal check: how Ctrl-C and a caller's callback reach work without the GIL.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::error::{Error, Result};

/// Between two checks, each of which takes the GIL.
const INTERVAL: Duration = Duration::from_millis(100);

/// Checks for signals and calls the caller's callback with the work done, if there is one. What
/// either raises ends the work and comes out of [`ProgressCheck::result`].
pub(super) struct ProgressCheck {
    callback: Option<Py<PyAny>>,
    interval: Duration,
    last: Instant,
    raised: Option<PyErr>,
}

impl ProgressCheck {
    /// At most ten checks a second.
    pub(super) fn new(callback: Option<Py<PyAny>>) -> Self {
        Self {
            callback,
            interval: INTERVAL,
            last: Instant::now(),
            raised: None,
        }
    }

    /// As [`ProgressCheck::new`], but a callback hears of every step.
    pub(super) fn of_every_step(callback: Option<Py<PyAny>>) -> Self {
        let mut check = Self::new(callback);
        if check.callback.is_some() {
            check.interval = Duration::ZERO;
        }
        check
    }

    /// One step; `done`: bytes or merges so far.
    ///
    /// # Errors
    /// `Interrupted` when a signal's handler or the callback has raised.
    pub(super) fn step(&mut self, done: u64) -> Result<()> {
        if self.last.elapsed() < self.interval {
            return Ok(());
        }
        self.last = Instant::now();
        let checked = Python::attach(|py| {
            py.check_signals()?;
            match &self.callback {
                Some(callback) => callback.call1(py, (done,)).map(drop),
                None => Ok(()),
            }
        });
        checked.map_err(|raised| {
            self.raised = Some(raised);
            Error::interrupted()
        })
    }

    /// `result`, or the exception that was raised meanwhile.
    pub(super) fn result<T>(self, result: Result<T>) -> PyResult<T> {
        match self.raised {
            Some(raised) => Err(raised),
            None => Ok(result?),
        }
    }
}
