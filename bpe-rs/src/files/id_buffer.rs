//! A growing byte vector on large pages.
//!
//! The page faults of fresh memory on pages of 4 KiB take about as long as encoding what is
//! written there, and growing step by step copies the vector or splits its large pages. So memory
//! is reserved at once where the size is known; what is never written takes no memory.

/// From this size on large pages are requested.
const LARGE: usize = 8 << 20;
/// From this size on glibc always maps new memory for a vector. A smaller one may lie in its heap, on
/// small pages that are given back and requested again each time.
const MAPPED: usize = (32 << 20) + 4096;

#[derive(Debug, Default)]
pub(super) struct IdBuffer(Vec<u8>);

impl IdBuffer {
    /// Makes room for `more` bytes, or for fewer where the system refuses; `append` then grows the
    /// vector.
    pub(super) fn reserve(&mut self, more: usize) {
        let had = self.0.capacity();
        let more = match more {
            LARGE..MAPPED => MAPPED,
            more => more,
        };
        // Exact at first. Later at least twice as much, so that many calls take linear time.
        let reserve = |buffer: &mut Vec<u8>, more| {
            if buffer.is_empty() {
                buffer.try_reserve_exact(more)
            } else {
                buffer.try_reserve(more)
            }
        };
        // Outside Unix reserved memory counts as used even if it is never written.
        let all = cfg!(unix) && reserve(&mut self.0, more).is_ok();
        if !all {
            // Most texts have at most one id for three bytes.
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

    /// The bytes; unused reserved memory goes back to the system.
    pub(super) fn into_vec(mut self) -> Vec<u8> {
        if self.0.capacity() >= LARGE {
            self.0.shrink_to_fit();
        }
        self.0
    }

    /// Requests large pages if the memory was reallocated since its capacity was `had`.
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
