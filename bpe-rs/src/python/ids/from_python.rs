//! Ids out of numpy arrays and lists of ints.

use std::cell::Cell;

use numpy::{PyReadonlyArray1, PyUntypedArray};
use pyo3::exceptions::PyOverflowError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::object_layout::{ObjectLayout, HAS_GIL, PREFETCH_DISTANCE};
use crate::simd::prefetch_at;

thread_local! {
    static BUFFERS: Cell<(Vec<u32>, Vec<u8>)> = const { Cell::new((Vec::new(), Vec::new())) };
}
/// Larger buffers are freed after the call.
const MAX_KEPT_BYTES: usize = 4 << 20;

/// Call `work` with two empty buffers that this thread reuses, because page faults in fresh memory
/// cost as much as decoding. `work` gives the buffer for ids back.
pub(in crate::python) fn with_reusable_buffers<T>(
    work: impl FnOnce(Vec<u32>, &mut Vec<u8>) -> (T, Vec<u32>),
) -> T {
    let (mut ids, mut bytes) = BUFFERS.take();
    ids.clear();
    bytes.clear();
    let (result, ids) = work(ids, &mut bytes);
    if 4 * ids.capacity() <= MAX_KEPT_BYTES && bytes.capacity() <= MAX_KEPT_BYTES {
        BUFFERS.set((ids, bytes));
    }
    result
}

/// The ids in a numpy array or any sequence of ints; `buffer` is empty and receives them.
///
/// An array is copied, because another thread could change it once the GIL is released.
///
/// # Errors
/// `TypeError` or `OverflowError` for a value that cannot be an id.
pub(in crate::python) fn ids_of(
    tokens: &Bound<'_, PyAny>,
    mut buffer: Vec<u32>,
) -> PyResult<Vec<u32>> {
    if let Ok(list) = tokens.cast_exact::<PyList>() {
        if ids_of_plain_ints(list, &mut buffer).is_some() {
            return Ok(buffer);
        }
    } else if tokens.cast::<PyUntypedArray>().is_ok() && ids_of_array(tokens, &mut buffer)? {
        return Ok(buffer);
    }
    tokens.extract()
}

/// Append the ids of a one-dimensional array of a common integer type. Returns false for any
/// other array.
fn ids_of_array(tokens: &Bound<'_, PyAny>, ids: &mut Vec<u32>) -> PyResult<bool> {
    fn checked<T: numpy::Element + Copy + TryInto<u32> + std::fmt::Display>(
        array: &PyReadonlyArray1<'_, T>,
        ids: &mut Vec<u32>,
    ) -> PyResult<bool> {
        for &id in array.as_array() {
            ids.push(id.try_into().map_err(|_| {
                PyOverflowError::new_err(format!("expected ids from 0 to 4294967295, got {id}"))
            })?);
        }
        Ok(true)
    }
    if let Ok(array) = tokens.extract::<PyReadonlyArray1<'_, u32>>() {
        match array.as_slice() {
            Ok(slice) => ids.extend_from_slice(slice),
            Err(_) => ids.extend(array.as_array()),
        }
        return Ok(true);
    }
    if let Ok(array) = tokens.extract::<PyReadonlyArray1<'_, i64>>() {
        return checked(&array, ids);
    }
    if let Ok(array) = tokens.extract::<PyReadonlyArray1<'_, u16>>() {
        return checked(&array, ids);
    }
    if let Ok(array) = tokens.extract::<PyReadonlyArray1<'_, i32>>() {
        return checked(&array, ids);
    }
    Ok(false)
}

/// Append the ids of a list that holds only exact `int` objects in range, the common case.
/// Returns `None` at the first other object; `ids` may then hold a part of the list.
fn ids_of_plain_ints(list: &Bound<'_, PyList>, ids: &mut Vec<u32>) -> Option<()> {
    if !HAS_GIL {
        return None;
    }
    let Some(layout) = ObjectLayout::get() else {
        return ids_by_stable_abi(list, ids);
    };
    let len = list.len();
    ids.reserve(len);
    // SAFETY: the GIL is held and nothing below runs Python code, so the list keeps its items and
    // its length. (The item pointer of an empty list may be null.)
    let items = unsafe {
        let start = layout.items(list.as_ptr());
        if start.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts(start.cast_const(), len)
        }
    };
    for (at, &item) in items.iter().enumerate() {
        if let Some(&later) = items.get(at + PREFETCH_DISTANCE) {
            prefetch_at(later);
        }
        // SAFETY: the list owns a reference to the item.
        ids.push(match unsafe { layout.small_int(item) } {
            Some(id) => id,
            None => id_of_int(item)?,
        });
    }
    Some(())
}

/// [`ids_of_plain_ints`] through the functions of the stable ABI.
fn ids_by_stable_abi(list: &Bound<'_, PyList>, ids: &mut Vec<u32>) -> Option<()> {
    let len = list.len();
    ids.reserve(len);
    let mut block = [std::ptr::null_mut(); PREFETCH_DISTANCE];
    for from in (0..len).step_by(PREFETCH_DISTANCE) {
        let block = &mut block[..PREFETCH_DISTANCE.min(len - from)];
        for (at, item) in block.iter_mut().enumerate() {
            // SAFETY: the GIL is held; the index is below the list's length.
            *item = unsafe { ffi::PyList_GetItem(list.as_ptr(), (from + at) as ffi::Py_ssize_t) };
            prefetch_at(*item);
        }
        for &item in block.iter() {
            ids.push(id_of_int(item)?);
        }
    }
    Some(())
}

/// The value of an exact `int` in the range of an id; `None` for any other object.
#[inline(always)]
fn id_of_int(item: *mut ffi::PyObject) -> Option<u32> {
    // SAFETY: the callers hold the GIL and got `item` from a list that still owns it, because no
    // Python code has run since: `PyLong_AsUnsignedLongLong` of an exact `int` only reads. The
    // error that it sets for a value out of range is cleared.
    unsafe {
        if ffi::PyLong_CheckExact(item) == 0 {
            return None;
        }
        let id = u32::try_from(ffi::PyLong_AsUnsignedLongLong(item));
        if id.is_err() {
            ffi::PyErr_Clear();
        }
        id.ok()
    }
}
