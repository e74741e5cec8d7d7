//! Memory for tables: zeroed, and on huge pages once it is large.
//!
//! A table of megabytes is read all over; on small pages each look-up also misses the processor's
//! list of pages, and the system hands such pages out one by one.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use memmap2::MmapMut;

/// From here on huge pages are asked for.
const LARGE: usize = if cfg!(miri) { 1 << 14 } else { 4 << 20 };

/// A type that is at home anywhere in zeroed memory.
///
/// # Safety
///
/// All zeros are a valid value, there is nothing to drop, and the alignment divides 4096.
pub(super) unsafe trait Zeroed: Copy + Default {}

/// `len` values, all zeros at first.
///
/// Owns them through a pointer only: a box that was moved would call every older pointer into it
/// invalid.
pub(super) struct Memory<T> {
    start: NonNull<T>,
    len: usize,
    /// What frees the memory, unless it came out of a box.
    map: Option<MmapMut>,
}

// SAFETY: a `Memory` owns what it points to, as a box does.
unsafe impl<T: Send> Send for Memory<T> {}
// SAFETY: as above; through a shared reference it is only read.
unsafe impl<T: Sync> Sync for Memory<T> {}

impl<T: Zeroed> Memory<T> {
    pub(super) fn new(len: usize) -> Self {
        let bytes = len * std::mem::size_of::<T>();
        if bytes >= LARGE {
            if let Ok(mut map) = MmapMut::map_anon(bytes) {
                #[cfg(all(target_os = "linux", not(miri)))]
                let _ = map.advise(memmap2::Advice::HugePage);
                // A map begins on a page, hence aligned for `T`.
                if let Some(start) = NonNull::new(map.as_mut_ptr().cast()) {
                    let map = Some(map);
                    return Self { start, len, map };
                }
            }
        }
        let memory = Box::leak(vec![T::default(); len].into_boxed_slice());
        Self {
            start: NonNull::from(memory).cast(),
            len,
            map: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.fill(T::default());
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        if self.map.is_none() {
            let memory = std::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len);
            // SAFETY: without a map `new` took the memory out of a box of this length.
            drop(unsafe { Box::from_raw(memory) });
        }
    }
}

impl<T: Zeroed> Deref for Memory<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `start` is aligned memory for `len` values, all zeros at first, which `Zeroed`
        // allows; it is freed only with `self`, and nobody else writes to it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroed> DerefMut for Memory<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; `self` is borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SAFETY: a plain number.
    unsafe impl Zeroed for u64 {}

    #[test]
    fn small_and_large_memory_is_zeroed_and_holds() {
        for len in [0, 1, 1000, LARGE / 8, LARGE / 8 + 1000] {
            let mut memory = Memory::<u64>::new(len);
            assert_eq!(memory.len(), len);
            assert!(memory.iter().all(|&n| n == 0));
            (0..len).for_each(|i| memory[i] = i as u64);
            assert!(memory.iter().enumerate().all(|(i, &n)| n == i as u64));
            memory.clear();
            assert!(memory.iter().all(|&n| n == 0));
        }
    }
}
