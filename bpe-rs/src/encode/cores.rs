//! On which cores helpers run.
//!
//! Linux lets a thread that is woken begin on the core of whoever wakes it, unless it finds an idle
//! one. In a virtual machine it often did not find it (probably because a core that idles there
//! looks as if the host had taken it away: `available_idle_cpu` asks `vcpu_is_preempted`): a helper
//! stood behind its own caller for milliseconds, longer than the work takes, beside an idle core, and
//! batches of 128 KiB took as long on two threads as on one. So a helper may run on any core but its
//! caller's.

#[cfg(target_os = "linux")]
pub(super) use linux::Place;
#[cfg(not(target_os = "linux"))]
pub(super) use others::Place;

#[cfg(target_os = "linux")]
mod linux {
    use std::mem::{size_of_val, zeroed};
    use std::os::unix::thread::JoinHandleExt;
    use std::thread::JoinHandle;

    /// Where a thread may run.
    pub(in super::super) struct Place {
        /// A `pthread_t`, which is a pointer on some systems.
        thread: usize,
        /// The core that it keeps off.
        off: Option<usize>,
    }

    impl Place {
        pub(in super::super) fn of<T>(thread: &JoinHandle<T>) -> Self {
            let (thread, off) = (thread.as_pthread_t() as usize, None);
            Self { thread, off }
        }

        /// Keep the thread off the core that the caller is on, unless that is the only one. This
        /// takes some nanoseconds where nothing changes, and fails where the system does not tell.
        ///
        /// # Safety
        ///
        /// The thread has not ended.
        pub(in super::super) unsafe fn keep_off_here(&mut self) {
            // SAFETY: there is nothing that it could break.
            let Ok(here) = usize::try_from(unsafe { libc::sched_getcpu() }) else {
                return;
            };
            if self.off == Some(here) || here >= libc::CPU_SETSIZE as usize {
                return;
            }
            self.off = Some(here);
            // SAFETY: a set of zeros is empty; the calls read and write the set's own size; `here`
            // is within it; the thread is there.
            unsafe {
                let mut cores: libc::cpu_set_t = zeroed();
                if libc::sched_getaffinity(0, size_of_val(&cores), &raw mut cores) != 0 {
                    return;
                }
                libc::CPU_CLR(here, &mut cores);
                if libc::CPU_COUNT(&cores) > 0 {
                    let thread = self.thread as libc::pthread_t;
                    libc::pthread_setaffinity_np(thread, size_of_val(&cores), &raw const cores);
                }
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use std::sync::mpsc::channel;

        use super::*;

        /// The cores that this thread may use.
        fn cores() -> Vec<usize> {
            // SAFETY: as above.
            unsafe {
                let mut cores: libc::cpu_set_t = zeroed();
                libc::sched_getaffinity(0, size_of_val(&cores), &raw mut cores);
                let all = 0..libc::CPU_SETSIZE as usize;
                all.filter(|&core| libc::CPU_ISSET(core, &cores)).collect()
            }
        }

        #[test]
        #[cfg_attr(miri, ignore = "it has no cores to choose")]
        fn a_thread_keeps_off_one_core_of_those_of_its_caller() {
            let (ask, asked) = channel::<()>();
            let (tell, told) = channel();
            let thread = std::thread::spawn(move || {
                while asked.recv().is_ok() {
                    tell.send(cores()).unwrap();
                }
            });
            let mut place = Place::of(&thread);
            let mine = cores();
            for _ in 0..3 {
                // SAFETY: it ends with the sender.
                unsafe { place.keep_off_here() };
                let off = place.off.unwrap();
                ask.send(()).unwrap();
                let left = mine.iter().copied().filter(|&core| core != off);
                let want: Vec<_> = left.collect();
                let theirs = told.recv().unwrap();
                assert_eq!(theirs, if want.is_empty() { mine.clone() } else { want });
            }
            drop(ask);
            thread.join().unwrap();
            assert_eq!(cores(), mine);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod others {
    use std::thread::JoinHandle;

    /// Where a thread may run: where the system puts it.
    pub(in super::super) struct Place;

    impl Place {
        pub(in super::super) fn of<T>(_: &JoinHandle<T>) -> Self {
            Self
        }

        /// Nothing.
        ///
        /// # Safety
        ///
        /// Always safe here.
        pub(in super::super) unsafe fn keep_off_here(&mut self) {}
    }
}
