//! Buffers and caches, kept between calls.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::{Scratch, DEFAULT_CACHE_BYTES};

/// Buffers and caches of one vocabulary that no call uses at the moment. Calls of several threads
/// each get their own.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<Idle>,
    cache_limit: AtomicUsize,
    /// The process that made it.
    process: u32,
}

/// Boxed: moving them about took a fifth of a short call.
#[allow(clippy::vec_box)]
type Idle = Vec<Box<Scratch>>;

/// More idle caches than this are dropped: a burst of threads must not keep memory for ever.
const IDLE: usize = 64;
/// Looks at the lock, which others hold for some nanoseconds, or for longer when they lose their
/// core meanwhile.
const TRIES: usize = 1000;
/// Looks before the core is left to others.
const PATIENT: usize = 900;

impl Default for Pool {
    fn default() -> Self {
        Self {
            idle: Mutex::default(),
            cache_limit: AtomicUsize::new(DEFAULT_CACHE_BYTES),
            process: std::process::id(),
        }
    }
}

impl Pool {
    /// Run `work` with buffers of its own.
    pub fn with<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        work(&mut self.lease())
    }

    /// Buffers that come back when dropped.
    pub fn lease(&self) -> Lease<'_> {
        // The ones that know most; seldom is there a choice.
        self.lease_best(Scratch::pieces)
    }

    /// The same for one of several threads, by preference those that it had before.
    pub fn lease_of(&self, thread: usize) -> Lease<'_> {
        let mut lease = self.lease_best(|scratch| (scratch.thread == thread, scratch.pieces()));
        lease.thread = thread;
        lease
    }

    fn lease_best<T: Ord>(&self, worth: impl Fn(&Scratch) -> T) -> Lease<'_> {
        let limit = self.cache_limit.load(Ordering::Relaxed);
        let idle = self.lock().and_then(|mut idle| {
            let best = (0..idle.len()).max_by_key(|&at| worth(&idle[at]))?;
            Some(idle.swap_remove(best))
        });
        // Where a new limit could not reach the idle ones, those of an older one end here.
        let idle = idle.filter(|scratch| scratch.cache_limit() == limit);
        Lease {
            scratch: Some(idle.unwrap_or_else(|| Box::new(Scratch::new(limit)))),
            limit,
            pool: self,
        }
    }

    /// The idle ones, unless they stay locked: after a fork the thread that held the lock may not
    /// exist.
    fn lock(&self) -> Option<MutexGuard<'_, Idle>> {
        for at in 0..TRIES {
            match self.idle.try_lock() {
                Ok(idle) => return Some(idle),
                Err(TryLockError::Poisoned(idle)) => return Some(idle.into_inner()),
                Err(TryLockError::WouldBlock) if at < PATIENT => std::hint::spin_loop(),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        // Who does not wait makes caches of its own, and these stay: on a busy machine memory would
        // rise step by step. To ask for the process takes longer than to look.
        let wait = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        (std::process::id() == self.process).then(wait)
    }

    /// Bound the caches of each thread to about `bytes`, and forget what idle ones hold.
    pub fn set_limit(&self, bytes: usize) {
        self.cache_limit.store(bytes, Ordering::Relaxed);
        let idle = self.lock().map(|mut idle| std::mem::take(&mut *idle));
        // Not under the lock: much memory goes back to the system.
        drop(idle);
    }

    /// Bytes that idle caches hold.
    pub fn bytes(&self) -> usize {
        self.lock().map_or(0, |idle| {
            idle.iter().map(|scratch| scratch.cache_bytes()).sum()
        })
    }
}

/// Buffers of a [`Pool`] for one thread.
pub struct Lease<'a> {
    /// There until dropped.
    scratch: Option<Box<Scratch>>,
    limit: usize,
    pool: &'a Pool,
}

impl Deref for Lease<'_> {
    type Target = Scratch;
    fn deref(&self) -> &Scratch {
        self.scratch.as_ref().expect("there until dropped")
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Scratch {
        self.scratch.as_mut().expect("there until dropped")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // What a panic left half done is not used again.
        let mut scratch = self.scratch.take().filter(|_| !std::thread::panicking());
        if let Some(scratch) = &mut scratch {
            scratch.forget_ids();
        }
        if let (Some(scratch), Some(mut idle)) = (scratch, self.pool.lock()) {
            // Caches of an older limit end here.
            if idle.len() < IDLE && self.limit == self.pool.cache_limit.load(Ordering::Relaxed) {
                idle.push(scratch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_limit_reaches_caches_in_use() {
        let pool = Pool::default();
        pool.with(|_| ());
        assert_eq!(pool.lock().unwrap().len(), 1);
        pool.with(|_| pool.set_limit(1 << 20));
        assert!(pool.lock().unwrap().is_empty());
        pool.with(|_| ());
        assert_eq!(pool.lock().unwrap().len(), 1);
    }

    #[test]
    fn who_finds_it_locked_makes_no_caches_of_its_own() {
        const MOMENT: std::time::Duration = std::time::Duration::from_millis(50);
        let pool = Pool::default();
        pool.with(|_| ());
        let held = pool.lock();
        std::thread::scope(|scope| {
            scope.spawn(|| pool.with(|_| std::thread::sleep(2 * MOMENT)));
            std::thread::sleep(MOMENT);
            drop(held);
        });
        assert_eq!(pool.lock().unwrap().len(), 1);
    }
}
