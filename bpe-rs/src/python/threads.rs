//! The `num_threads` argument, and stopping idle workers before a fork.

use pyo3::prelude::*;

use super::numbers;
use crate::threads;

/// The argument `num_threads`: a whole number from 1 on.
pub(super) struct NumThreads(usize);

impl<'a, 'py> FromPyObject<'a, 'py> for NumThreads {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        numbers::size("num_threads", &value, 1, u64::MAX).map(Self)
    }
}

/// The number of threads for a caller that asks for `num_threads`: at most as many as can run at
/// once, which None stands for.
pub(super) fn requested(num_threads: Option<NumThreads>) -> PyResult<usize> {
    Ok(threads::requested(num_threads.map(|threads| threads.0))?)
}

/// How many threads this process can run at once.
#[pyfunction]
fn available_threads() -> usize {
    threads::available()
}

/// Stop the idle workers of the thread pool.
#[pyfunction]
fn stop_idle_threads(py: Python<'_>) {
    py.detach(threads::stop_idle);
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(available_threads, m)?)?;
    m.add_function(wrap_pyfunction!(stop_idle_threads, m)?)
}
