//! Which cores a worker runs on: any that its caller may use, except the caller's own.
//!
//! Linux starts a woken thread on the core of the thread that wakes it, unless it finds an idle one.
//! In virtual machines it often finds none although there is one, and the worker waits behind its own
//! caller for longer than the work takes.

use std::thread::JoinHandle;

/// The affinity mask of one worker thread.
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
    ///
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
    ///
    /// None is needed here.
    pub(super) unsafe fn exclude_current_core(&mut self) {}
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
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
