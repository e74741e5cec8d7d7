//! The number of threads, and the end of those that wait for work.

use pyo3::prelude::*;

use crate::threads;

/// How many threads this process can run at once.
#[pyfunction]
fn available_threads() -> usize {
    threads::available()
}

/// End the threads that wait for work.
#[pyfunction]
fn stop_idle_threads(py: Python<'_>) {
    py.detach(threads::stop_idle);
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(available_threads, m)?)?;
    m.add_function(wrap_pyfunction!(stop_idle_threads, m)?)
}
