//! Ids in, from numpy arrays and lists of ints.

use std::cell::Cell;

use numpy::{PyReadonlyArray1, PyUntypedArray};
use pyo3::exceptions::PyOverflowError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::layout::{Layout, HAS_GIL};
use super::lists::AHEAD;
use crate::simd::prefetch_at;

thread_local! {
    static SPARE: Cell<(Vec<u32>, Vec<u8>)> = const { Cell::new((Vec::new(), Vec::new())) };
}
/// Larger buffers are not kept.
const KEPT_BYTES: usize = 4 << 20;

/// Call `work` with two empty buffers of this thread: fresh memory costs as much as decoding.
pub(super) fn with_spare<T>(work: impl FnOnce(Vec<u32>, &mut Vec<u8>) -> (T, Vec<u32>)) -> T {
    let (mut ids, mut bytes) = SPARE.take();
    ids.clear();
    bytes.clear();
    let (result, ids) = work(ids, &mut bytes);
    if 4 * ids.capacity() <= KEPT_BYTES && bytes.capacity() <= KEPT_BYTES {
        SPARE.set((ids, bytes));
    }
    result
}

/// The ids in a numpy array or any sequence of ints; `spare` is the buffer for them.
///
/// An array is copied: somebody could change it as soon as the GIL is released.
///
/// Errors: `TypeError` or `OverflowError` for what cannot be an id.
pub(super) fn ids_of(tokens: &Bound<'_, PyAny>, mut spare: Vec<u32>) -> PyResult<Vec<u32>> {
    if let Ok(list) = tokens.cast_exact::<PyList>() {
        if plain_ints(list, &mut spare).is_some() {
            return Ok(spare);
        }
    } else if tokens.cast::<PyUntypedArray>().is_ok() && from_array(tokens, &mut spare)? {
        return Ok(spare);
    }
    tokens.extract()
}

/// Append the ids of an array of one dimension and a type that is common for ids; whether it is
/// one.
fn from_array(tokens: &Bound<'_, PyAny>, ids: &mut Vec<u32>) -> PyResult<bool> {
    fn narrow<T: numpy::Element + Copy + TryInto<u32> + std::fmt::Display>(
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
        return narrow(&array, ids);
    }
    if let Ok(array) = tokens.extract::<PyReadonlyArray1<'_, u16>>() {
        return narrow(&array, ids);
    }
    if let Ok(array) = tokens.extract::<PyReadonlyArray1<'_, i32>>() {
        return narrow(&array, ids);
    }
    Ok(false)
}

/// Append the ids of a list that holds nothing but `int` objects in range: the common case.
fn plain_ints(list: &Bound<'_, PyList>, ids: &mut Vec<u32>) -> Option<()> {
    if !HAS_GIL {
        return None;
    }
    let Some(layout) = Layout::get() else {
        return by_functions(list, ids);
    };
    let len = list.len();
    ids.reserve(len);
    // SAFETY: the GIL is held, and nothing below runs Python code that could change the list, whose
    // length this is. (An empty list's pointer may be null.)
    let items = unsafe {
        let start = layout.items(list.as_ptr());
        if start.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts(start.cast_const(), len)
        }
    };
    for (at, &item) in items.iter().enumerate() {
        if let Some(&later) = items.get(at + AHEAD) {
            prefetch_at(later);
        }
        // SAFETY: the list owns it.
        ids.push(match unsafe { layout.small_int(item) } {
            Some(id) => id,
            None => value(item)?,
        });
    }
    Some(())
}

/// The same by the stable ABI's functions.
fn by_functions(list: &Bound<'_, PyList>, ids: &mut Vec<u32>) -> Option<()> {
    let len = list.len();
    ids.reserve(len);
    let mut block = [std::ptr::null_mut(); AHEAD];
    for from in (0..len).step_by(AHEAD) {
        let block = &mut block[..AHEAD.min(len - from)];
        for (at, item) in block.iter_mut().enumerate() {
            // SAFETY: the GIL is held; the list has an item there.
            *item = unsafe { ffi::PyList_GetItem(list.as_ptr(), (from + at) as ffi::Py_ssize_t) };
            prefetch_at(*item);
        }
        for &item in block.iter() {
            ids.push(value(item)?);
        }
    }
    Some(())
}

/// The value of an exact `int` that may be an id; `None` for anything else.
#[inline(always)]
fn value(item: *mut ffi::PyObject) -> Option<u32> {
    // SAFETY: the callers hold the GIL, and nothing since their list gave the item has run Python
    // code that could take it away: `PyLong_AsUnsignedLongLong` of an exact `int` only reads. A
    // failure is cleared.
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
