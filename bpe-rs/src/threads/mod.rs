//! The crate's worker pool, results in order, the number of threads, values made once, and stopping
//! long work.
//!
//! Workers outlive the call that starts them, because starting or waking a thread takes as long as
//! encoding tens of kilobytes. A caller always does a share of the work itself and never waits for a
//! worker that has not begun, so that busy workers, nested calls and forks cannot block it.

mod fork_once;
mod interrupt;
mod order;
mod pool;
mod slot;
mod system;

pub(crate) use fork_once::ForkOnce;
pub(crate) use interrupt::check_interrupt;
pub use interrupt::set_interrupt_check;
pub use order::{in_order, ReusableBuffers};
pub use pool::stop_idle_threads;
pub(crate) use pool::{run, run_until_error, Check};
pub use system::{available_threads, requested_threads};

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Lock `mutex`, also where a thread has panicked while it held the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `mutex` holds, also where a thread has panicked while it held the lock.
pub(crate) fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// [`lock`] a mutex that others hold for nanoseconds. `None` if it stays locked: in a forked child
/// the thread that holds the lock may not exist.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for attempt in 0..1000 {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(guard)) => return Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) if attempt < 900 => std::hint::spin_loop(),
            // Its thread may have lost its core.
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}
