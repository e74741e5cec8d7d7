//! Python lists of a few values that are repeated many times, such as masks.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList};

use super::object_layout::ObjectLayout;
use super::to_list::add_references;

/// `runs` of `(value, count)` as one list of ints, whose `len` is the sum of all counts.
pub(in crate::python) fn list_of_runs<'py>(
    py: Python<'py>,
    len: usize,
    runs: &[(u32, usize)],
) -> PyResult<Bound<'py, PyList>> {
    assert_eq!(len, runs.iter().map(|(_, count)| count).sum::<usize>());
    // SAFETY: `py` shows that the GIL is held. The items of a new list are null, which its
    // destructor accepts if filling fails half-way.
    let list: Bound<'py, PyAny> =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyList_New(len as ffi::Py_ssize_t))? };
    let pointer = list.as_ptr();
    let mut at = 0;
    for &(value, count) in runs {
        let int = PyInt::new(py, value);
        // SAFETY: `int` lives; the list takes over the references.
        unsafe { add_references(int.as_ptr(), count) };
        match ObjectLayout::get() {
            // SAFETY: the list lives, no other code sees it before it is filled, and by the
            // assertion it has `count` more items.
            Some(layout) => unsafe {
                let items = layout.items(pointer).add(at);
                for item in 0..count {
                    items.add(item).write(int.as_ptr());
                }
            },
            None => {
                for item in at..at + count {
                    // SAFETY: as above, through the function of the stable ABI.
                    unsafe { ffi::PyList_SetItem(pointer, item as ffi::Py_ssize_t, int.as_ptr()) };
                }
            }
        }
        at += count;
    }
    // SAFETY: `PyList_New` returns a list.
    Ok(unsafe { list.cast_into_unchecked() })
}

/// `values`, many of which are followed by the same value, as a list.
pub(in crate::python) fn list_of_repeated<'py>(
    py: Python<'py>,
    values: &[u32],
) -> PyResult<Bound<'py, PyList>> {
    let runs = values.chunk_by(|a, b| a == b);
    let runs: Vec<_> = runs.map(|run| (run[0], run.len())).collect();
    list_of_runs(py, values.len(), &runs)
}
