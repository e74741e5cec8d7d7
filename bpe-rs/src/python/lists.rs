//! Ids as Python lists: every id's `int` object is made once and then only counted.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{ffi, PyErr};

use super::layout::{Layout, HAS_GIL};
use crate::simd::prefetch_at;

/// Beyond this many ids a table would cost more memory than it saves time.
const MOST: usize = 1 << 21;

/// Objects that are asked for at a time.
pub(super) const AHEAD: usize = 32;

/// The `int` objects of an encoding's ids, each made when first needed.
#[derive(Default)]
pub(super) struct Ints(OnceLock<Box<[AtomicPtr<ffi::PyObject>]>>);

impl Ints {
    /// `ids`, all at most `max_id`, as a list.
    pub(super) fn list<'py>(
        &self,
        py: Python<'py>,
        ids: &[u32],
        max_id: u32,
    ) -> PyResult<Bound<'py, PyList>> {
        if max_id as usize >= MOST {
            return PyList::new(py, ids);
        }
        let table = self.0.get_or_init(|| zeroed(max_id as usize + 1));
        // SAFETY: the GIL is held, as `py` says. A new list has null places, also for its destructor
        // should a later one fail.
        let list: Bound<'py, PyAny> = unsafe {
            Bound::from_owned_ptr_or_err(py, ffi::PyList_New(ids.len() as ffi::Py_ssize_t))?
        };
        let pointer = list.as_ptr();
        match Layout::get() {
            Some(layout) => {
                // SAFETY: a list that lives. It is new and nobody else sees it before every place
                // is set, so its places stay where they are.
                let items = unsafe { layout.items(pointer) };
                fill(py, table, ids, |at, int| {
                    // SAFETY: `at` is below the list's length, and the place is null; it takes
                    // over the reference.
                    unsafe { items.add(at).write(int) };
                })?;
            }
            None => fill(py, table, ids, |at, int| {
                // SAFETY: as above, by the function for it.
                unsafe { ffi::PyList_SetItem(pointer, at as ffi::Py_ssize_t, int) };
            })?,
        }
        // SAFETY: what `PyList_New` gave.
        Ok(unsafe { list.cast_into_unchecked() })
    }
}

/// Call `set(i, int)` with a new reference to the `int` of each of `ids`.
#[inline(always)]
fn fill(
    py: Python<'_>,
    table: &[AtomicPtr<ffi::PyObject>],
    ids: &[u32],
    mut set: impl FnMut(usize, *mut ffi::PyObject),
) -> PyResult<()> {
    let mut at = 0;
    for block in ids.chunks(AHEAD) {
        // The objects lie all over the memory: ask for them before they are needed.
        for &id in block {
            if let Some(slot) = table.get(id as usize) {
                prefetch_at(slot.load(Ordering::Relaxed));
            }
        }
        for &id in block {
            let int = match table.get(id as usize) {
                Some(slot) => int(py, slot, id)?,
                None => made(py, id)?,
            };
            set(at, int);
            at += 1;
        }
    }
    Ok(())
}

/// A new reference to the table's `int` for `id`.
#[inline(always)]
fn int(py: Python<'_>, slot: &AtomicPtr<ffi::PyObject>, id: u32) -> PyResult<*mut ffi::PyObject> {
    let mut int = slot.load(Ordering::Acquire);
    if int.is_null() {
        let new = made(py, id)?;
        let null = std::ptr::null_mut();
        int = match slot.compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new,
            Err(first) => {
                // Another thread was faster, where there is no GIL.
                // SAFETY: `made` gave this reference; the thread is attached to the interpreter.
                unsafe { ffi::Py_DECREF(new) };
                first
            }
        };
    }
    // SAFETY: the table owns one reference, so the object lives; the thread is attached.
    unsafe { new_reference(int) };
    Ok(int)
}

/// Count one more reference.
///
/// # Safety
///
/// `object` lives, and the GIL is held.
#[inline(always)]
unsafe fn new_reference(object: *mut ffi::PyObject) {
    if HAS_GIL {
        // SAFETY: the caller's. What `Py_INCREF` of C's headers is for the limited API up to 3.11,
        // and so part of the stable ABI: the count is the object's first word. From 3.12 on a
        // negative lower half marks an object that is never freed, whose count must stay: it is
        // written back as it was, since which ids have such objects cannot be foretold.
        unsafe {
            let count = object.cast::<isize>();
            *count += isize::from(*count as i32 >= 0);
        }
    } else {
        // SAFETY: the caller's.
        unsafe { ffi::Py_INCREF(object) };
    }
}

#[cold]
fn made(py: Python<'_>, id: u32) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: the GIL is held; null is told apart.
    let int = unsafe { ffi::PyLong_FromUnsignedLongLong(id.into()) };
    if int.is_null() {
        return Err(PyErr::fetch(py));
    }
    Ok(int)
}

/// A table of nulls that takes memory only where it is written.
fn zeroed(len: usize) -> Box<[AtomicPtr<ffi::PyObject>]> {
    let layout = std::alloc::Layout::array::<AtomicPtr<ffi::PyObject>>(len).expect("below MOST");
    // SAFETY: `len` is at least 1; all zeros are null pointers; the box frees with this layout.
    unsafe {
        let start = std::alloc::alloc_zeroed(layout).cast::<AtomicPtr<ffi::PyObject>>();
        if start.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        Box::from_raw(std::ptr::slice_from_raw_parts_mut(start, len))
    }
}

impl Drop for Ints {
    fn drop(&mut self) {
        let Some(table) = self.0.take() else { return };
        Python::attach(|_| {
            for slot in &table {
                let int = slot.load(Ordering::Relaxed);
                if !int.is_null() {
                    // SAFETY: this is the table's own reference; the GIL is held.
                    unsafe { ffi::Py_DECREF(int) };
                }
            }
        });
    }
}
