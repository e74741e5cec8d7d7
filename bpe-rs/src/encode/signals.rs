//! Signals stay with the program's own threads.

/// No signal is delivered to this thread, nor to those that it starts, until this is dropped.
///
/// A helper outlives the call that started it. A program that blocks a signal then, to wait for it,
/// has blocked it in its own threads only: delivered to a helper it would end the process.
pub(super) struct Blocked {
    #[cfg(unix)]
    before: libc::sigset_t,
}

#[cfg(unix)]
impl Blocked {
    pub(super) fn all() -> Self {
        // SAFETY: the sets are written before they are read; a set of zeros is a set on every
        // system, and the calls fail only for what is no set or no way to use one.
        unsafe {
            let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            Self { before }
        }
    }
}

#[cfg(unix)]
impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set that was in force.
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
impl Blocked {
    pub(super) fn all() -> Self {
        Self {}
    }
}
