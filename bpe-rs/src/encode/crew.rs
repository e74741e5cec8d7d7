//! Threads that stay for a while between calls, and help where they are free.
//!
//! To start a thread, or to wake one that sleeps, takes as long as encoding tens of kilobytes. So
//! a helper that has done its work looks out for more for some moments, then sleeps, then ends.
//!
//! No call ever waits for a helper that has not begun: one that is busy elsewhere is not asked, and
//! one that comes too late is sent away. A forked child has the parent's memory but not its
//! threads: it makes a crew of its own and leaves the other one alone.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use super::desk::{Desk, Job, State};
use super::threads::default_threads;

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
    let job = Job::new(help);
    // SAFETY: `asked` is dropped first, whatever happens in between.
    let asked = unsafe { Asked::new(helpers, wake, &job) };
    let result = catch_unwind(AssertUnwindSafe(own));
    // Nobody holds on to the job from here on.
    drop(asked);
    match (result, job.into_panic()) {
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
    while desks.iter().any(|desk| desk.is_leaving()) && start.elapsed() < FAREWELL {
        yield_now();
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
            // SAFETY: withdrawn or waited for when the result is dropped, if it is there at all.
            if unsafe { desk.post(was, job, look_out) } {
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
    fn claim(&self, count: usize, wake: bool) -> Vec<(&'static Desk, State)> {
        let Some(mut desks) = self.try_lock() else {
            return Vec::new();
        };
        let free = desks
            .iter()
            .filter_map(|&desk| Some((desk, desk.claim(wake)?)));
        let mut claimed: Vec<_> = free.take(count).collect();
        // Where others have the helpers there may be cores left for more.
        let most = count.max(default_threads().saturating_sub(1));
        while wake && claimed.len() < count && desks.len() < most {
            let desk: &'static Desk = Box::leak(Box::new(Desk::new()));
            claimed.extend(desk.claim(wake).map(|state| (desk, state)));
            desks.push(desk);
        }
        claimed
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

    use super::super::desk::{LOOK_OUT, SLEEP};
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

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
}
