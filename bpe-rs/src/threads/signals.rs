//! Which signals a worker thread blocks: all but the synchronous ones.
//!
//! A program that waits for a signal (`sigwait`) blocks it in its own threads first. A worker that
//! did not block it too would receive it, and its default action would end the process.
//! Synchronous signals (a fault of the thread itself) are left alone: the kernel kills a process
//! whose thread faults while the signal is blocked, without calling the program's handler.

/// Blocks signals in the current thread, and thereby in the threads that it starts, until dropped.
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

#[cfg(all(test, unix, not(miri)))]
mod tests {
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
