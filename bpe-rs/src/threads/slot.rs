//! One worker slot of the pool: its state machine and the worker's loop.
//!
//! A slot belongs to the caller whose compare-and-exchange moved it to [`State::Claimed`], until
//! that caller makes it [`State::Spinning`] again; only then may another caller post a job.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};
use std::sync::Mutex;
use std::thread::{park, park_timeout, yield_now, Builder, Thread};
use std::time::{Duration, Instant};

use super::interrupt::never_check_here;
use super::system::{Affinity, BlockedSignals};
use super::{into_inner, lock};

/// How long a worker spins for another job before it sleeps: about twice what waking it takes.
pub(super) const SPIN: Duration = Duration::from_micros(100);
/// How long it sleeps before it ends.
pub(super) const SLEEP: Duration = Duration::from_secs(1);
/// How long a caller spins for a worker that has not finished before it sleeps.
const CALLER_SPIN: Duration = Duration::from_micros(100);
/// Looks at the state for each look at the clock, which takes longer.
const LOOKS_PER_CLOCK: u32 = 16;

/// What a slot is doing. Callers and the worker each make some of the transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// There is no worker thread.
    Vacant,
    /// The worker looks at the state again and again, or is about to.
    Spinning,
    /// The worker sleeps until it is unparked, or for [`SLEEP`].
    Asleep,
    /// A caller is about to post a job, or to stop the worker.
    Claimed,
    /// There is a job that the worker has not begun.
    Posted,
    /// The worker runs the job.
    Running,
    /// The worker no longer uses the job.
    Finished,
    /// The worker is about to end.
    Stopping,
}

struct AtomicState(AtomicU8);

impl AtomicState {
    fn new(state: State) -> Self {
        Self(AtomicU8::new(state as u8))
    }

    fn is(&self, state: State) -> bool {
        self.0.load(Ordering::Acquire) == state as u8
    }

    fn set(&self, state: State) {
        self.0.store(state as u8, Ordering::Release);
    }

    /// Change `from` to `to`; `false` if the state is another.
    fn change(&self, from: State, to: State) -> bool {
        let (from, to) = (from as u8, to as u8);
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        self.0.compare_exchange(from, to, success, failure).is_ok()
    }
}

/// What workers are to run, on the caller's stack.
pub(super) struct Job<'a> {
    work: &'a (dyn Fn() + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    caller: Thread,
}

impl<'a> Job<'a> {
    /// `work`, posted by the current thread.
    pub(super) fn new(work: &'a (dyn Fn() + Sync)) -> Self {
        Self {
            work,
            panic: Mutex::new(None),
            caller: std::thread::current(),
        }
    }

    /// The payload of a worker's panic, if one has panicked.
    pub(super) fn into_panic(self) -> Option<Box<dyn Any + Send>> {
        into_inner(self.panic)
    }

    fn run(&self) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(self.work)) {
            *lock(&self.panic) = Some(panic);
        }
    }
}

/// A worker slot. Aligned to two cache lines, which processors prefetch in pairs, so that slots do
/// not share lines (false sharing).
#[repr(align(128))]
pub(super) struct Slot {
    state: AtomicState,
    /// The job, while the state is [`State::Posted`] or [`State::Running`].
    job: AtomicPtr<Job<'static>>,
    /// Whether the worker spins after this job, which needs a core that nobody else uses.
    spins: AtomicBool,
    /// Set by the caller that starts the thread.
    worker: Mutex<Option<Worker>>,
}

struct Worker {
    thread: Thread,
    affinity: Affinity,
}

impl Slot {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicState::new(State::Vacant),
            job: AtomicPtr::new(null_mut()),
            spins: AtomicBool::new(false),
            worker: Mutex::new(None),
        }
    }

    /// Claim the slot and return its state before, unless another caller has it. With `wake` false
    /// only a spinning worker is claimed; with `wake` true also one that sleeps or must be started.
    pub(super) fn claim(&self, wake: bool) -> Option<State> {
        const ANY: [State; 3] = [State::Spinning, State::Asleep, State::Vacant];
        let claimable = if wake { &ANY[..] } else { &ANY[..1] };
        let mut claimable = claimable.iter().copied();
        claimable.find(|&before| self.state.change(before, State::Claimed))
    }

    /// Make the worker end, unless it has a job.
    pub(super) fn stop_idle(&self) {
        match self.claim(true) {
            None => {}
            Some(State::Vacant) => self.state.set(State::Vacant),
            Some(_) => {
                self.state.set(State::Stopping);
                if let Some(worker) = &*lock(&self.worker) {
                    worker.thread.unpark();
                }
            }
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state.is(State::Stopping)
    }

    /// Post `job` in a slot that was in the state `before` when it was claimed, and wake or start the
    /// worker, which spins afterwards if `spins`. Returns `false`, with the slot vacant, when no
    /// thread can be started.
    ///
    /// # Safety
    /// If the result is `true`, `job` outlives a successful [`Self::withdraw`] or [`Self::wait`].
    pub(super) unsafe fn post(&'static self, before: State, job: &Job<'_>, spins: bool) -> bool {
        self.spins.store(spins, Ordering::Relaxed);
        let job = std::ptr::from_ref(job).cast_mut();
        self.job.store(job.cast(), Ordering::Relaxed);
        self.state.set(State::Posted);
        if before != State::Vacant {
            if let Some(worker) = &mut *lock(&self.worker) {
                // SAFETY: a worker does not end while its job is neither withdrawn nor waited for.
                unsafe { worker.affinity.exclude_current_core() };
                if before == State::Asleep {
                    worker.thread.unpark();
                }
            }
            return true;
        }
        let thread = Builder::new().name("bpe-rs".into());
        let started = {
            let _blocked = BlockedSignals::asynchronous();
            thread.spawn(|| self.work())
        };
        let Ok(thread) = started else {
            self.state.set(State::Vacant);
            return false;
        };
        let mut affinity = Affinity::of(&thread);
        // SAFETY: as above.
        unsafe { affinity.exclude_current_core() };
        let thread = thread.thread().clone();
        *lock(&self.worker) = Some(Worker { thread, affinity });
        true
    }

    /// Take the job back; `false` if the worker has begun it.
    pub(super) fn withdraw(&self) -> bool {
        // The worker is awake, or about to be: a caller that claims it asleep wakes it.
        self.state.change(State::Posted, State::Spinning)
    }

    /// Wait until the worker has finished the job.
    pub(super) fn wait(&self) {
        let start = Instant::now();
        let mut looks = 0_u32;
        while !self.state.is(State::Finished) {
            looks += 1;
            if !looks.is_multiple_of(LOOKS_PER_CLOCK) || start.elapsed() < CALLER_SPIN {
                std::hint::spin_loop();
            } else {
                park();
            }
        }
        self.state.set(State::Spinning);
    }

    /// The worker's loop: run jobs, spin between them, sleep when none comes, then end.
    fn work(&self) {
        never_check_here();
        let mut idle_since = Instant::now();
        let mut looks = 0_u32;
        loop {
            // A plain look first: a failing exchange would take the cache line from the caller.
            if self.state.is(State::Posted) && self.state.change(State::Posted, State::Running) {
                // SAFETY: a running job cannot be withdrawn, so it outlives the caller's `wait` (see
                // `post`), which lasts until the state is `Finished`.
                let job = unsafe { &*self.job.load(Ordering::Relaxed) };
                job.run();
                let caller = job.caller.clone();
                // From here on the job may be gone.
                self.state.set(State::Finished);
                caller.unpark();
                (idle_since, looks) = (Instant::now(), 0);
            }
            if self.is_stopping() {
                self.state.set(State::Vacant);
                return;
            }
            // Not `yield_now`: another program that is ready would get the core for milliseconds.
            std::hint::spin_loop();
            looks = looks.wrapping_add(1);
            let spins = self.spins.load(Ordering::Relaxed);
            if !looks.is_multiple_of(LOOKS_PER_CLOCK) || spins && idle_since.elapsed() < SPIN {
                continue;
            }
            if !self.state.change(State::Spinning, State::Asleep) {
                // A caller has claimed the slot and is about to change the state.
                yield_now();
                continue;
            }
            while self.state.is(State::Asleep) {
                let slept = Instant::now();
                park_timeout(SLEEP);
                if slept.elapsed() >= SLEEP && self.state.change(State::Asleep, State::Vacant) {
                    return;
                }
            }
            (idle_since, looks) = (Instant::now(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn wait_for(condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < TIMEOUT, "waited in vain");
            yield_now();
        }
    }

    #[test]
    fn an_idle_worker_sleeps_and_ends_by_itself_or_when_stopped() {
        let slot: &Slot = Box::leak(Box::new(Slot::new()));
        let count: &AtomicUsize = Box::leak(Box::new(AtomicUsize::new(0)));
        let work = Box::leak(Box::new(|| _ = count.fetch_add(1, Ordering::SeqCst)));
        let job = Box::leak(Box::new(Job::new(work)));
        for stopped in [false, true, false] {
            slot.stop_idle();
            assert!(slot.state.is(State::Vacant));
            assert_eq!(slot.claim(false), None);
            assert_eq!(slot.claim(true), Some(State::Vacant));
            assert_eq!(slot.claim(true), None);
            // SAFETY: the job is never freed.
            assert!(unsafe { slot.post(State::Vacant, job, true) });
            wait_for(|| count.load(Ordering::SeqCst) > 0);
            assert!(!slot.withdraw());
            slot.wait();
            wait_for(|| slot.state.is(State::Asleep));
            assert_eq!(slot.claim(false), None);
            let start = Instant::now();
            if stopped {
                slot.stop_idle();
            }
            wait_for(|| slot.state.is(State::Vacant));
            assert!(stopped || start.elapsed() >= SLEEP / 2);
            count.store(0, Ordering::SeqCst);
        }
    }
}
