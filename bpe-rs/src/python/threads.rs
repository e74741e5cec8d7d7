//! The `num_threads` argument, and stopping idle workers before a fork.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::threads;

/// The number of threads for a caller that asks for `num_threads`: at most as many as can run at
/// once, which None stands for.
///
/// # Errors
/// `ValueError` for a number below 1.
pub(super) fn requested(num_threads: Option<isize>) -> PyResult<usize> {
    Ok(threads::requested_threads(checked(num_threads)?)?)
}

/// As [`requested`], but not limited by what can run at once.
///
/// # Errors
/// As [`requested`].
pub(super) fn exactly(num_threads: Option<isize>) -> PyResult<usize> {
    Ok(checked(num_threads)?.unwrap_or_else(threads::available_threads))
}

fn checked(num_threads: Option<isize>) -> PyResult<Option<usize>> {
    match num_threads {
        Some(count) if count < 1 => Err(PyValueError::new_err(format!(
            "expected num_threads >= 1, got {count}"
        ))),
        count => Ok(count.map(isize::unsigned_abs)),
    }
}

/// How many threads this process can run at once.
#[pyfunction]
fn available_threads() -> usize {
    threads::available_threads()
}

/// Stop the idle workers of the thread pool.
#[pyfunction]
fn stop_idle_threads(py: Python<'_>) {
    py.detach(threads::stop_idle_threads);
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(available_threads, m)?)?;
    m.add_function(wrap_pyfunction!(stop_idle_threads, m)?)
}
