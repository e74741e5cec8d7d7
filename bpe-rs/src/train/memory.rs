//! Memory for the large arrays of training: pages of their own.
//!
//! `malloc` keeps blocks of some megabytes for later, and arrays that grow leave a trail of them;
//! what matters here is the most that is held at a time.

use std::alloc::{handle_alloc_error, Layout};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};

use memmap2::MmapMut;

/// The smallest page there is: touching one place in each touches all.
const PAGE: usize = 4096;
/// The largest page there is, large ones on demand aside: what is given back are whole ones.
#[cfg(all(target_os = "linux", not(miri)))]
const LARGEST_PAGE: usize = 1 << 16;
/// From here on large pages are asked for: fewer page faults, and fewer misses of the address cache
/// in arrays that are read in no order.
#[cfg(all(target_os = "linux", not(miri)))]
const HUGE: usize = 2 << 20;

/// A type that is valid when all its bytes are zero.
///
/// # Safety
/// That is so, and its alignment is at most a page's (4096).
pub(super) unsafe trait Zero: Copy {}

// SAFETY: a number.
unsafe impl Zero for u32 {}

/// A vector in pages of its own, which the system gets back when it is dropped.
pub(super) struct Pages<T> {
    map: MmapMut,
    len: usize,
    items: PhantomData<T>,
}

impl<T: Zero> Pages<T> {
    /// Empty, with room for `capacity` items; no page of it is there before it is written. Like
    /// `Vec`, gives up on the process when there is no memory.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        let bytes = capacity.saturating_mul(size_of::<T>()).max(1);
        let map = MmapMut::map_anon(bytes).unwrap_or_else(|_| {
            let page = Layout::from_size_align(bytes.min(isize::MAX as usize / 2), PAGE);
            handle_alloc_error(page.unwrap_or(Layout::new::<T>()))
        });
        #[cfg(all(target_os = "linux", not(miri)))]
        if bytes >= HUGE {
            // A wish: pages of 4096 bytes do as well.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Self {
            map,
            len: 0,
            items: PhantomData,
        }
    }

    /// `len` zeros whose pages are there from the first look on.
    pub(super) fn untouched(len: usize) -> Self {
        let mut pages = Self::with_capacity(len);
        pages.len = len;
        pages
    }

    /// `len` zeros in pages that are there.
    pub(super) fn zeroed(len: usize) -> Self {
        let mut pages = Self::with_capacity(len);
        // A page that is read before it is written costs two faults, and the second interrupts
        // the other threads: the system first shows a page of zeros that is everybody's.
        for page in pages.map.chunks_mut(PAGE) {
            page[0] = 0;
        }
        pages.len = len;
        pages
    }

    /// Have the pages of these items there before they are looked at, as [`Pages::zeroed`] does, but
    /// whatever they hold.
    pub(super) fn populate(&self, items: Range<usize>) {
        #[cfg(all(target_os = "linux", not(miri)))]
        {
            // A wish, which older systems do not know.
            let (from, bytes) = (items.start, items.len() * size_of::<T>());
            let advice = memmap2::Advice::PopulateWrite;
            let _ = self.map.advise_range(advice, from * size_of::<T>(), bytes);
        }
        #[cfg(not(all(target_os = "linux", not(miri))))]
        let _ = items;
    }

    /// `len` times `item`.
    pub(super) fn filled(len: usize, item: T) -> Self {
        let mut pages = Self::with_capacity(len);
        pages.resize(len, item);
        pages
    }

    pub(super) fn capacity(&self) -> usize {
        self.map.len() / size_of::<T>()
    }

    /// Make room for exactly `more` items behind those there are, if there is less.
    pub(super) fn reserve_exact(&mut self, more: usize) {
        if self.len + more > self.capacity() {
            let mut larger = Self::with_capacity(self.len + more);
            larger.len = self.len;
            larger.copy_from_slice(self);
            *self = larger;
        }
    }

    /// As [`Pages::reserve_exact`], but for more at once, when items come one by one.
    #[inline(always)]
    fn reserve(&mut self, more: usize) {
        if self.len + more > self.capacity() {
            self.reserve_exact(more + self.capacity() / 4 + PAGE / size_of::<T>());
        }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, item: T) {
        self.reserve(1);
        self.len += 1;
        let last = self.len - 1;
        self[last] = item;
    }

    /// Make it `len` items, new ones being `item`.
    pub(super) fn resize(&mut self, len: usize, item: T) {
        let old = self.len;
        self.reserve(len.saturating_sub(old));
        self.len = len;
        if old < len {
            self[old..].fill(item);
        }
    }

    pub(super) fn extend_from_slice(&mut self, items: &[T]) {
        let old = self.len;
        self.reserve(items.len());
        self.len += items.len();
        self[old..].copy_from_slice(items);
    }

    /// Keep the first `len` items, and give back the pages behind them.
    pub(super) fn shorten(&mut self, len: usize) {
        self.len = len.min(self.len);
        #[cfg(all(target_os = "linux", not(miri)))]
        {
            let from = (self.len * size_of::<T>()).next_multiple_of(LARGEST_PAGE);
            if from < self.map.len() {
                // A wish. What reads as zeros afterwards is behind the items, where nothing is
                // read before it is written.
                // SAFETY: the range is inside the map, which is private and anonymous: all that
                // is lost are bytes behind the items, which no reference covers.
                let _ = unsafe {
                    let advice = memmap2::UncheckedAdvice::DontNeed;
                    self.map
                        .unchecked_advise_range(advice, from, self.map.len() - from)
                };
            }
        }
    }
}

impl<T: Zero> Deref for Pages<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the map has room for `len` items and starts at a page; its bytes are zeros,
        // which `T: Zero` makes a value, or values that were written.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_what_a_vector_holds() {
        let (mut pages, mut vector) = (Pages::with_capacity(0), Vec::new());
        for round in 0..40u32 {
            let items: Vec<u32> = (0..round * 97).collect();
            match round % 5 {
                0 | 1 => {
                    pages.extend_from_slice(&items);
                    vector.extend_from_slice(&items);
                }
                2 | 3 => {
                    let len = vector.len() + items.len();
                    pages.resize(len, round);
                    pages.push(7);
                    vector.resize(len, round);
                    vector.push(7);
                }
                _ => {
                    let len = vector.len() / 3;
                    pages.shorten(len);
                    vector.truncate(len);
                    pages.reserve_exact(items.len());
                    assert!(pages.capacity() >= len + items.len());
                }
            }
            assert_eq!(pages[..], vector[..]);
        }
        assert!(pages.len() > 2000, "it has been more than one page");
        assert!(Pages::<u32>::zeroed(5000).iter().all(|&item| item == 0));
    }
}
