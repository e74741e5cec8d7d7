//! Direct access to the items of a CPython list and the value of an `int`.
//!
//! The stable ABI, which the wheel is built for, costs a function call per item and per value:
//! more than the rest of the work on them. So fields are accessed in place where three things
//! hold: the interpreter has a GIL, its version is one whose headers are known ([`KNOWN_VERSIONS`]),
//! and [`detect`], which runs when the module is imported, finds fresh objects laid out as assumed
//! ([`ListObject`], [`IntObject`]). Elsewhere [`ObjectLayout::get`] is `None` and callers use the
//! functions of the stable ABI. `BPE_RS_STABLE_ABI=1` in the environment selects the functions on
//! every interpreter; the tests run both ways.

use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// How many list items ahead an `int` object is prefetched: the objects lie scattered in memory.
pub(super) const PREFETCH_DISTANCE: usize = 32;

/// CPython versions whose headers declare lists and ints as below (3.14 is not tested yet).
const KNOWN_VERSIONS: std::ops::RangeInclusive<(u8, u8)> = (3, 10)..=(3, 14);

/// Whether objects begin as in an interpreter with a GIL: reference count, type pointer.
pub(in crate::python) const HAS_GIL: bool =
    std::mem::size_of::<ffi::PyObject>() == 2 * std::mem::size_of::<usize>();

/// `PyListObject` up to the last field in use.
#[repr(C)]
struct ListObject {
    head: ffi::PyObject,
    len: ffi::Py_ssize_t,
    items: *mut *mut ffi::PyObject,
}

/// `PyLongObject`. The meaning of `tag` (digit count and sign) changed in 3.12, but within a
/// version all positive ints of one digit have the same tag.
#[repr(C)]
struct IntObject {
    head: ffi::PyObject,
    tag: usize,
    digit: u32,
}

/// Bits of an `int`'s digit.
const DIGIT_BITS: u32 = 30;

/// Proof that this interpreter's objects have the assumed layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectLayout {
    /// The tag of an `int` from 1 to 2^30 - 1, after masking.
    one_digit_tag: usize,
    /// The bits of a tag that tell digit count and sign.
    tag_mask: usize,
}

/// What [`detect`] found. Not initialised through `get_or_init`: [`verify`] runs Python code (a
/// garbage collection), which may call back into this module and would then wait for itself.
static LAYOUT: OnceLock<ObjectLayout> = OnceLock::new();

/// Find out whether this interpreter's objects have the assumed layout. Called once, when the
/// module is imported.
pub(in crate::python) fn detect(py: Python<'_>) -> PyResult<bool> {
    let version = py.version_info();
    let known = HAS_GIL && KNOWN_VERSIONS.contains(&(version.major, version.minor));
    let stable_abi_only = std::env::var_os("BPE_RS_STABLE_ABI").is_some_and(|value| value == "1");
    if known && !stable_abi_only {
        // From 3.14 on bit 2 of the tag marks an immortal int.
        let tag_mask = if version >= (3, 12) { !4 } else { !0 };
        if let Some(layout) = verify(py, tag_mask)? {
            let _ = LAYOUT.set(layout);
        }
    }
    Ok(LAYOUT.get().is_some())
}

impl ObjectLayout {
    /// The layout of this interpreter's objects; `None` where the stable ABI has to be used.
    #[inline(always)]
    pub(super) fn get() -> Option<Self> {
        LAYOUT.get().copied()
    }

    /// The value of an `int` from 1 to 2^30 - 1; `None` for any other object.
    ///
    /// # Safety
    ///
    /// `object` lives.
    #[inline(always)]
    pub(super) unsafe fn small_int(self, object: *mut ffi::PyObject) -> Option<u32> {
        let int = object.cast::<IntObject>();
        // SAFETY: the object lives, so it has a type. An exact `int` has a tag, and `verify` has
        // shown that this tag means one digit, which is the value.
        unsafe {
            if (*object).ob_type != &raw mut ffi::PyLong_Type
                || (*int).tag & self.tag_mask != self.one_digit_tag
            {
                return None;
            }
            Some((*int).digit)
        }
    }

    /// Pointer to the items of a list, as many as its length says; null for some empty lists.
    ///
    /// # Safety
    ///
    /// `list` is a list that lives. The pointer is valid only until the list changes.
    #[inline(always)]
    pub(super) unsafe fn items(self, list: *mut ffi::PyObject) -> *mut *mut ffi::PyObject {
        // SAFETY: the caller's; `verify` has shown where the field is.
        unsafe { (*list.cast::<ListObject>()).items }
    }
}

/// Compare the fields of fresh objects with what the stable ABI's functions say about them.
fn verify(py: Python<'_>, tag_mask: usize) -> PyResult<Option<ObjectLayout>> {
    let one_digit = [1, 2, 255, 256, 50_257, 199_999, (1 << DIGIT_BITS) - 1];
    let others = [0, -1, -50_257, 1 << DIGIT_BITS, i64::MAX, i64::MIN];
    let numbers: Vec<i64> = one_digit.into_iter().chain(others).collect();
    let list = PyList::new(py, &numbers)?;
    // SAFETY: lists of all known versions are at least as large as `ListObject`, and this one
    // lives.
    let fields = unsafe { &*list.as_ptr().cast::<ListObject>() };
    if fields.len != numbers.len() as ffi::Py_ssize_t || fields.items.is_null() {
        return Ok(None);
    }
    let mut expected_tag = None;
    for (at, &number) in numbers.iter().enumerate() {
        let item = list.get_item(at)?;
        // SAFETY: the versions are known to have the items there and to give every int, zero too,
        // room for a tag and one digit.
        let (stored, int) = unsafe {
            let int = item.as_ptr().cast::<IntObject>().read();
            (*fields.items.add(at), int)
        };
        if stored != item.as_ptr() {
            return Ok(None);
        }
        let tag = int.tag & tag_mask;
        let has_tag = tag == *expected_tag.get_or_insert(tag);
        let is_one_digit = has_tag && i64::from(int.digit) == number;
        // The tag must tell one-digit ints from all others, and their digit must be the value.
        if is_one_digit != one_digit.contains(&number) || has_tag != is_one_digit {
            return Ok(None);
        }
    }
    Ok(expected_tag.map(|one_digit_tag| ObjectLayout {
        one_digit_tag,
        tag_mask,
    }))
}
