//! What one thread needs to encode with one vocabulary, and a pool of it that calls use in turn.

use std::ops::{Deref, DerefMut};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::batch::Batch;
use super::cache::{Cache, DEFAULT_CACHE_BYTES};
use super::joined_texts::JoinedTexts;
use super::memo::TextMemo;
use super::piece::PieceEncoder;
use crate::pretokenize::Scanner;
use crate::threads::{lock, try_lock};

/// More memory for ids than this is not kept from one call to the next.
const KEPT_IDS: usize = 1 << 18;

/// Buffers and caches of one thread and one vocabulary, reusable. With another vocabulary the caches
/// would give wrong ids.
pub struct Scratch {
    pub(super) scanner: Scanner,
    pub(super) caches: Caches,
    /// Whole texts, for callers that rewrite texts before they are encoded.
    pub memo: TextMemo,
    /// Ends of pieces, for vocabularies that cut text themselves.
    pub(super) bounds: Vec<u32>,
    /// For vocabularies that merge in two stages.
    pub(super) stages: StageBuffers,
    /// Short texts that are encoded together.
    pub(super) joined: JoinedTexts,
    /// Memory for ids that are copied elsewhere.
    pub(super) ids: Vec<u32>,
    /// The number of the thread that had it last.
    thread: usize,
    /// The limit that [`Self::new`] was given.
    cache_limit: usize,
}

/// The caches with what probes and fills them.
pub(super) struct Caches {
    pub(super) batch: Box<Batch>,
    pub(super) cache: Cache,
    pub(super) encoder: PieceEncoder,
}

/// Buffers for vocabularies that merge in two stages.
#[derive(Default)]
pub(super) struct StageBuffers {
    /// Ends of words.
    pub(super) words: Vec<u32>,
    /// A mark for each word that begins a piece, else 0.
    pub(super) marks: Vec<u32>,
    /// Symbols, which are merge numbers.
    pub(super) symbols: Vec<u32>,
    /// The first symbol and the number of symbols of each run.
    pub(super) runs: Vec<(usize, usize)>,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scratch({} bytes)", self.cache_bytes())
    }
}

impl Scratch {
    /// Empty caches that may grow to about `cache_limit` bytes, and to an eighth of it more where whole
    /// texts are remembered.
    pub fn new(cache_limit: usize) -> Self {
        Self {
            scanner: Scanner::new(),
            caches: Caches {
                batch: Batch::new(),
                cache: Cache::new(cache_limit),
                encoder: PieceEncoder::default(),
            },
            memo: TextMemo::new(cache_limit / 8),
            bounds: Vec::new(),
            stages: StageBuffers::default(),
            joined: JoinedTexts::new(),
            ids: Vec::new(),
            thread: 0,
            cache_limit,
        }
    }

    /// The number of pieces in the caches.
    pub(super) fn pieces(&self) -> usize {
        self.caches.cache.pieces()
    }

    /// Run `work` with an empty vector for ids whose memory is reused.
    pub fn with_ids<T>(&mut self, work: impl FnOnce(&mut Self, &mut Vec<u32>) -> T) -> T {
        let mut ids = std::mem::take(&mut self.ids);
        ids.clear();
        let result = work(self, &mut ids);
        self.ids = ids;
        result
    }

    /// Empty the memory for ids and free what is more than usual.
    pub(super) fn clear_ids(&mut self) {
        self.ids.clear();
        self.ids.shrink_to(KEPT_IDS);
    }

    /// The encoder of single pieces, which uses no caches.
    pub fn piece_encoder(&mut self) -> &mut PieceEncoder {
        &mut self.caches.encoder
    }

    /// Bytes that the caches take now.
    pub fn cache_bytes(&self) -> usize {
        self.caches.cache.size() + self.memo.size()
    }
}

/// The idle buffers and caches of one vocabulary. Calls that run at the same time each get their own.
#[derive(Debug)]
pub struct ScratchPool {
    /// What the last call gave back, unless another call has it: one atomic exchange takes it, which
    /// short calls notice. Null, or from a box that belongs to the pool.
    last: AtomicPtr<Scratch>,
    /// The other idle ones.
    idle: Mutex<Idle>,
    cache_limit: AtomicUsize,
    /// The process that made the pool.
    process: u32,
}

/// Boxed, because a `Scratch` is large and moved often.
#[allow(clippy::vec_box)]
type Idle = Vec<Box<Scratch>>;

/// More idle ones than this are dropped: a burst of threads must not keep memory for ever.
const MOST_IDLE: usize = 64;

impl Default for ScratchPool {
    fn default() -> Self {
        Self {
            last: AtomicPtr::new(null_mut()),
            idle: Mutex::default(),
            cache_limit: AtomicUsize::new(DEFAULT_CACHE_BYTES),
            process: std::process::id(),
        }
    }
}

impl ScratchPool {
    /// Run `work` with buffers and caches that no other call has.
    pub fn with<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let limit = self.cache_limit.load(Ordering::Relaxed);
        let last = self.take_last().filter(|last| last.cache_limit == limit);
        let mut lease = last.map_or_else(|| self.lease(), |last| self.lend(last));
        lease.becomes_last = true;
        work(&mut lease)
    }

    /// Buffers and caches that come back when dropped: of the idle ones those with most pieces.
    pub fn lease(&self) -> Lease<'_> {
        self.lease_best(Scratch::pieces)
    }

    /// [`Self::lease`] for one of several threads: preferably what it had before, whose caches hold
    /// what it encoded.
    pub fn lease_of(&self, thread: usize) -> Lease<'_> {
        let mut lease = self.lease_best(|scratch| (scratch.thread == thread, scratch.pieces()));
        lease.thread = thread;
        lease
    }

    fn lease_best<T: Ord>(&self, rating: impl Fn(&Scratch) -> T) -> Lease<'_> {
        let limit = self.cache_limit.load(Ordering::Relaxed);
        let idle = self.lock_all().and_then(|mut idle| {
            let best = (0..idle.len()).max_by_key(|&at| rating(&idle[at]))?;
            Some(idle.swap_remove(best))
        });
        // `set_limit` may have failed to empty the list; what has an older limit is dropped here.
        let idle = idle.filter(|scratch| scratch.cache_limit == limit);
        self.lend(idle.unwrap_or_else(|| Box::new(Scratch::new(limit))))
    }

    fn lend(&self, scratch: Box<Scratch>) -> Lease<'_> {
        Lease {
            scratch: Some(scratch),
            pool: self,
            becomes_last: false,
        }
    }

    fn take_last(&self) -> Option<Box<Scratch>> {
        let last = self.last.swap(null_mut(), Ordering::SeqCst);
        // SAFETY: from a box, and the exchange gave it to this call alone.
        (!last.is_null()).then(|| unsafe { Box::from_raw(last) })
    }

    /// Put `scratch` in the place of the last one; gives it back if the place is taken.
    fn put_last(&self, scratch: Box<Scratch>) -> Result<(), Box<Scratch>> {
        let scratch = Box::into_raw(scratch);
        let (success, failure) = (Ordering::SeqCst, Ordering::Relaxed);
        self.last
            .compare_exchange(null_mut(), scratch, success, failure)
            // SAFETY: from the box above, and no other thread has seen it.
            .map_err(|_| unsafe { Box::from_raw(scratch) })
            .map(|_| ())
    }

    /// The list of idle ones. `None` in a forked child if it stays locked: the thread that holds the
    /// lock may not exist there. In other processes it waits, rather than make new caches that would
    /// then stay: on a busy machine the pool would grow step by step.
    fn lock(&self) -> Option<MutexGuard<'_, Idle>> {
        // Asking for the process number takes longer than trying the lock.
        let wait = || (std::process::id() == self.process).then(|| lock(&self.idle));
        try_lock(&self.idle).or_else(wait)
    }

    /// [`Self::lock`], with the last one moved into the list.
    fn lock_all(&self) -> Option<MutexGuard<'_, Idle>> {
        let mut idle = self.lock()?;
        let last = self.take_last();
        // Read after taking: a `set_limit` that comes later finds the last one in the list.
        let limit = self.cache_limit.load(Ordering::SeqCst);
        idle.extend(last.filter(|last| last.cache_limit == limit));
        Some(idle)
    }

    /// Bound the caches of each thread to about `bytes`, and drop the idle ones.
    pub fn set_limit(&self, bytes: usize) {
        // Stored before the last one is taken: a call that puts one there later sees the new limit.
        self.cache_limit.store(bytes, Ordering::SeqCst);
        let last = self.take_last();
        let idle = self.lock().map(|mut idle| std::mem::take(&mut *idle));
        // Without the lock, because freeing much memory takes long.
        drop((last, idle));
    }

    /// Bytes that idle caches hold.
    pub fn bytes(&self) -> usize {
        let idle = self.lock_all();
        idle.map_or(0, |idle| idle.iter().map(|s| s.cache_bytes()).sum())
    }
}

impl Drop for ScratchPool {
    fn drop(&mut self) {
        self.take_last();
    }
}

/// A [`Scratch`] that goes back to its [`ScratchPool`] when dropped.
pub struct Lease<'a> {
    /// `Some` until dropped.
    scratch: Option<Box<Scratch>>,
    pool: &'a ScratchPool,
    /// Whether it goes to the place of the last one: the only one of its call.
    becomes_last: bool,
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
        // A panic may have left it half changed.
        let Some(mut scratch) = self.scratch.take().filter(|_| !std::thread::panicking()) else {
            return;
        };
        scratch.clear_ids();
        let limit = scratch.cache_limit;
        if self.becomes_last {
            match self.pool.put_last(scratch) {
                Err(back) => scratch = back,
                Ok(()) => {
                    // A `set_limit` that came too early to find it there has stored its limit by now.
                    if limit != self.pool.cache_limit.load(Ordering::SeqCst) {
                        drop(self.pool.take_last());
                    }
                    return;
                }
            }
        }
        if let Some(mut idle) = self.pool.lock() {
            let current = self.pool.cache_limit.load(Ordering::Relaxed);
            if idle.len() < MOST_IDLE && limit == current {
                idle.push(scratch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limits of all idle caches.
    fn limits(pool: &ScratchPool) -> Vec<usize> {
        let idle = pool.lock_all().unwrap();
        idle.iter().map(|scratch| scratch.cache_limit).collect()
    }

    #[test]
    fn a_new_limit_reaches_caches_in_use() {
        let pool = ScratchPool::default();
        pool.with(|_| ());
        assert_eq!(limits(&pool), [DEFAULT_CACHE_BYTES]);
        pool.with(|_| pool.set_limit(1 << 20));
        assert!(pool.take_last().is_none());
        assert!(limits(&pool).is_empty());
        // As if a call with the old limit had just given it back.
        pool.put_last(Box::new(Scratch::new(1 << 19))).unwrap();
        assert!(limits(&pool).is_empty());
        pool.put_last(Box::new(Scratch::new(1 << 19))).unwrap();
        pool.with(|scratch| assert_eq!(scratch.cache_limit, 1 << 20));
        pool.set_limit(1 << 20);
        pool.with(|_| ());
        assert_eq!(limits(&pool), [1 << 20]);
    }

    #[test]
    fn no_caches_of_an_old_limit_stay() {
        let pool = &ScratchPool::default();
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
            .is_none_or(|last| last.cache_limit == limit));
        assert!(limits(pool).iter().all(|&of| of == limit));
    }

    #[test]
    fn consecutive_calls_have_the_same_caches() {
        let pool = ScratchPool::default();
        let place = |scratch: &mut Scratch| std::ptr::from_mut(scratch) as usize;
        let first = pool.with(place);
        assert_eq!(pool.with(place), first);
        let mut lease = pool.lease();
        assert_eq!(place(&mut lease), first);
        assert_ne!(pool.with(place), first);
    }

    #[test]
    fn a_call_that_finds_the_pool_locked_waits() {
        const MOMENT: std::time::Duration = std::time::Duration::from_millis(50);
        let pool = ScratchPool::default();
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
