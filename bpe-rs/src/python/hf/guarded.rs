//! What calls read again and again and seldom change, without a lock where the GIL is one.

use std::cell::UnsafeCell;
use std::sync::Mutex;

use pyo3::prelude::*;

use crate::python::ids::object_layout::HAS_GIL;
use crate::threads::lock;

/// A value that only a thread attached to the interpreter reads and changes.
#[derive(Default)]
pub(super) struct Guarded<T> {
    value: UnsafeCell<T>,
    /// Taken where there is no GIL. Taking it costs a short text two atomic steps each time.
    lock: Mutex<()>,
}

// SAFETY: `with` lets one thread at a time have the value.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            value: value.into(),
            lock: Mutex::default(),
        }
    }

    /// Call `work` with the value. It must neither run Python code, as dropping an object may, nor
    /// release the GIL, nor come back here.
    pub(super) fn with<R>(&self, _py: Python<'_>, work: impl FnOnce(&mut T) -> R) -> R {
        let _turn = (!HAS_GIL).then(|| lock(&self.lock));
        // SAFETY: `_py` shows that this thread holds the GIL, and `work` keeps it; without a GIL it
        // holds the lock. So nobody else has a reference.
        work(unsafe { &mut *self.value.get() })
    }
}
