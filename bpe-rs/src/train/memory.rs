//! Memory for the large arrays of training.

use std::alloc::{handle_alloc_error, Layout};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

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

/// A type that is valid when all its bytes are zero.
///
/// # Safety
/// That is so, and its alignment is at most a page's (4096).
pub(super) unsafe trait Zero: Copy {}

/// A zeroed array of pages of its own, which the system gets back when it is dropped. `malloc`
/// keeps blocks of some megabytes for later, and tables that grow leave a trail of them.
pub(super) struct Pages<T> {
    map: MmapMut,
    len: usize,
    items: PhantomData<T>,
}

impl<T: Zero> Pages<T> {
    /// `len` zeros, at least one. Like `Vec`, gives up on the process when there is no memory.
    pub(super) fn zeroed(len: usize) -> Self {
        let bytes = len.saturating_mul(size_of::<T>());
        let mut map = MmapMut::map_anon(bytes).unwrap_or_else(|_| {
            let page = Layout::from_size_align(bytes.min(isize::MAX as usize / 2), 4096);
            handle_alloc_error(page.unwrap_or(Layout::new::<T>()))
        });
        #[cfg(target_os = "linux")]
        if bytes >= 2 << 20 {
            // A wish: pages of 4096 bytes do as well.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        // A page that is read before it is written costs two faults, and the second interrupts
        // the other threads: the system first shows a page of zeros that is everybody's.
        for page in map.chunks_mut(4096) {
            page[0] = 0;
        }
        Self {
            map,
            len,
            items: PhantomData,
        }
    }
}

impl<T: Zero> Deref for Pages<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the map has `len` times the size of `T`, starts at a page and was zeroed, which
        // `T: Zero` makes a value.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.len) }
    }
}

impl<T: Zero> DerefMut for Pages<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the map is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), self.len) }
    }
}
