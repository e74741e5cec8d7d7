//! A value that is made at its first use, like `std::sync::OnceLock`, but safe against forks.
//!
//! A child that is forked while another thread makes the value inherits the lock but not the thread,
//! and would wait for a `OnceLock` for ever. Here the lock is the number of the process that makes
//! the value, so a child sees that it must make its own.

use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::OnceLock;
use std::time::Duration;

/// How long a thread sleeps between two looks at a value that another one makes.
const PAUSE: Duration = Duration::from_micros(50);
/// No process has this number.
const NOBODY: u32 = 0;

/// A value that is made at its first use.
pub struct ForkOnce<T> {
    /// Null, or from a box.
    value: AtomicPtr<T>,
    /// The process one of whose threads makes the value, or [`NOBODY`].
    maker: AtomicU32,
    /// `Send` and `Sync` where a `OnceLock` is.
    like: PhantomData<OnceLock<T>>,
}

impl<T> ForkOnce<T> {
    /// Without a value.
    pub const fn new() -> Self {
        Self {
            value: AtomicPtr::new(null_mut()),
            maker: AtomicU32::new(NOBODY),
            like: PhantomData,
        }
    }

    /// The value, if it has been made.
    #[inline(always)]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: null, or from a box that lives as long as `self`, and is written once.
        unsafe { self.value.load(Ordering::Acquire).as_ref() }
    }

    /// The value, made by `make` if there is none. Of several threads one makes it and the others
    /// wait.
    #[inline(always)]
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        match self.get() {
            Some(value) => value,
            None => self.first(make),
        }
    }

    #[cold]
    fn first(&self, make: impl FnOnce() -> T) -> &T {
        let process = std::process::id();
        let _turn = loop {
            let maker = self.maker.load(Ordering::Acquire);
            // Another number is that of a process that this one was forked from.
            if maker != process {
                let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
                let change = self
                    .maker
                    .compare_exchange(maker, process, success, failure);
                if change.is_ok() {
                    break Turn(&self.maker);
                }
            }
            std::thread::sleep(PAUSE);
        };
        if self.get().is_none() {
            let made = Box::into_raw(Box::new(make()));
            self.value.store(made, Ordering::Release);
        }
        self.get().expect("made above")
    }

    /// Take the value out.
    pub fn take(&mut self) -> Option<T> {
        let value = std::mem::replace(self.value.get_mut(), null_mut());
        // SAFETY: from a box, and no longer in `self`.
        (!value.is_null()).then(|| *unsafe { Box::from_raw(value) })
    }
}

/// Ends the turn of the maker, also when it panics.
struct Turn<'a>(&'a AtomicU32);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(NOBODY, Ordering::Release);
    }
}

impl<T> Drop for ForkOnce<T> {
    fn drop(&mut self) {
        self.take();
    }
}

impl<T> Default for ForkOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for ForkOnce<T> {
    fn from(value: T) -> Self {
        let mut this = Self::new();
        *this.value.get_mut() = Box::into_raw(Box::new(value));
        this
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for ForkOnce<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn one_thread_makes_it_and_all_see_it() {
        let (value, made) = (&ForkOnce::new(), &AtomicUsize::new(0));
        assert!(value.get().is_none());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    let seen = value.get_or_init(|| {
                        std::thread::sleep(PAUSE);
                        made.fetch_add(1, Ordering::SeqCst);
                        vec![1, 2, 3]
                    });
                    assert_eq!(seen, &[1, 2, 3]);
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(ForkOnce::from(7).take(), Some(7));
        assert_eq!(ForkOnce::<u8>::default().take(), None);
    }

    #[test]
    fn a_maker_of_another_process_or_one_that_panicked_is_not_waited_for() {
        let value = ForkOnce::new();
        value.maker.store(u32::MAX, Ordering::SeqCst);
        assert_eq!(*value.get_or_init(|| 3), 3);
        let value = ForkOnce::<u8>::new();
        let panic = || value.get_or_init(|| panic!("in vain"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panic)).is_err());
        assert_eq!(*value.get_or_init(|| 4), 4);
    }
}
