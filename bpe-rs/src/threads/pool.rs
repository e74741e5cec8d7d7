//! The worker pool: threads that stay for a while between calls and run a caller's job beside it.
//!
//! A call never waits for a worker that has not begun: it uses only workers that no other call has,
//! and withdraws the job from those that come too late. A forked child has its parent's memory but
//! not its threads, so it makes a pool of its own and leaves the other alone.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::Mutex;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use super::slot::{Job, Slot, State};
use super::system::available_threads;
use super::{into_inner, lock, try_lock};
use crate::error::{Error, Result};

/// More threads than cores gain nothing and cost memory. On small machines there may be this many,
/// so that tests run on several.
const FEWEST_CORES: usize = 16;
/// How long [`stop_idle_threads`] waits for workers to end.
const STOP_TIMEOUT: Duration = Duration::from_millis(20);

/// Run `own` on this thread and `work` on up to `workers` others, though not on many more than there
/// are cores. Returns when `own` and every `work` that has begun are done. Perhaps no worker begins,
/// so `own` must be able to do everything alone: both take shares of one source until it is empty.
///
/// Without `wake` only workers that are spinning are used, which costs next to nothing; with it
/// others are woken or started.
///
/// # Panics
/// When `own` or a `work` panics, after all are done.
pub(crate) fn run<T>(
    workers: usize,
    wake: bool,
    work: &(dyn Fn() + Sync),
    own: impl FnOnce() -> T,
) -> T {
    if cfg!(miri) {
        // Miri reports threads that have not ended.
        return std::thread::scope(|scope| {
            (0..workers).for_each(|_| drop(scope.spawn(work)));
            own()
        });
    }
    if workers == 0 {
        return own();
    }
    let workers = workers.min(available_threads().max(FEWEST_CORES) - 1);
    let job = Job::new(work);
    // SAFETY: `posted` is dropped before `job`, whatever `own` does.
    let posted = unsafe { PostedJob::new(workers, wake, &job) };
    let result = catch_unwind(AssertUnwindSafe(own));
    // From here on no worker uses the job.
    drop(posted);
    match (result, job.into_panic()) {
        (Ok(result), None) => result,
        (Err(panic), _) | (Ok(_), Some(panic)) => resume_unwind(panic),
    }
}

/// Call `work(check)` on this thread and on up to `threads - 1` others. `work` calls its argument now
/// and then and ends with the error that it returns: that of `check`, which is called on this thread
/// only, or `Interrupted` once another thread has failed.
///
/// # Errors
/// The first error of any thread.
pub(crate) fn run_until_error(
    threads: usize,
    check: &mut Check<'_>,
    work: &(dyn Fn(&mut Check<'_>) -> Result<()> + Sync),
) -> Result<()> {
    let (first_error, failed) = (Mutex::new(None), AtomicBool::new(false));
    let attempt = |check: &mut Check<'_>| {
        let outcome = work(&mut |done| match failed.load(Ordering::Relaxed) {
            true => Err(Error::interrupted()),
            false => check(done),
        });
        if let Err(error) = outcome {
            // Kept before the others stop, since they stop with errors.
            lock(&first_error).get_or_insert(error);
            failed.store(true, Ordering::Relaxed);
        }
    };
    run(threads - 1, true, &|| attempt(&mut |_| Ok(())), || {
        attempt(check);
    });
    into_inner(first_error).map_or(Ok(()), Err)
}

/// Progress and signal check between two parts of the work, given what is done so far.
pub(crate) type Check<'a> = dyn FnMut(u64) -> Result<()> + 'a;

/// Stop the workers that have no job. Called before `os.fork`, because CPython 3.12+ warns when
/// other threads exist.
pub fn stop_idle_threads() {
    let slots = Pool::existing().and_then(|pool| try_lock(&pool.slots));
    let Some(slots) = slots.map(|slots| slots.clone()) else {
        return;
    };
    slots.iter().for_each(|slot| slot.stop_idle());
    let start = Instant::now();
    while slots.iter().any(|slot| slot.is_stopping()) && start.elapsed() < STOP_TIMEOUT {
        yield_now();
    }
}

/// The slots in which a job was posted. Dropping it withdraws the job from workers that have not
/// begun and waits for the others.
struct PostedJob(Vec<&'static Slot>);

impl PostedJob {
    /// Post `job` in up to `count` slots.
    ///
    /// # Safety
    /// `job` outlives the result, which is dropped.
    unsafe fn new(count: usize, wake: bool, job: &Job<'_>) -> Self {
        let spins = count < available_threads();
        let mut posted = Self(Vec::with_capacity(count));
        for (slot, before) in Pool::get().claim(count, wake) {
            // SAFETY: dropping `posted`, before `job` ends, withdraws the job or waits for it.
            if unsafe { slot.post(before, job, spins) } {
                posted.0.push(slot);
            }
        }
        posted
    }
}

impl Drop for PostedJob {
    fn drop(&mut self) {
        // Withdraw everywhere first: no worker may begin while this waits for another.
        self.0.retain(|slot| !slot.withdraw());
        self.0.iter().for_each(|slot| slot.wait());
    }
}

/// The workers of one process.
struct Pool {
    process: u32,
    slots: Mutex<Vec<&'static Slot>>,
}

static POOL: AtomicPtr<Pool> = AtomicPtr::new(null_mut());

impl Pool {
    /// This process's pool, if it has one.
    fn existing() -> Option<&'static Self> {
        // SAFETY: null, or from a box in `get` that is never freed.
        let pool = unsafe { POOL.load(Ordering::Acquire).as_ref() };
        pool.filter(|pool| pool.process == std::process::id())
    }

    /// This process's pool, made now if it has none.
    fn get() -> &'static Self {
        let process = std::process::id();
        let mut current = POOL.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or from the box below that is never freed.
            match unsafe { current.as_ref() } {
                Some(pool) if pool.process == process => return pool,
                _ => {}
            }
            let slots = Mutex::default();
            let own = Box::into_raw(Box::new(Self { process, slots }));
            match POOL.compare_exchange(current, own, Ordering::AcqRel, Ordering::Acquire) {
                // The parent's pool, if there is one, is leaked: its locks may be held for ever.
                Ok(_) => current = own,
                Err(other) => {
                    // SAFETY: from the box above, and no other thread has seen it.
                    drop(unsafe { Box::from_raw(own) });
                    current = other;
                }
            }
        }
    }

    /// Claim up to `count` slots, each with its state before.
    fn claim(&self, count: usize, wake: bool) -> Vec<(&'static Slot, State)> {
        // Locked for ever in a forked child with the process number of the pool's owner.
        let Some(mut slots) = try_lock(&self.slots) else {
            return Vec::new();
        };
        let free = |&slot: &&'static Slot| Some((slot, slot.claim(wake)?));
        let mut claimed: Vec<_> = slots.iter().filter_map(free).take(count).collect();
        // When other calls have all the workers there may be cores for more.
        let most = count.max(available_threads().saturating_sub(1));
        while wake && claimed.len() < count && slots.len() < most {
            let slot: &'static Slot = Box::leak(Box::new(Slot::new()));
            claimed.extend(slot.claim(wake).map(|state| (slot, state)));
            slots.push(slot);
        }
        claimed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::super::slot::{SLEEP, SPIN};
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn add_one(count: &AtomicUsize) {
        count.fetch_add(1, Ordering::SeqCst);
    }

    /// `run` with two workers, again until one has begun: other tests use workers too.
    fn run_with_a_worker(count: &AtomicUsize, work: &(dyn Fn() + Sync), own: impl Fn()) {
        let start = Instant::now();
        while count.load(Ordering::SeqCst) == 0 {
            assert!(start.elapsed() < TIMEOUT, "no worker is ever free");
            run(2, true, work, &own);
        }
    }

    #[test]
    fn every_worker_that_has_begun_has_finished() {
        for round in 0..300 {
            let (began, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let work = || {
                began.fetch_add(1, Ordering::SeqCst);
                (0..100 * (round % 7)).for_each(|n| _ = std::hint::black_box(n));
                ended.fetch_add(1, Ordering::SeqCst);
            };
            let result = run(round % 5, round % 3 > 0, &work, || {
                (0..100 * (round % 11)).for_each(|n| _ = std::hint::black_box(n));
                round
            });
            assert_eq!(result, round);
            let began = began.into_inner();
            assert_eq!(began, ended.into_inner());
            assert!(began <= round % 5);
            if round % 50 == 0 {
                std::thread::sleep(3 * SPIN);
            }
        }
    }

    #[test]
    fn workers_come_whether_spinning_asleep_or_ended() {
        for pause in [Duration::ZERO, 5 * SPIN, SLEEP + SLEEP / 2] {
            std::thread::sleep(pause);
            let count = AtomicUsize::new(0);
            let work = || add_one(&count);
            // Long enough for a worker to begin, unless another test has it.
            let own = || std::thread::sleep(Duration::from_millis(20));
            run_with_a_worker(&count, &work, own);
        }
    }

    #[test]
    fn concurrent_and_nested_calls() {
        let total = AtomicUsize::new(0);
        let inner = || add_one(&total);
        let outer = || run(3, true, &inner, inner);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..200).for_each(|_| run(3, true, &outer, outer)));
            }
        });
        // At least what the callers run themselves.
        assert!(total.into_inner() >= 8 * 200);
    }

    #[test]
    fn a_panic_reaches_the_caller_after_all_have_finished() {
        let count = AtomicUsize::new(0);
        let work = || {
            add_one(&count);
            panic!("of a worker");
        };
        let own = || std::thread::sleep(Duration::from_millis(20));
        let all = AssertUnwindSafe(|| run_with_a_worker(&count, &work, own));
        let panic = catch_unwind(all).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"of a worker"));

        let (count, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            add_one(&count);
            std::thread::sleep(Duration::from_millis(50));
            add_one(&ended);
        };
        let own = || {
            std::thread::sleep(Duration::from_millis(20));
            let begun = count.load(Ordering::SeqCst) > 0;
            assert!(!begun, "of the caller");
        };
        let all = AssertUnwindSafe(|| run_with_a_worker(&count, &work, own));
        let panic = catch_unwind(all).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"of the caller"));
        assert_eq!(count.into_inner(), ended.into_inner());
    }
}
