//! Progress callbacks and signals during a long Rust call.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::error::{Error, Result};
use crate::threads;

/// Time between two checks, each of which takes the GIL.
const INTERVAL: Duration = Duration::from_millis(100);

/// Runs pending signal handlers (Ctrl-C) and the caller's progress callback from inside a long
/// call that has released the GIL.
///
/// An exception that either of them raises stops the call: [`Self::step`] keeps it and returns
/// [`Error::interrupted`], and [`Self::result`] raises it in place of that error.
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

    /// As [`ProgressCheck::new`], but a callback is called at every step.
    pub(super) fn of_every_step(callback: Option<Py<PyAny>>) -> Self {
        let mut check = Self::new(callback);
        if check.callback.is_some() {
            check.interval = Duration::ZERO;
        }
        check
    }

    /// Run pending signal handlers, then `callback(done)`.
    ///
    /// # Errors
    /// `Interrupted` when one of them raises an exception.
    pub(super) fn step(&mut self, done: u64) -> Result<()> {
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
    pub(super) fn result<T>(self, result: Result<T>) -> PyResult<T> {
        match self.raised {
            Some(raised) => Err(raised),
            None => Ok(result?),
        }
    }
}

thread_local! {
    /// What a signal handler raised in [`check_signals`].
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Run pending signal handlers (Ctrl-C) during work that has no [`ProgressCheck`].
///
/// # Errors
/// `Interrupted` when a handler raises an exception; [`take_raised`] then has it.
fn check_signals() -> Result<()> {
    Python::attach(|py| py.check_signals()).map_err(|raised| {
        RAISED.set(Some(raised));
        Error::interrupted()
    })
}

/// The exception of this thread that an `Interrupted` error stands for, if there is one.
pub(super) fn take_raised() -> Option<PyErr> {
    RAISED.take()
}

/// Long work of the crate looks for signals from now on.
pub(super) fn register() {
    threads::set_interrupt_check(check_signals);
}
