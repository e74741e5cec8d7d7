//! The place of a helper, and what it does there.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{park, park_timeout, yield_now, Builder, Thread};
use std::time::{Duration, Instant};

use super::cores::Place;
use super::signals::Blocked;

/// How long a helper looks out for more work before it sleeps: about twice what it takes to wake.
pub(super) const LOOK_OUT: Duration = Duration::from_micros(100);
/// How long it sleeps before it ends.
pub(super) const SLEEP: Duration = Duration::from_secs(1);
/// How long a caller looks out for the last helper before it sleeps.
const PATIENCE: Duration = Duration::from_micros(100);

/// What helpers are asked to do, on the caller's stack.
pub(super) struct Job<'a> {
    help: &'a (dyn Fn() + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    caller: Thread,
}

impl<'a> Job<'a> {
    /// `help`, for the thread that calls this.
    pub(super) fn new(help: &'a (dyn Fn() + Sync)) -> Self {
        Self {
            help,
            panic: Mutex::new(None),
            caller: std::thread::current(),
        }
    }

    /// What a helper has panicked with.
    pub(super) fn into_panic(self) -> Option<Box<dyn Any + Send>> {
        self.panic
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(self.help)) {
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
    }
}

/// The place of one helper. It belongs to the caller who claims it, until that one makes it
/// [`AWAKE`] again.
#[repr(align(128))]
pub(super) struct Desk {
    state: AtomicU8,
    /// The job, while the state is [`POSTED`] or [`TAKEN`].
    job: AtomicPtr<Job<'static>>,
    /// Whether there is a core to look out on.
    look_out: AtomicBool,
    /// Who sits here: set by the caller that starts the thread.
    helper: Mutex<Option<Helper>>,
}

struct Helper {
    thread: Thread,
    place: Place,
}

/// What goes on at a desk: one of the following.
pub(super) type State = u8;
/// Nobody sits here.
const GONE: State = 0;
/// The helper looks at the state, or is about to.
const AWAKE: State = 1;
/// The helper sleeps, until `unpark` or for [`SLEEP`].
const ASLEEP: State = 2;
/// A caller is about to put a job here.
const CLAIMED: State = 3;
/// A job lies here.
const POSTED: State = 4;
/// The helper works on it.
const TAKEN: State = 5;
/// The helper has left the job.
const DONE: State = 6;
/// The helper is about to end.
const LEAVING: State = 7;

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU8::new(GONE),
            job: AtomicPtr::new(null_mut()),
            look_out: AtomicBool::new(false),
            helper: Mutex::new(None),
        }
    }

    fn change(&self, from: State, to: State) -> bool {
        let (done, failed) = (Ordering::AcqRel, Ordering::Acquire);
        self.state.compare_exchange(from, to, done, failed).is_ok()
    }

    /// Claim the desk, unless another caller has it or the helper must be woken and is not to be:
    /// what its state was.
    pub(super) fn claim(&self, wake: bool) -> Option<State> {
        let states: &[State] = if wake {
            &[AWAKE, ASLEEP, GONE]
        } else {
            &[AWAKE]
        };
        let mut states = states.iter().copied();
        states.find(|&was| self.change(was, CLAIMED))
    }

    /// Let the helper end, unless it is at work.
    pub(super) fn dismiss(&self) {
        match self.claim(true) {
            None => {}
            Some(GONE) => self.state.store(GONE, Ordering::Release),
            Some(_) => {
                self.state.store(LEAVING, Ordering::Release);
                if let Some(helper) = &*self.helper() {
                    helper.thread.unpark();
                }
            }
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.state.load(Ordering::Acquire) == LEAVING
    }

    fn helper(&self) -> MutexGuard<'_, Option<Helper>> {
        self.helper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Put `job` on a desk that was claimed as `was`; whether there is a helper. There is a core for
    /// it to `look_out` on, or not.
    ///
    /// # Safety
    ///
    /// Where the result is `true`, `job` stays until it was withdrawn or waited for.
    pub(super) unsafe fn post(&'static self, was: State, job: &Job<'_>, look_out: bool) -> bool {
        self.look_out.store(look_out, Ordering::Relaxed);
        let job = std::ptr::from_ref(job).cast_mut();
        self.job.store(job.cast(), Ordering::Relaxed);
        self.state.store(POSTED, Ordering::Release);
        if was != GONE {
            if let Some(helper) = &mut *self.helper() {
                // SAFETY: it does not end while there is a job that was neither withdrawn nor
                // waited for.
                unsafe { helper.place.keep_off_here() };
                if was == ASLEEP {
                    helper.thread.unpark();
                }
            }
            return true;
        }
        let thread = Builder::new().name("bpe-rs".into());
        let blocked = Blocked::all();
        let started = thread.spawn(|| self.serve());
        drop(blocked);
        let Ok(thread) = started else {
            self.state.store(GONE, Ordering::Release);
            return false;
        };
        let mut place = Place::of(&thread);
        // SAFETY: as above.
        unsafe { place.keep_off_here() };
        let thread = thread.thread().clone();
        *self.helper() = Some(Helper { thread, place });
        true
    }

    /// Take a job back that nobody has begun; whether it was so.
    pub(super) fn withdraw(&self) -> bool {
        // The helper is awake, or about to be: whoever claimed it asleep has woken it.
        self.change(POSTED, AWAKE)
    }

    /// Wait until the helper has left the job.
    pub(super) fn wait(&self) {
        let start = Instant::now();
        let mut looks = 0_u32;
        while self.state.load(Ordering::Acquire) != DONE {
            looks += 1;
            if !looks.is_multiple_of(16) || start.elapsed() < PATIENCE {
                std::hint::spin_loop();
            } else {
                park();
            }
        }
        self.state.store(AWAKE, Ordering::Release);
    }

    /// What a helper does.
    fn serve(&self) {
        let mut idle_since = Instant::now();
        let mut looks = 0_u32;
        loop {
            if self.state.load(Ordering::Relaxed) == POSTED && self.change(POSTED, TAKEN) {
                // SAFETY: the job stays until it is waited for, as `post` asks, since it cannot be
                // withdrawn any more; that takes until `DONE`.
                let job = unsafe { &*self.job.load(Ordering::Relaxed) };
                job.run();
                let caller = job.caller.clone();
                self.state.store(DONE, Ordering::Release);
                // The job is out of bounds from here on.
                caller.unpark();
                (idle_since, looks) = (Instant::now(), 0);
            }
            if self.state.load(Ordering::Relaxed) == LEAVING {
                self.state.store(GONE, Ordering::Release);
                return;
            }
            // Not `yield_now`: other programs would have the core for milliseconds.
            std::hint::spin_loop();
            looks = looks.wrapping_add(1);
            if !looks.is_multiple_of(16)
                || self.look_out.load(Ordering::Relaxed) && idle_since.elapsed() < LOOK_OUT
            {
                continue;
            }
            if !self.change(AWAKE, ASLEEP) {
                // A caller that has the desk is about to do something about it.
                yield_now();
                continue;
            }
            while self.state.load(Ordering::Acquire) == ASLEEP {
                let slept = Instant::now();
                park_timeout(SLEEP);
                if slept.elapsed() >= SLEEP && self.change(ASLEEP, GONE) {
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

    const SOON: Duration = Duration::from_secs(20);

    fn wait_for(what: impl Fn() -> bool) {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < SOON, "it has not come");
            yield_now();
        }
    }

    #[test]
    fn a_helper_without_work_sleeps_and_ends_or_is_dismissed() {
        let desk: &Desk = Box::leak(Box::new(Desk::new()));
        let count: &AtomicUsize = Box::leak(Box::new(AtomicUsize::new(0)));
        let help = Box::leak(Box::new(|| _ = count.fetch_add(1, Ordering::SeqCst)));
        let job = Box::leak(Box::new(Job::new(help)));
        for dismissed in [false, true, false] {
            desk.dismiss();
            assert_eq!(desk.state.load(Ordering::SeqCst), GONE);
            assert_eq!(desk.claim(false), None);
            assert_eq!(desk.claim(true), Some(GONE));
            assert_eq!(desk.claim(true), None);
            // SAFETY: the job is never freed.
            assert!(unsafe { desk.post(GONE, job, true) });
            wait_for(|| count.load(Ordering::SeqCst) > 0);
            assert!(!desk.withdraw());
            desk.wait();
            wait_for(|| desk.state.load(Ordering::SeqCst) == ASLEEP);
            assert_eq!(desk.claim(false), None);
            let start = Instant::now();
            if dismissed {
                desk.dismiss();
            }
            wait_for(|| desk.state.load(Ordering::SeqCst) == GONE);
            assert!(dismissed || start.elapsed() >= SLEEP / 2);
            count.store(0, Ordering::SeqCst);
        }
    }
}
