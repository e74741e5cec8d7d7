//! Threads as the operating system sees them: how many can run, on which cores a worker runs, and
//! which signals it blocks.

use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How long an answer of the operating system is reused.
const VALID: Duration = Duration::from_millis(100);

/// How many threads this process can run at once, at least 1: the cores of its affinity mask, or
/// fewer where the CPU quota of its container (cgroup v1 or v2) is lower.
///
/// The answer is reused for 100 ms: asking the system takes longer than encoding a short text, and
/// the answer seldom changes.
pub fn available_threads() -> usize {
    static KNOWN: Mutex<Option<(usize, Instant)>> = Mutex::new(None);
    let ask = || std::thread::available_parallelism().map_or(1, usize::from);
    // Never waits: in a forked child the lock may be held by a thread that does not exist there.
    let Ok(mut known) = KNOWN.try_lock() else {
        return ask();
    };
    match *known {
        Some((threads, asked)) if asked.elapsed() < VALID => threads,
        _ => {
            let threads = ask();
            *known = Some((threads, Instant::now()));
            threads
        }
    }
}

/// `num_threads`, but at most [`available_threads`], which `None` stands for.
///
/// # Errors
/// `Invalid` for 0.
pub fn requested_threads(num_threads: Option<usize>) -> Result<usize> {
    match num_threads {
        Some(0) => Err(Error::invalid("expected num_threads >= 1, got 0")),
        Some(threads) => Ok(threads.min(available_threads())),
        None => Ok(available_threads()),
    }
}

/// The affinity mask of one worker thread: any core that its caller may use, except the caller's own.
///
/// Linux starts a woken thread on the core of the thread that wakes it, unless it finds an idle one.
/// In virtual machines it often finds none although there is one, and the worker waits behind its own
/// caller for longer than the work takes.
#[cfg(target_os = "linux")]
pub(super) struct Affinity {
    /// A `pthread_t`, which is a pointer on some systems.
    thread: usize,
    /// The core that is missing in the mask.
    excluded: Option<usize>,
}

#[cfg(target_os = "linux")]
impl Affinity {
    /// That of a thread that was just started, which has its starter's mask.
    pub(super) fn of<T>(thread: &JoinHandle<T>) -> Self {
        use std::os::unix::thread::JoinHandleExt;
        Self {
            thread: thread.as_pthread_t() as usize,
            excluded: None,
        }
    }

    /// Exclude the core on which the caller runs, unless it is the only one. Takes nanoseconds while
    /// the caller stays on its core; does nothing where the system refuses.
    ///
    /// # Safety
    /// The worker thread has not ended.
    pub(super) unsafe fn exclude_current_core(&mut self) {
        // SAFETY: has no preconditions.
        let Ok(current) = usize::try_from(unsafe { libc::sched_getcpu() }) else {
            return;
        };
        if self.excluded == Some(current) || current >= libc::CPU_SETSIZE as usize {
            return;
        }
        self.excluded = Some(current);
        // SAFETY: a set of zeros is an empty set; both calls get its own size; `current` is within
        // it (checked above); the thread has not ended (required of the caller).
        unsafe {
            let mut cores: libc::cpu_set_t = std::mem::zeroed();
            if libc::sched_getaffinity(0, size_of_val(&cores), &raw mut cores) != 0 {
                return;
            }
            libc::CPU_CLR(current, &mut cores);
            if libc::CPU_COUNT(&cores) > 0 {
                let thread = self.thread as libc::pthread_t;
                libc::pthread_setaffinity_np(thread, size_of_val(&cores), &raw const cores);
            }
        }
    }
}

/// The affinity mask of one worker thread: left to the system here.
#[cfg(not(target_os = "linux"))]
pub(super) struct Affinity;

#[cfg(not(target_os = "linux"))]
impl Affinity {
    pub(super) fn of<T>(_: &JoinHandle<T>) -> Self {
        Self
    }

    /// Does nothing.
    ///
    /// # Safety
    /// Always safe.
    pub(super) unsafe fn exclude_current_core(&mut self) {}
}

/// Blocks signals in the current thread, and thereby in the threads that it starts, until dropped.
///
/// A program that waits for a signal (`sigwait`) blocks it in its own threads first. A worker that
/// did not block it too would receive it, and its default action would end the process.
/// Synchronous signals (a fault of the thread itself) are left alone: the kernel kills a process
/// whose thread faults while the signal is blocked, without calling the program's handler.
pub(super) struct BlockedSignals {
    #[cfg(unix)]
    before: libc::sigset_t,
}

#[cfg(unix)]
impl BlockedSignals {
    /// Raised by what the thread itself does. A thread that is started inherits the caller's choice.
    const SYNCHRONOUS: [libc::c_int; 7] = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGSYS,
    ];

    /// Block every signal that is not synchronous.
    pub(super) fn asynchronous() -> Self {
        // SAFETY: a set of zeros is valid memory for a set on every system; `sigfillset` writes one
        // and `pthread_sigmask` the other before it is read. The calls fail only for arguments that
        // are no set, no signal or no way to combine sets.
        unsafe {
            let (mut blocked, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut blocked);
            for signal in Self::SYNCHRONOUS {
                libc::sigdelset(&raw mut blocked, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before);
            Self { before }
        }
    }
}

#[cfg(unix)]
impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: `before` is the mask that was in force.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.before,
                std::ptr::null_mut(),
            );
        }
    }
}

#[cfg(not(unix))]
impl BlockedSignals {
    /// Does nothing: there are no such signals here.
    pub(super) fn asynchronous() -> Self {
        Self {}
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod affinity_tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// The cores that the current thread may use.
    fn cores() -> Vec<usize> {
        // SAFETY: a set of zeros is an empty set; the call gets its own size.
        unsafe {
            let mut cores: libc::cpu_set_t = std::mem::zeroed();
            libc::sched_getaffinity(0, size_of_val(&cores), &raw mut cores);
            let all = 0..libc::CPU_SETSIZE as usize;
            all.filter(|&core| libc::CPU_ISSET(core, &cores)).collect()
        }
    }

    #[test]
    fn a_worker_may_use_all_cores_of_its_caller_but_one() {
        let (ask, asked) = channel::<()>();
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            while asked.recv().is_ok() {
                tell.send(cores()).unwrap();
            }
        });
        let mut affinity = Affinity::of(&thread);
        let mine = cores();
        for _ in 0..3 {
            // SAFETY: the thread ends after `ask` is dropped.
            unsafe { affinity.exclude_current_core() };
            let excluded = affinity.excluded.unwrap();
            ask.send(()).unwrap();
            let others = mine.iter().copied().filter(|&core| core != excluded);
            let want: Vec<_> = others.collect();
            let theirs = told.recv().unwrap();
            assert_eq!(theirs, if want.is_empty() { mine.clone() } else { want });
        }
        drop(ask);
        thread.join().unwrap();
        assert_eq!(cores(), mine);
    }
}

#[cfg(all(test, unix, not(miri)))]
mod signal_tests {
    use super::*;

    fn is_blocked(signal: libc::c_int) -> bool {
        // SAFETY: the set is valid memory, and is written before it is read.
        unsafe {
            let mut mask = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
            libc::sigismember(&raw const mask, signal) == 1
        }
    }

    #[test]
    fn a_thread_started_meanwhile_blocks_all_but_synchronous_signals() {
        let asynchronous = [
            libc::SIGINT,
            libc::SIGTERM,
            libc::SIGHUP,
            libc::SIGUSR1,
            libc::SIGALRM,
            libc::SIGCHLD,
        ];
        let blocked = BlockedSignals::asynchronous();
        let thread = std::thread::spawn(move || {
            assert!(asynchronous.into_iter().all(is_blocked));
            let synchronous = BlockedSignals::SYNCHRONOUS;
            assert!(!synchronous.into_iter().any(is_blocked));
        });
        drop(blocked);
        thread.join().unwrap();
        assert!(!asynchronous.into_iter().any(is_blocked));
    }

    #[test]
    fn a_signal_that_was_blocked_before_stays_blocked_afterwards() {
        std::thread::spawn(|| {
            // SAFETY: the set is valid memory, written before it is read.
            unsafe {
                let mut own = std::mem::zeroed();
                libc::sigemptyset(&raw mut own);
                libc::sigaddset(&raw mut own, libc::SIGUSR1);
                let before = std::ptr::null_mut();
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const own, before);
            }
            drop(BlockedSignals::asynchronous());
            assert!(is_blocked(libc::SIGUSR1) && !is_blocked(libc::SIGTERM));
        })
        .join()
        .unwrap();
    }
}

#[cfg(test)]
mod count_tests {
    use super::*;

    #[test]
    fn requests_are_bounded_by_what_is_available() {
        assert!(requested_threads(Some(0)).is_err());
        assert_eq!(requested_threads(Some(1)).unwrap(), 1);
        assert!(requested_threads(None).unwrap() >= 1);
        assert!(requested_threads(Some(usize::MAX)).unwrap() < usize::MAX);
    }
}
