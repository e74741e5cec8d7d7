//! A growing byte vector on large pages.
//!
//! Fresh memory on pages of 4 KiB costs as many page faults as encoding what goes there costs
//! work, and a vector that grows step by step is copied, or its large pages are split. So it is
//! reserved at once where the size is known: what is never written takes no memory.

/// From this size on large pages are requested.
const LARGE: usize = 8 << 20;
/// From this size on glibc always maps memory of its own for a vector. What comes out of its heap
/// instead lies on small pages, which the heap gives back and takes again each time.
const MAPPED: usize = (32 << 20) + 4096;

#[derive(Debug, Default)]
pub(super) struct IdBuffer(Vec<u8>);

impl IdBuffer {
    /// Makes room for `more` bytes behind those there are, or for fewer where the system refuses:
    /// then the rest is found, or missed, when it is written.
    pub(super) fn reserve(&mut self, more: usize) {
        let had = self.0.capacity();
        let more = match more {
            LARGE..MAPPED => MAPPED,
            more => more,
        };
        // Exact at first. Later twice as much at least, so that many calls stay linear.
        let reserve = |buffer: &mut Vec<u8>, more| {
            if buffer.is_empty() {
                buffer.try_reserve_exact(more)
            } else {
                buffer.try_reserve(more)
            }
        };
        // Only Unix does not count memory that is reserved and not written.
        let all = cfg!(unix) && reserve(&mut self.0, more).is_ok();
        if !all {
            // A text has one id for three bytes or fewer.
            let _ = reserve(&mut self.0, more / 3);
        }
        self.request_large_pages(had);
    }

    /// Appends `bytes`.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let had = self.0.capacity();
        self.0.extend_from_slice(bytes);
        self.request_large_pages(had);
    }

    /// The bytes; memory that was reserved in vain goes back to the system.
    pub(super) fn into_vec(mut self) -> Vec<u8> {
        if self.0.capacity() >= LARGE {
            self.0.shrink_to_fit();
        }
        self.0
    }

    /// Requests large pages where the memory is another than that of `had` bytes.
    fn request_large_pages(&mut self, had: usize) {
        #[cfg(target_os = "linux")]
        if self.0.capacity() != had && self.0.capacity() >= LARGE {
            const PAGE: usize = 4096;
            let start = self.0.as_mut_ptr() as usize;
            let from = start.next_multiple_of(PAGE);
            let to = (start + self.0.capacity()) / PAGE * PAGE;
            // SAFETY: whole pages inside the vector's memory; the advice changes nothing in them.
            unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_HUGEPAGE) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = had;
    }
}
