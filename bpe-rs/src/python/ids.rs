//! Ids in: from numpy arrays without a copy where that is possible, from lists of ints quickly.

use std::cell::Cell;

use numpy::{PyReadonlyArray1, PyUntypedArray};
use pyo3::exceptions::PyOverflowError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::lists::{prefetch_object, AHEAD, HAS_GIL};

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

/// Ids that somebody gave us.
pub(super) enum Ids<'py> {
    /// A contiguous array of them, which stays as it is while borrowed.
    Borrowed(PyReadonlyArray1<'py, u32>),
    Owned(Vec<u32>),
}

impl<'py> Ids<'py> {
    /// From a numpy array or any sequence of ints.
    ///
    /// Errors: `TypeError` or `OverflowError` for what cannot be an id.
    /// `spare` is where those of a list go.
    pub(super) fn new(tokens: &Bound<'py, PyAny>, spare: Vec<u32>) -> PyResult<Self> {
        if let Ok(list) = tokens.cast_exact::<PyList>() {
            if let Some(ids) = plain_ints(list, spare) {
                return Ok(Self::Owned(ids));
            }
        } else if tokens.cast::<PyUntypedArray>().is_ok() {
            if let Some(ids) = from_array(tokens)? {
                return Ok(ids);
            }
        }
        Ok(Self::Owned(tokens.extract()?))
    }

    /// The buffer, to be used again.
    pub(super) fn into_spare(self) -> Vec<u32> {
        match self {
            Self::Borrowed(_) => Vec::new(),
            Self::Owned(ids) => ids,
        }
    }

    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Self::Borrowed(array) => array.as_slice().unwrap_or_default(),
            Self::Owned(ids) => ids,
        }
    }
}

/// The ids of an array of one dimension and a type that is common for ids.
fn from_array<'py>(tokens: &Bound<'py, PyAny>) -> PyResult<Option<Ids<'py>>> {
    fn narrow<T: numpy::Element + Copy + TryInto<u32> + std::fmt::Display>(
        array: &PyReadonlyArray1<'_, T>,
    ) -> PyResult<Option<Ids<'static>>> {
        let narrow = |&id: &T| {
            id.try_into().map_err(|_| {
                PyOverflowError::new_err(format!("expected ids from 0 to 4294967295, got {id}"))
            })
        };
        let ids: PyResult<_> = array.as_array().iter().map(narrow).collect();
        Ok(Some(Ids::Owned(ids?)))
    }
    if let Ok(array) = tokens.extract::<PyReadonlyArray1<'_, u32>>() {
        if array.as_slice().is_ok() {
            return Ok(Some(Ids::Borrowed(array)));
        }
        return Ok(Some(Ids::Owned(array.as_array().to_vec())));
    }
    if let Ok(array) = tokens.extract::<PyReadonlyArray1<'_, i64>>() {
        return narrow(&array);
    }
    if let Ok(array) = tokens.extract::<PyReadonlyArray1<'_, u16>>() {
        return narrow(&array);
    }
    if let Ok(array) = tokens.extract::<PyReadonlyArray1<'_, i32>>() {
        return narrow(&array);
    }
    Ok(None)
}

/// The ids of a list that holds nothing but `int` objects in range: the common case.
fn plain_ints(list: &Bound<'_, PyList>, mut ids: Vec<u32>) -> Option<Vec<u32>> {
    if !HAS_GIL {
        return None;
    }
    let len = list.len();
    ids.reserve(len);
    let mut block = [std::ptr::null_mut(); AHEAD];
    for from in (0..len).step_by(AHEAD) {
        let block = &mut block[..AHEAD.min(len - from)];
        for (at, item) in block.iter_mut().enumerate() {
            // SAFETY: the GIL is held; the list has an item there.
            *item = unsafe { ffi::PyList_GetItem(list.as_ptr(), (from + at) as ffi::Py_ssize_t) };
            prefetch_object(*item);
        }
        for &item in block.iter() {
            // SAFETY: the GIL is held, and nothing since the list gave the item has run Python
            // code that could change it: `PyLong_AsUnsignedLong` of an exact int only reads. A
            // failure is cleared.
            unsafe {
                if ffi::PyLong_CheckExact(item) == 0 {
                    return None;
                }
                match u32::try_from(ffi::PyLong_AsUnsignedLong(item)) {
                    Ok(id) => ids.push(id),
                    Err(_) => {
                        ffi::PyErr_Clear();
                        return None;
                    }
                }
            }
        }
    }
    Some(ids)
}
