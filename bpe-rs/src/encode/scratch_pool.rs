//! Buffers and caches, kept between calls.

use std::ops::{Deref, DerefMut};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::{Scratch, DEFAULT_CACHE_BYTES};

/// Buffers and caches of one vocabulary that no call uses at the moment. Calls of several threads
/// each get their own.
#[derive(Debug)]
pub struct Pool {
    /// Those that the last call gave back, if no other call has them: to lock twice took a
    /// twentieth of a short call. Null, or out of a box that is the pool's own.
    last: AtomicPtr<Scratch>,
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
            last: AtomicPtr::new(null_mut()),
            idle: Mutex::default(),
            cache_limit: AtomicUsize::new(DEFAULT_CACHE_BYTES),
            process: std::process::id(),
        }
    }
}

impl Pool {
    /// Run `work` with buffers of its own.
    pub fn with<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let limit = self.cache_limit.load(Ordering::Relaxed);
        let last = self.take_last().filter(|last| last.cache_limit() == limit);
        let mut lease = last.map_or_else(|| self.lease(), |last| self.lend(last, limit));
        lease.alone = true;
        work(&mut lease)
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
        let idle = self.all().and_then(|mut idle| {
            let best = (0..idle.len()).max_by_key(|&at| worth(&idle[at]))?;
            Some(idle.swap_remove(best))
        });
        // Where a new limit could not reach the idle ones, those of an older one end here.
        let idle = idle.filter(|scratch| scratch.cache_limit() == limit);
        self.lend(idle.unwrap_or_else(|| Box::new(Scratch::new(limit))), limit)
    }

    fn lend(&self, scratch: Box<Scratch>, limit: usize) -> Lease<'_> {
        Lease {
            scratch: Some(scratch),
            limit,
            pool: self,
            alone: false,
        }
    }

    fn take_last(&self) -> Option<Box<Scratch>> {
        let last = self.last.swap(null_mut(), Ordering::SeqCst);
        // SAFETY: out of a box, and nobody else has it any more.
        (!last.is_null()).then(|| unsafe { Box::from_raw(last) })
    }

    /// Make `scratch` the last ones, unless there are some.
    fn put_last(&self, scratch: Box<Scratch>) -> Result<(), Box<Scratch>> {
        let scratch = Box::into_raw(scratch);
        let (done, failed) = (Ordering::SeqCst, Ordering::Relaxed);
        self.last
            .compare_exchange(null_mut(), scratch, done, failed)
            // SAFETY: out of the box above, and nobody else has seen it.
            .map_err(|_| unsafe { Box::from_raw(scratch) })
            .map(|_| ())
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

    /// [`Self::lock`], with the last ones among them.
    fn all(&self) -> Option<MutexGuard<'_, Idle>> {
        let mut idle = self.lock()?;
        let last = self.take_last();
        // Not earlier: a limit that is set after this look finds them here.
        let limit = self.cache_limit.load(Ordering::SeqCst);
        idle.extend(last.filter(|last| last.cache_limit() == limit));
        Some(idle)
    }

    /// Bound the caches of each thread to about `bytes`, and forget what idle ones hold.
    pub fn set_limit(&self, bytes: usize) {
        // Before the last ones are taken: whoever puts others there afterwards sees it.
        self.cache_limit.store(bytes, Ordering::SeqCst);
        let last = self.take_last();
        let idle = self.lock().map(|mut idle| std::mem::take(&mut *idle));
        // Not under the lock: much memory goes back to the system.
        drop((last, idle));
    }

    /// Bytes that idle caches hold.
    pub fn bytes(&self) -> usize {
        self.all().map_or(0, |idle| {
            idle.iter().map(|scratch| scratch.cache_bytes()).sum()
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.take_last();
    }
}

/// Buffers of a [`Pool`] for one thread.
pub struct Lease<'a> {
    /// There until dropped.
    scratch: Option<Box<Scratch>>,
    limit: usize,
    pool: &'a Pool,
    /// Whether the call that has it has no other.
    alone: bool,
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
        let Some(mut scratch) = self.scratch.take().filter(|_| !std::thread::panicking()) else {
            return;
        };
        scratch.forget_ids();
        if self.alone {
            match self.pool.put_last(scratch) {
                Err(back) => scratch = back,
                Ok(()) => {
                    // Caches of an older limit end here: a new one that came too late to find them
                    // in their place is known by now.
                    if self.limit != self.pool.cache_limit.load(Ordering::SeqCst) {
                        drop(self.pool.take_last());
                    }
                    return;
                }
            }
        }
        if let Some(mut idle) = self.pool.lock() {
            if idle.len() < IDLE && self.limit == self.pool.cache_limit.load(Ordering::Relaxed) {
                idle.push(scratch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limits of all idle caches.
    fn limits(pool: &Pool) -> Vec<usize> {
        let idle = pool.all().unwrap();
        idle.iter().map(|scratch| scratch.cache_limit()).collect()
    }

    #[test]
    fn a_new_limit_reaches_caches_in_use() {
        let pool = Pool::default();
        pool.with(|_| ());
        assert_eq!(limits(&pool), [DEFAULT_CACHE_BYTES]);
        pool.with(|_| pool.set_limit(1 << 20));
        assert!(pool.take_last().is_none());
        assert!(limits(&pool).is_empty());
        // As if a call had just put it there.
        pool.put_last(Box::new(Scratch::new(1 << 19))).unwrap();
        assert!(limits(&pool).is_empty());
        pool.put_last(Box::new(Scratch::new(1 << 19))).unwrap();
        pool.with(|scratch| assert_eq!(scratch.cache_limit(), 1 << 20));
        pool.set_limit(1 << 20);
        pool.with(|_| ());
        assert_eq!(limits(&pool), [1 << 20]);
    }

    #[test]
    fn no_caches_of_an_old_limit_stay_whoever_has_them() {
        let pool = &Pool::default();
        let calls = if cfg!(miri) { 20 } else { 2000 };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(move || (0..calls).for_each(|_| pool.with(|_| ())));
            }
            for call in 0..calls {
                pool.set_limit((1 << 20) + call % 2);
                drop([pool.lease(), pool.lease_of(1)]);
            }
        });
        let limit = pool.cache_limit.load(Ordering::SeqCst);
        assert!(pool
            .take_last()
            .is_none_or(|last| last.cache_limit() == limit));
        assert!(limits(pool).iter().all(|&of| of == limit));
    }

    #[test]
    fn calls_of_one_thread_have_the_same_caches() {
        let pool = Pool::default();
        let place = |scratch: &mut Scratch| std::ptr::from_mut(scratch) as usize;
        let first = pool.with(place);
        assert_eq!(pool.with(place), first);
        let mut lease = pool.lease();
        assert_eq!(place(&mut lease), first);
        assert_ne!(pool.with(place), first);
    }

    #[test]
    fn who_finds_it_locked_makes_no_caches_of_its_own() {
        const MOMENT: std::time::Duration = std::time::Duration::from_millis(50);
        let pool = Pool::default();
        drop(pool.lease());
        let held = pool.lock();
        std::thread::scope(|scope| {
            scope.spawn(|| drop(pool.lease()));
            std::thread::sleep(MOMENT);
            drop(held);
        });
        assert_eq!(limits(&pool).len(), 1);
    }
}
