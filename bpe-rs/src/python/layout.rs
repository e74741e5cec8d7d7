//! Where CPython keeps the items of a list and the value of an `int`.
//!
//! The stable ABI has a function call for each item and each value, which cost three times what is
//! done with them. The wheel stays abi3: it links nothing else. But where the interpreter is of a
//! version whose headers are known, and a trial on fresh objects finds them laid out like that,
//! fields are read and written in place; on any other interpreter `Layout::get` is `None`, and the
//! callers use the functions. `BPE_RS_STABLE_ABI=1` asks for the functions everywhere (tests run
//! both ways).

use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// Versions whose layout of lists and ints is known; 3.14 has not run this yet.
const KNOWN: std::ops::RangeInclusive<(u8, u8)> = (3, 10)..=(3, 14);

/// Whether objects are laid out as in an interpreter with a GIL: reference count, type.
pub(super) const HAS_GIL: bool =
    std::mem::size_of::<ffi::PyObject>() == 2 * std::mem::size_of::<usize>();

/// `PyListObject` up to the last field in use.
#[repr(C)]
struct List {
    head: ffi::PyObject,
    len: ffi::Py_ssize_t,
    items: *mut *mut ffi::PyObject,
}

/// `PyLongObject`: what the second field says has changed in 3.12, but for an `int` of one digit
/// and no sign it is always one number.
#[repr(C)]
struct Long {
    head: ffi::PyObject,
    tag: usize,
    digit: u32,
}

/// One digit has so many bits.
const DIGIT_BITS: u32 = 30;

/// That objects have the known layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// `Long::tag` of an `int` from 1 to 2^30 - 1, but for bits that do not count.
    one_digit: usize,
    /// Those that do.
    counts: usize,
}

/// What [`find`] found. The trial itself runs Python code, which may come back here: so nobody may
/// wait for it.
static LAYOUT: OnceLock<Layout> = OnceLock::new();

/// Find out whether this interpreter's objects have the known layout: once, when the module is
/// imported. Whether they have.
pub(super) fn find(py: Python<'_>) -> PyResult<bool> {
    let version = py.version_info();
    let known = HAS_GIL && KNOWN.contains(&(version.major, version.minor));
    let refused = std::env::var_os("BPE_RS_STABLE_ABI").is_some_and(|value| value == "1");
    if known && !refused {
        // From 3.14 on bit 2 says that an `int` is one of those that are always there.
        let counts = if version >= (3, 12) { !4 } else { !0 };
        if let Some(layout) = trial(py, counts)? {
            let _ = LAYOUT.set(layout);
        }
    }
    Ok(LAYOUT.get().is_some())
}

impl Layout {
    /// The layout of this interpreter's objects, if it is known.
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
        let long = object.cast::<Long>();
        // SAFETY: the object lives, so it has a type; an exact `int` has a tag, and by the trial
        // such a tag says that there is one digit, which is the value.
        unsafe {
            if (*object).ob_type != &raw mut ffi::PyLong_Type
                || (*long).tag & self.counts != self.one_digit
            {
                return None;
            }
            Some((*long).digit)
        }
    }

    /// The items of a list, as many as its length says.
    ///
    /// # Safety
    ///
    /// `list` is a list that lives; nothing may be read or written after it has changed.
    #[inline(always)]
    pub(super) unsafe fn items(self, list: *mut ffi::PyObject) -> *mut *mut ffi::PyObject {
        // SAFETY: the caller's, and the trial's.
        unsafe { (*list.cast::<List>()).items }
    }
}

/// Compare fields with what functions say, on fresh objects.
fn trial(py: Python<'_>, counts: usize) -> PyResult<Option<Layout>> {
    let one_digit = [1, 2, 255, 256, 50_257, 199_999, (1 << DIGIT_BITS) - 1];
    let others = [0, -1, -50_257, 1 << DIGIT_BITS, i64::MAX, i64::MIN];
    let numbers: Vec<i64> = one_digit.into_iter().chain(others).collect();
    let list = PyList::new(py, &numbers)?;
    // SAFETY: a version whose lists begin so, and one that lives.
    let fields = unsafe { &*list.as_ptr().cast::<List>() };
    if fields.len != numbers.len() as ffi::Py_ssize_t || fields.items.is_null() {
        return Ok(None);
    }
    let mut tag = None;
    for (at, &number) in numbers.iter().enumerate() {
        let item = list.get_item(at)?;
        // SAFETY: a version whose lists have their items there, and whose ints begin so (zero, too,
        // has room for a digit).
        let (there, long) = unsafe { (*fields.items.add(at), item.as_ptr().cast::<Long>().read()) };
        if there != item.as_ptr() {
            return Ok(None);
        }
        let tag = *tag.get_or_insert(long.tag & counts);
        let is_tagged = long.tag & counts == tag;
        let is_one = is_tagged && i64::from(long.digit) == number;
        if is_one != one_digit.contains(&number) || is_tagged != is_one {
            return Ok(None);
        }
    }
    Ok(tag.map(|one_digit| Layout { one_digit, counts }))
}
