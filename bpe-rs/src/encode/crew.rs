//! Threads that stay for a while between calls, and help where they are free.
//!
//! To start a thread, or to wake one that sleeps, takes as long as encoding tens of kilobytes. So
//! a helper that has done its work looks out for more for some moments, then sleeps, then ends.
//!
//! No call ever waits for a helper that has not begun: one that is busy elsewhere is not asked, and
//! one that comes too late is sent away. A forked child has the parent's memory but not its
//! threads: it makes a crew of its own and leaves the other one alone.

use std::any::Any;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{park, park_timeout, yield_now, Builder, Thread};
use std::time::{Duration, Instant};

use super::threads::default_threads;

/// How long a helper looks out for more work before it sleeps: about twice what it takes to wake.
const LOOK_OUT: Duration = Duration::from_micros(100);
/// How long it sleeps before it ends.
const SLEEP: Duration = Duration::from_secs(1);
/// How long a caller looks out for the last helper before it sleeps.
const PATIENCE: Duration = Duration::from_micros(100);
/// Looks at the lock, which others hold for some nanoseconds; after a fork perhaps for ever, if
/// the child has the number of a process that was there before.
const TRIES: usize = 1000;

/// How long [`dismiss`] waits for helpers to go.
const FAREWELL: Duration = Duration::from_millis(20);

/// Run `own` here and `help` on up to `helpers` other threads at the same time. Returns when `own`
/// is done and all that began with `help` are; fewer or none may have begun. Unless one is to
/// `wake` others, only those are asked that are awake.
///
/// Panics: when one of them does, after all are done.
pub(super) fn run<T>(
    helpers: usize,
    wake: bool,
    help: &(dyn Fn() + Sync),
    own: impl FnOnce() -> T,
) -> T {
    if cfg!(miri) {
        // It wants every thread to end.
        return std::thread::scope(|scope| {
            (0..helpers).for_each(|_| drop(scope.spawn(help)));
            own()
        });
    }
    if helpers == 0 {
        return own();
    }
    let job = Job {
        help,
        panic: Mutex::new(None),
        caller: std::thread::current(),
    };
    // SAFETY: `asked` is dropped first, whatever happens in between.
    let asked = unsafe { Asked::new(helpers, wake, &job) };
    let result = catch_unwind(AssertUnwindSafe(own));
    // Nobody holds on to the job from here on.
    drop(asked);
    let panic = job.panic.into_inner();
    match (result, panic.unwrap_or_else(PoisonError::into_inner)) {
        (Ok(result), None) => result,
        (Err(panic), _) | (Ok(_), Some(panic)) => resume_unwind(panic),
    }
}

/// Send away the helpers that have nothing to do: who forks should have no other threads.
pub fn dismiss() {
    let Some(desks) = Crew::known()
        .and_then(Crew::try_lock)
        .map(|desks| desks.clone())
    else {
        return;
    };
    desks.iter().for_each(|desk| desk.dismiss());
    let start = Instant::now();
    // Those at work stay, and nobody can wait for them.
    let leaves = |desk: &&Desk| desk.state.load(Ordering::Acquire) == LEAVING;
    while desks.iter().copied().any(|desk| leaves(&desk)) && start.elapsed() < FAREWELL {
        yield_now();
    }
}

/// What helpers are asked to do, on the caller's stack.
struct Job<'a> {
    help: &'a (dyn Fn() + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    caller: Thread,
}

impl Job<'_> {
    fn run(&self) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(self.help)) {
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
    }
}

/// Desks at which a job lies. When dropped, it lies nowhere any more and nobody works on it.
struct Asked(Vec<&'static Desk>);

impl Asked {
    /// Put `job` on up to `count` desks.
    ///
    /// # Safety
    ///
    /// The result is dropped while `job` is still there.
    unsafe fn new(count: usize, wake: bool, job: &Job<'_>) -> Self {
        let look_out = count < default_threads();
        let mut asked = Self(Vec::with_capacity(count));
        for (desk, was) in Crew::get().claim(count, wake) {
            desk.look_out.store(look_out, Ordering::Relaxed);
            desk.job
                .store(std::ptr::from_ref(job).cast_mut().cast(), Ordering::Relaxed);
            if desk.post(was) {
                asked.0.push(desk);
            }
        }
        asked
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // First those that have not begun: while one waits for a helper, others must not begin.
        self.0.retain(|desk| !desk.withdraw());
        self.0.iter().for_each(|desk| desk.wait());
    }
}

/// The place of one helper. It belongs to the caller who claims it, until that one makes it
/// [`AWAKE`] again.
#[repr(align(128))]
struct Desk {
    state: AtomicU8,
    /// The job, while the state is [`POSTED`] or [`TAKEN`].
    job: AtomicPtr<Job<'static>>,
    /// Whether there is a core to look out on.
    look_out: AtomicBool,
    /// Who sits here: set by the caller that starts the thread.
    helper: Mutex<Option<Thread>>,
}

/// Nobody sits here.
const GONE: u8 = 0;
/// The helper looks at the state, or is about to.
const AWAKE: u8 = 1;
/// The helper sleeps, until `unpark` or for [`SLEEP`].
const ASLEEP: u8 = 2;
/// A caller is about to put a job here.
const CLAIMED: u8 = 3;
/// A job lies here.
const POSTED: u8 = 4;
/// The helper works on it.
const TAKEN: u8 = 5;
/// The helper has left the job.
const DONE: u8 = 6;
/// The helper is about to end.
const LEAVING: u8 = 7;

impl Desk {
    fn new() -> Self {
        Self {
            state: AtomicU8::new(GONE),
            job: AtomicPtr::new(null_mut()),
            look_out: AtomicBool::new(false),
            helper: Mutex::new(None),
        }
    }

    fn change(&self, from: u8, to: u8) -> bool {
        let (done, failed) = (Ordering::AcqRel, Ordering::Acquire);
        self.state.compare_exchange(from, to, done, failed).is_ok()
    }

    /// Claim the desk, unless another caller has it or the helper must be woken and is not to be:
    /// what its state was.
    fn claim(&self, wake: bool) -> Option<u8> {
        let states: &[u8] = if wake {
            &[AWAKE, ASLEEP, GONE]
        } else {
            &[AWAKE]
        };
        let mut states = states.iter().copied();
        states.find(|&was| self.change(was, CLAIMED))
    }

    /// Let the helper end, unless it is at work.
    fn dismiss(&self) {
        match self.claim(true) {
            None => {}
            Some(GONE) => self.state.store(GONE, Ordering::Release),
            Some(_) => {
                self.state.store(LEAVING, Ordering::Release);
                self.wake();
            }
        }
    }

    fn wake(&self) {
        if let Some(helper) = &*self.helper.lock().unwrap_or_else(PoisonError::into_inner) {
            helper.unpark();
        }
    }

    /// Let the helper have the job of a desk that was claimed as `was`; whether there is a helper.
    fn post(&'static self, was: u8) -> bool {
        self.state.store(POSTED, Ordering::Release);
        if was == AWAKE {
            return true;
        }
        if was == ASLEEP {
            self.wake();
            return true;
        }
        let thread = Builder::new().name("bpe-rs".into());
        let Ok(thread) = thread.spawn(|| self.serve()) else {
            self.state.store(GONE, Ordering::Release);
            return false;
        };
        let mut helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner);
        *helper = Some(thread.thread().clone());
        true
    }

    /// Take a job back that nobody has begun; whether it was so.
    fn withdraw(&self) -> bool {
        // The helper is awake, or about to be: whoever claimed it asleep has woken it.
        self.change(POSTED, AWAKE)
    }

    /// Wait until the helper has left the job.
    fn wait(&self) {
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
                // SAFETY: whoever posted the job waits for `DONE` before it goes out of scope, as
                // it could not withdraw it any more.
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

/// The helpers of a process.
struct Crew {
    process: u32,
    desks: Mutex<Vec<&'static Desk>>,
}

static CREW: AtomicPtr<Crew> = AtomicPtr::new(null_mut());

impl Crew {
    /// This process's, if it has one.
    fn known() -> Option<&'static Self> {
        // SAFETY: null, or out of the box below and never freed.
        let crew = unsafe { CREW.load(Ordering::Acquire).as_ref() };
        crew.filter(|crew| crew.process == std::process::id())
    }

    /// This process's.
    fn get() -> &'static Self {
        let process = std::process::id();
        let mut known = CREW.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or out of the box below and never freed.
            match unsafe { known.as_ref() } {
                Some(crew) if crew.process == process => return crew,
                _ => {}
            }
            let desks = Mutex::default();
            let own = Box::into_raw(Box::new(Self { process, desks }));
            match CREW.compare_exchange(known, own, Ordering::AcqRel, Ordering::Acquire) {
                // The parent's, if there is one, stays as it is: its locks may be held for ever.
                Ok(_) => known = own,
                Err(other) => {
                    // SAFETY: out of the box above, and nobody else has seen it.
                    drop(unsafe { Box::from_raw(own) });
                    known = other;
                }
            }
        }
    }

    /// Up to `count` desks that no caller has, each with its state before.
    fn claim(&self, count: usize, wake: bool) -> Vec<(&'static Desk, u8)> {
        let Some(mut desks) = self.try_lock() else {
            return Vec::new();
        };
        while desks.len() < count {
            desks.push(Box::leak(Box::new(Desk::new())));
        }
        let free = desks
            .iter()
            .filter_map(|&desk| Some((desk, desk.claim(wake)?)));
        free.take(count).collect()
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Vec<&'static Desk>>> {
        for _ in 0..TRIES {
            match self.desks.try_lock() {
                Ok(desks) => return Some(desks),
                Err(TryLockError::Poisoned(desks)) => return Some(desks.into_inner()),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        None
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

    fn add_one(count: &AtomicUsize) {
        count.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether a helper has begun.
    fn begun(count: &AtomicUsize) -> impl Fn() -> bool + '_ {
        || count.load(Ordering::SeqCst) > 0
    }

    /// `run`, until helpers are free: other tests have some.
    fn run_with_helper(count: &AtomicUsize, help: &(dyn Fn() + Sync), own: impl Fn()) {
        let start = Instant::now();
        while count.load(Ordering::SeqCst) == 0 {
            assert!(start.elapsed() < SOON, "no helper is ever free");
            run(2, true, help, &own);
        }
    }

    #[test]
    fn whoever_has_begun_has_ended() {
        let most = AtomicUsize::new(0);
        for round in 0..300 {
            let (began, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let help = || {
                began.fetch_add(1, Ordering::SeqCst);
                (0..100 * (round % 7)).for_each(|n| _ = std::hint::black_box(n));
                ended.fetch_add(1, Ordering::SeqCst);
            };
            let result = run(round % 5, round % 3 > 0, &help, || {
                (0..100 * (round % 11)).for_each(|n| _ = std::hint::black_box(n));
                round
            });
            assert_eq!(result, round);
            let began = began.into_inner();
            assert_eq!(began, ended.into_inner());
            assert!(began <= round % 5);
            most.fetch_max(began, Ordering::SeqCst);
            if round % 50 == 0 {
                std::thread::sleep(3 * LOOK_OUT);
            }
        }
    }

    #[test]
    fn helpers_come_awake_or_asleep() {
        for pause in [Duration::ZERO, 5 * LOOK_OUT, SLEEP + SLEEP / 2] {
            std::thread::sleep(pause);
            let count = AtomicUsize::new(0);
            let help = || add_one(&count);
            // Long enough for them to come, unless others have them.
            let own = || std::thread::sleep(Duration::from_millis(20));
            run_with_helper(&count, &help, own);
        }
    }

    #[test]
    fn calls_at_once_and_within_calls() {
        let total = AtomicUsize::new(0);
        let inner = || add_one(&total);
        let outer = || run(3, true, &inner, inner);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..200).for_each(|_| run(3, true, &outer, outer)));
            }
        });
        // Each caller's own share at least.
        assert!(total.into_inner() >= 8 * 200);
    }

    #[test]
    fn a_panic_reaches_the_caller_when_all_have_ended() {
        let count = AtomicUsize::new(0);
        let help = || {
            count.fetch_add(1, Ordering::SeqCst);
            panic!("of a helper");
        };
        let own = || std::thread::sleep(Duration::from_millis(20));
        let all = AssertUnwindSafe(|| run_with_helper(&count, &help, own));
        let panic = catch_unwind(all).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"of a helper"));

        let (count, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let help = || {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(50));
            ended.fetch_add(1, Ordering::SeqCst);
        };
        let own = || {
            std::thread::sleep(Duration::from_millis(20));
            assert!(!begun(&count)(), "of the caller");
        };
        let all = AssertUnwindSafe(|| run_with_helper(&count, &help, own));
        let panic = catch_unwind(all).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"of the caller"));
        assert_eq!(count.into_inner(), ended.into_inner());
    }

    #[test]
    fn a_helper_without_work_sleeps_and_ends_or_is_dismissed() {
        let desk: &Desk = Box::leak(Box::new(Desk::new()));
        let count = AtomicUsize::new(0);
        let help = || add_one(&count);
        let job = Job {
            help: &help,
            panic: Mutex::new(None),
            caller: std::thread::current(),
        };
        for dismissed in [false, true, false] {
            desk.dismiss();
            assert_eq!(desk.state.load(Ordering::SeqCst), GONE);
            assert_eq!(desk.claim(false), None);
            assert_eq!(desk.claim(true), Some(GONE));
            assert_eq!(desk.claim(true), None);
            let job = std::ptr::from_ref(&job).cast_mut();
            desk.job.store(job.cast(), Ordering::Relaxed);
            assert!(desk.post(GONE));
            wait_for(begun(&count));
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
