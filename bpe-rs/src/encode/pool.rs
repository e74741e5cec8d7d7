//! Buffers and caches, kept between calls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Scratch, DEFAULT_CACHE_BYTES};

/// Buffers and caches of one vocabulary that no call uses at the moment. Calls of several threads
/// each get their own.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<Vec<Scratch>>,
    cache_limit: AtomicUsize,
}

/// More idle caches than this are dropped: a burst of threads must not keep memory for ever.
const IDLE: usize = 64;

impl Default for Pool {
    fn default() -> Self {
        Self {
            idle: Mutex::default(),
            cache_limit: AtomicUsize::new(DEFAULT_CACHE_BYTES),
        }
    }
}

impl Pool {
    /// Run `work` with buffers of its own.
    pub fn with<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let limit = self.cache_limit.load(Ordering::Relaxed);
        // Never wait: after a fork the thread that held the lock may not exist.
        let idle = self.idle.try_lock().ok().and_then(|mut idle| {
            // The one that knows most; seldom is there a choice.
            let best = (0..idle.len()).max_by_key(|&at| idle[at].pieces())?;
            Some(idle.swap_remove(best))
        });
        let mut scratch = idle.unwrap_or_else(|| Scratch::new(limit));
        let result = work(&mut scratch);
        if let Ok(mut idle) = self.idle.try_lock() {
            // Caches of an older limit end here.
            if idle.len() < IDLE && limit == self.cache_limit.load(Ordering::Relaxed) {
                idle.push(scratch);
            }
        }
        result
    }

    /// Bound the caches of each thread to about `bytes`, and forget what idle ones hold.
    pub fn set_limit(&self, bytes: usize) {
        let mut idle = self.lock();
        self.cache_limit.store(bytes, Ordering::Relaxed);
        idle.clear();
    }

    /// Bytes that idle caches hold.
    pub fn bytes(&self) -> usize {
        self.lock().iter().map(Scratch::cache_bytes).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Scratch>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_limit_reaches_caches_in_use() {
        let pool = Pool::default();
        pool.with(|_| ());
        assert_eq!(pool.lock().len(), 1);
        pool.with(|_| pool.set_limit(1 << 20));
        assert!(pool.lock().is_empty());
        pool.with(|_| ());
        assert_eq!(pool.lock().len(), 1);
    }
}
