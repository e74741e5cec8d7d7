//! Ids as Python lists. Each id's `int` object is created once; afterwards a list only takes a
//! reference to it.

use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{ffi, PyErr};

use super::object_layout::{ObjectLayout, HAS_GIL, PREFETCH_DISTANCE};
use crate::simd::prefetch_at;
use crate::threads::ForkOnce;

/// Vocabularies with more ids get no table: 8 bytes an id would cost more memory than the table
/// saves time.
const MAX_TABLE_LEN: usize = 1 << 21;

/// Ids between two looks at pending signals.
const IDS_PER_CHECK: usize = 1 << 22;
const _: () = assert!(IDS_PER_CHECK.is_multiple_of(PREFETCH_DISTANCE));

/// The `int` objects of an encoding's ids, each created on first use and owned by this table.
#[derive(Default)]
pub(in crate::python) struct IntObjects(ForkOnce<Box<[AtomicPtr<ffi::PyObject>]>>);

impl IntObjects {
    /// `ids` as a list; none may exceed `max_id`.
    pub(in crate::python) fn list<'py>(
        &self,
        py: Python<'py>,
        ids: &[u32],
        max_id: u32,
    ) -> PyResult<Bound<'py, PyList>> {
        if max_id as usize >= MAX_TABLE_LEN {
            return PyList::new(py, ids);
        }
        let table = self.0.get_or_init(|| null_table(max_id as usize + 1));
        // SAFETY: `py` shows that the GIL is held. The items of a new list are null, which its
        // destructor accepts if filling fails half-way.
        let list: Bound<'py, PyAny> = unsafe {
            Bound::from_owned_ptr_or_err(py, ffi::PyList_New(ids.len() as ffi::Py_ssize_t))?
        };
        let pointer = list.as_ptr();
        match ObjectLayout::get() {
            Some(layout) => {
                // SAFETY: the list lives. No other code sees it before it is filled, so its item
                // array is not reallocated.
                let items = unsafe { layout.items(pointer) };
                fill(py, table, ids, |at, int| {
                    // SAFETY: `at` is below the list's length and the item is null; the list takes
                    // over the reference.
                    unsafe { items.add(at).write(int) };
                })?;
            }
            None => fill(py, table, ids, |at, int| {
                // SAFETY: as above, through the function of the stable ABI.
                unsafe { ffi::PyList_SetItem(pointer, at as ffi::Py_ssize_t, int) };
            })?,
        }
        // SAFETY: `PyList_New` returns a list.
        Ok(unsafe { list.cast_into_unchecked() })
    }
}

/// Call `set(i, int)` with a new reference to the `int` object of `ids[i]`, for every `i`.
#[inline(always)]
fn fill(
    py: Python<'_>,
    table: &[AtomicPtr<ffi::PyObject>],
    ids: &[u32],
    mut set: impl FnMut(usize, *mut ffi::PyObject),
) -> PyResult<()> {
    let mut at = 0;
    for block in ids.chunks(PREFETCH_DISTANCE) {
        if at % IDS_PER_CHECK == IDS_PER_CHECK - PREFETCH_DISTANCE {
            py.check_signals()?;
        }
        for &id in block {
            if let Some(slot) = table.get(id as usize) {
                prefetch_at(slot.load(Ordering::Relaxed));
            }
        }
        for &id in block {
            let int = match table.get(id as usize) {
                Some(slot) => shared_int(py, slot, id)?,
                None => new_int(py, id)?,
            };
            set(at, int);
            at += 1;
        }
    }
    Ok(())
}

/// A new reference to the `int` object in the table's slot for `id`, created if it is missing.
#[inline(always)]
fn shared_int(
    py: Python<'_>,
    slot: &AtomicPtr<ffi::PyObject>,
    id: u32,
) -> PyResult<*mut ffi::PyObject> {
    let mut int = slot.load(Ordering::Acquire);
    if int.is_null() {
        let new = new_int(py, id)?;
        let null = std::ptr::null_mut();
        int = match slot.compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new,
            Err(first) => {
                // Without a GIL another thread can fill the slot first.
                // SAFETY: `new_int` returned this reference; the thread is attached.
                unsafe { ffi::Py_DECREF(new) };
                first
            }
        };
    }
    // SAFETY: the table owns a reference, so the object lives; the thread is attached.
    unsafe { add_reference(int) };
    Ok(int)
}

/// Increment an object's reference count.
///
/// # Safety
///
/// `object` lives, and the GIL is held where there is one.
#[inline(always)]
unsafe fn add_reference(object: *mut ffi::PyObject) {
    // SAFETY: the caller's.
    unsafe { add_references(object, 1) };
}

/// Add `count` to an object's reference count.
///
/// # Safety
///
/// `object` lives, and the GIL is held where there is one.
#[inline(always)]
pub(super) unsafe fn add_references(object: *mut ffi::PyObject, count: usize) {
    if HAS_GIL {
        // SAFETY: the caller's. Under the limited API up to 3.11 `Py_INCREF` is a macro that
        // increments the object's first word, so this is part of the stable ABI. From 3.12 on a
        // negative lower half marks an immortal object, whose count must not change: its count is
        // written back unchanged, because a branch would mispredict (small ids are immortal).
        unsafe {
            let references = object.cast::<isize>();
            *references += count as isize * isize::from(*references as i32 >= 0);
        }
    } else {
        for _ in 0..count {
            // SAFETY: the caller's.
            unsafe { ffi::Py_INCREF(object) };
        }
    }
}

/// A new `int` object.
#[cold]
fn new_int(py: Python<'_>, id: u32) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: the GIL is held; null, which means an exception, is checked.
    let int = unsafe { ffi::PyLong_FromUnsignedLongLong(id.into()) };
    if int.is_null() {
        return Err(PyErr::fetch(py));
    }
    Ok(int)
}

/// A table of null pointers. Its pages take memory only once they are written.
fn null_table(len: usize) -> Box<[AtomicPtr<ffi::PyObject>]> {
    let layout =
        std::alloc::Layout::array::<AtomicPtr<ffi::PyObject>>(len).expect("below MAX_TABLE_LEN");
    // SAFETY: `len` is at least 1; all-zero bytes are null pointers; the box frees with this layout.
    unsafe {
        let start = std::alloc::alloc_zeroed(layout).cast::<AtomicPtr<ffi::PyObject>>();
        if start.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        Box::from_raw(std::ptr::slice_from_raw_parts_mut(start, len))
    }
}

impl Drop for IntObjects {
    fn drop(&mut self) {
        let Some(table) = self.0.take() else { return };
        Python::attach(|_| {
            for slot in &table {
                let int = slot.load(Ordering::Relaxed);
                if !int.is_null() {
                    // SAFETY: the table owns this reference; the GIL is held.
                    unsafe { ffi::Py_DECREF(int) };
                }
            }
        });
    }
}
