//! The `num_threads` argument, and stopping idle workers before a fork.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::encode::threads;

/// The number of threads that a caller asks for; by default one per usable core.
///
/// # Errors
/// `ValueError` for a number below 1.
pub(super) fn requested(num_threads: Option<isize>) -> PyResult<usize> {
    match num_threads {
        None => Ok(threads::default_threads()),
        Some(count @ 1..) => Ok(count as usize),
        Some(count) => Err(PyValueError::new_err(format!(
            "expected num_threads >= 1, got {count}"
        ))),
    }
}

/// [`requested`], but at most one thread per usable core: more would only compete for the cores.
///
/// # Errors
/// As [`requested`].
pub(super) fn at_most_one_per_core(num_threads: Option<isize>) -> PyResult<usize> {
    Ok(requested(num_threads)?.min(threads::default_threads()))
}

/// Stop the idle workers of the thread pool.
#[pyfunction]
fn stop_idle_threads(py: Python<'_>) {
    py.detach(threads::dismiss);
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(stop_idle_threads, m)?)
}
