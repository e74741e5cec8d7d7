//! Large arrays of plain numbers, in pages of their own.
//!
//! The system gets the pages back as soon as an array is dropped or shortened, where `malloc`
//! would keep blocks of some megabytes: the memory held at a time stays close to what is used.
//! Large pages save page faults, and misses of the address cache (TLB) in arrays that are read in
//! random order.

use std::alloc::{handle_alloc_error, Layout};
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

use memmap2::MmapMut;

/// The smallest page size: writing one byte in each page makes the system provide all of them.
const PAGE: usize = 4096;
/// The largest base page size (of AArch64 kernels): memory is given back in multiples of it.
#[cfg(all(target_os = "linux", not(miri)))]
const LARGEST_PAGE: usize = 1 << 16;
/// From this size on large pages are requested.
#[cfg(all(target_os = "linux", not(miri)))]
const LARGE: usize = 2 << 20;
/// Below this size a [`LargeVec::table`] comes from the allocator, whose memory is often there
/// already: tables that grow from call to call would pay for page faults otherwise.
const LARGE_TABLE: usize = if cfg!(miri) { 1 << 14 } else { 4 << 20 };

/// A type that is valid when all its bytes are zero.
///
/// # Safety
/// All bytes zero are a value of the type, and its alignment divides 4096.
pub(crate) unsafe trait Zeroable: Copy {}

// SAFETY: a number.
unsafe impl Zeroable for u32 {}

/// A vector for large arrays. Aborts the process where there is no memory, as `Vec` does.
///
/// It owns its memory through a pointer only: pointers into it stay valid when it is moved.
pub(crate) struct LargeVec<T> {
    start: NonNull<T>,
    len: usize,
    capacity: usize,
    /// The pages; `None` where the allocator gave memory for an array of `capacity` items.
    map: Option<MmapMut>,
}

// SAFETY: a `LargeVec` owns what it points to, as a `Vec` does.
unsafe impl<T: Send> Send for LargeVec<T> {}
// SAFETY: as above; through a shared reference it is only read.
unsafe impl<T: Sync> Sync for LargeVec<T> {}

impl<T: Zeroable> LargeVec<T> {
    /// Empty, with room for `capacity` items. The system provides a page when it is first used.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let bytes = capacity.saturating_mul(size_of::<T>()).max(1);
        let mut map = MmapMut::map_anon(bytes).unwrap_or_else(|_| out_of_memory::<T>(bytes));
        #[cfg(all(target_os = "linux", not(miri)))]
        if bytes >= LARGE {
            // A hint: small pages work as well.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        // A map starts at a page, so it is aligned for `T`.
        let Some(start) = NonNull::new(map.as_mut_ptr().cast()) else {
            out_of_memory::<T>(bytes)
        };
        Self {
            start,
            len: 0,
            capacity: bytes / size_of::<T>(),
            map: Some(map),
        }
    }

    /// `len` zeros. The system provides a page when it is first used.
    pub(crate) fn zeroed(len: usize) -> Self {
        let mut zeros = Self::with_capacity(len);
        zeros.len = len;
        zeros
    }

    /// `len` zeros in pages that are there from the start.
    pub(crate) fn zeroed_now(len: usize) -> Self {
        let mut zeros = Self::with_capacity(len);
        // A page that is read before it is written costs two page faults: the first maps a page
        // of zeros that all share, and the second has to interrupt the other threads.
        for page in zeros.map.iter_mut().flat_map(|map| map.chunks_mut(PAGE)) {
            page[0] = 0;
        }
        zeros.len = len;
        zeros
    }

    /// `len` zeros for a hash table, in memory of the allocator while the table is small.
    pub(crate) fn table(len: usize) -> Self {
        if len.saturating_mul(size_of::<T>()) >= LARGE_TABLE {
            return Self::zeroed(len);
        }
        let Some(layout) = Layout::array::<T>(len)
            .ok()
            .filter(|layout| layout.size() > 0)
        else {
            return Self::zeroed(len);
        };
        // SAFETY: the layout is of at least one byte. Zeros are a value of `T: Zeroable`.
        let Some(start) = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }.cast()) else {
            handle_alloc_error(layout)
        };
        Self {
            start,
            len,
            capacity: len,
            map: None,
        }
    }

    /// `len` times `item`.
    pub(crate) fn filled(len: usize, item: T) -> Self {
        let mut items = Self::with_capacity(len);
        items.resize(len, item);
        items
    }

    /// Make the system provide the pages of these items now. The items stay as they are.
    pub(crate) fn populate(&self, items: Range<usize>) {
        #[cfg(all(target_os = "linux", not(miri)))]
        if let Some(map) = &self.map {
            let (from, bytes) = (items.start * size_of::<T>(), items.len() * size_of::<T>());
            // A hint, which older systems do not know.
            let _ = map.advise_range(memmap2::Advice::PopulateWrite, from, bytes);
        }
        #[cfg(not(all(target_os = "linux", not(miri))))]
        let _ = items;
    }

    /// Make room for exactly `more` further items, unless there is room already.
    pub(crate) fn reserve_exact(&mut self, more: usize) {
        if self.len + more > self.capacity {
            let mut larger = Self::with_capacity(self.len + more);
            larger.len = self.len;
            larger.copy_from_slice(self);
            *self = larger;
        }
    }

    /// [`LargeVec::reserve_exact`] with a quarter to spare: pushing takes amortised constant time.
    #[inline(always)]
    fn reserve(&mut self, more: usize) {
        if self.len + more > self.capacity {
            self.reserve_exact(more + self.capacity / 4 + PAGE / size_of::<T>());
        }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, item: T) {
        self.reserve(1);
        self.len += 1;
        let last = self.len - 1;
        self[last] = item;
    }

    /// Make it `len` items; new ones are `item`.
    pub(crate) fn resize(&mut self, len: usize, item: T) {
        let old = self.len;
        self.reserve(len.saturating_sub(old));
        self.len = len;
        if old < len {
            self[old..].fill(item);
        }
    }

    pub(crate) fn extend_from_slice(&mut self, items: &[T]) {
        let old = self.len;
        self.reserve(items.len());
        self.len += items.len();
        self[old..].copy_from_slice(items);
    }

    /// Make all items zero.
    pub(crate) fn clear_to_zero(&mut self) {
        // SAFETY: `T: Zeroable` is valid when all its bytes are zero.
        self.fill(unsafe { std::mem::zeroed() });
    }

    /// Keep the first `len` items, and give back the pages behind them.
    pub(crate) fn shorten(&mut self, len: usize) {
        self.len = len.min(self.len);
        #[cfg(all(target_os = "linux", not(miri)))]
        if let Some(map) = &mut self.map {
            let from = (self.len * size_of::<T>()).next_multiple_of(LARGEST_PAGE);
            if from < map.len() {
                // A hint, after which the bytes may read as zeros.
                // SAFETY: the range is inside the map, which is private and anonymous; what is lost
                // lies behind the items: no reference points there, nothing reads it before a write.
                let _ = unsafe {
                    let advice = memmap2::UncheckedAdvice::DontNeed;
                    map.unchecked_advise_range(advice, from, map.len() - from)
                };
            }
        }
    }
}

#[cold]
fn out_of_memory<T>(bytes: usize) -> ! {
    let layout = Layout::from_size_align(bytes.min(isize::MAX as usize / 2), PAGE);
    handle_alloc_error(layout.unwrap_or(Layout::new::<T>()))
}

impl<T> Drop for LargeVec<T> {
    fn drop(&mut self) {
        if self.map.is_none() {
            let items = std::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.capacity);
            // SAFETY: without a map, `table` allocated the memory of a boxed slice of this length.
            drop(unsafe { Box::from_raw(items) });
        }
    }
}

impl<T: Zeroable> Deref for LargeVec<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `start` is aligned memory with room for `len` items, which are zeros, a value
        // of `T: Zeroable`, or were written; it is freed only with `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroable> DerefMut for LargeVec<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_a_vector_holds() {
        let (mut large, mut vector) = (LargeVec::with_capacity(0), Vec::new());
        for round in 0..40u32 {
            let items: Vec<u32> = (0..round * 97).collect();
            match round % 5 {
                0 | 1 => {
                    large.extend_from_slice(&items);
                    vector.extend_from_slice(&items);
                }
                2 | 3 => {
                    let len = vector.len() + items.len();
                    large.resize(len, round);
                    large.push(7);
                    vector.resize(len, round);
                    vector.push(7);
                }
                _ => {
                    let len = vector.len() / 3;
                    large.shorten(len);
                    vector.truncate(len);
                    large.reserve_exact(items.len());
                    assert!(large.capacity >= len + items.len());
                }
            }
            assert_eq!(large[..], vector[..]);
        }
        assert!(large.len() > 2000, "it has been more than one page");
    }

    #[test]
    fn small_and_large_arrays_are_zero_at_first() {
        let edge = LARGE_TABLE / 4;
        for len in [0, 1, 1000, edge - 1, edge, edge + 1000] {
            for zeros in [LargeVec::zeroed, LargeVec::zeroed_now, LargeVec::table] {
                let mut items: LargeVec<u32> = zeros(len);
                assert_eq!(items.len(), len);
                assert!(items.iter().all(|&n| n == 0));
                items.iter_mut().zip(0..).for_each(|(item, i)| *item = i);
                assert!(items.iter().zip(0..).all(|(&item, i)| item == i));
                items.push(1);
                assert_eq!((items.len(), items[len]), (len + 1, 1));
                items.clear_to_zero();
                assert!(items.iter().all(|&n| n == 0));
            }
        }
    }
}
