//! Large pages for the arrays that are read all over.

use std::mem::MaybeUninit;

/// Ask for large pages behind `memory`, before it is touched first: fewer page faults, and fewer
/// misses of the address cache in arrays that are read in no order. Only a wish: it may be ignored.
pub(super) fn advise_huge_pages<T>(memory: &mut [MaybeUninit<T>]) {
    #[cfg(target_os = "linux")]
    {
        const HUGE: usize = 2 << 20;
        const PAGE: usize = 4096;
        let bytes = std::mem::size_of_val(memory);
        let from = (memory.as_ptr() as usize).next_multiple_of(PAGE);
        let to = (memory.as_ptr() as usize + bytes) / PAGE * PAGE;
        if bytes >= 2 * HUGE && to > from {
            // SAFETY: the range is inside `memory`, and the advice changes no contents.
            unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}
