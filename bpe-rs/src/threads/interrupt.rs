//! Stopping long work that has no progress callback: the program that embeds the crate says how it
//! learns that the user wants to stop.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::error::Result;

/// Time between two checks of a thread.
const INTERVAL: Duration = Duration::from_millis(100);

static CHECK: OnceLock<fn() -> Result<()>> = OnceLock::new();

thread_local! {
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// From now on long work calls `check` up to ten times a second, on the thread that called it, and
/// ends with the error that `check` returns. Only the first call of this function has an effect.
pub fn set_interrupt_check(check: fn() -> Result<()>) {
    let _ = CHECK.set(check);
}

/// The current thread is a worker: its caller checks and stops it.
pub(super) fn never_check_here() {
    IS_WORKER.set(true);
}

/// Called now and then by long work, which ends with its error. Mostly takes tens of nanoseconds.
pub(crate) fn check_interrupt() -> Result<()> {
    let Some(check) = CHECK.get() else {
        return Ok(());
    };
    if IS_WORKER.get() || LAST.get().is_some_and(|last| last.elapsed() < INTERVAL) {
        return Ok(());
    }
    LAST.set(Some(Instant::now()));
    check()
}
