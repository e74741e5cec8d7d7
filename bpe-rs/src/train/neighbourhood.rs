//! What stands beside a pair while it is merged.
//!
//! Replacing `a b` by `ab` in `x a b y` takes one occurrence from (x, a) and (b, y) and gives one
//! to (x, ab) and (ab, y). Both are summed per neighbour in dense arrays, so that the pair table
//! is touched once for every distinct neighbour, not once for every occurrence.

use crate::memory::{LargeVec, Zeroable};

/// Occurrences beside one neighbour during a merge.
#[derive(Clone, Copy, Default)]
pub(super) struct NeighbourCount {
    /// Occurrences in the text.
    pub(super) count: u64,
    /// Occurrences in the distinct words.
    pub(super) postings: u32,
    /// For the caller: where the next posting goes.
    pub(super) next: u32,
}

// SAFETY: numbers.
unsafe impl Zeroable for NeighbourCount {}

/// One side (left or right) of the merged pair.
pub(super) struct Side {
    /// By neighbour id; one more slot at the end takes what a word's edge would have added.
    pub(super) counts: LargeVec<NeighbourCount>,
    /// The distinct neighbours.
    pub(super) neighbours: Vec<u32>,
    /// (neighbour << 32 | record) of every occurrence, in corpus order.
    pub(super) occurrences: Vec<u64>,
}

impl Side {
    fn new(ids: usize) -> Self {
        Self {
            counts: LargeVec::zeroed(ids + 1),
            neighbours: Vec::new(),
            occurrences: Vec::new(),
        }
    }

    /// Add one occurrence beside `neighbour`.
    #[inline(always)]
    pub(super) fn add(&mut self, neighbour: u32, count: u64, record: u32) {
        let slot = &mut self.counts[neighbour as usize];
        if slot.postings == 0 {
            self.neighbours.push(neighbour);
        }
        slot.count += count;
        slot.postings += 1;
        self.occurrences
            .push((neighbour as u64) << 32 | record as u64);
    }

    /// Add one occurrence beside `neighbour` if it is `real`; if not, only the neighbour's slot in
    /// `counts` changes. Branch-free.
    ///
    /// # Safety
    /// `neighbour` is an index of `counts`; both lists have room for one more.
    #[inline(always)]
    pub(super) unsafe fn add_if(&mut self, real: bool, neighbour: usize, count: u64, record: u32) {
        // SAFETY: the caller's promise; writing one past the length is inside the capacity.
        unsafe {
            let slot = self.counts.get_unchecked_mut(neighbour);
            let known = self.neighbours.len();
            *self.neighbours.as_mut_ptr().add(known) = neighbour as u32;
            self.neighbours
                .set_len(known + (real & (slot.postings == 0)) as usize);
            slot.count = slot.count.wrapping_add(count);
            slot.postings = slot.postings.wrapping_add(1);
            let occurrences = self.occurrences.len();
            *self.occurrences.as_mut_ptr().add(occurrences) =
                (neighbour as u64) << 32 | record as u64;
            self.occurrences.set_len(occurrences + real as usize);
        }
    }

    fn clear(&mut self) {
        for &neighbour in &self.neighbours {
            self.counts[neighbour as usize] = NeighbourCount::default();
        }
        self.neighbours.clear();
        // The first merges have hundreds of times more occurrences than most.
        if self.occurrences.len() < self.occurrences.capacity() / 16 {
            self.occurrences.shrink_to(self.occurrences.capacity() / 8);
        }
        self.occurrences.clear();
    }
}

/// What stands beside a merged pair: on both sides, and the pair beside itself: `a b a b` makes
/// (ab, ab).
pub(super) struct Neighbourhood {
    pub(super) left: Side,
    pub(super) right: Side,
    pub(super) repeat_count: u64,
    pub(super) repeat_postings: Vec<u32>,
}

impl Neighbourhood {
    /// For ids below `ids`.
    pub(super) fn new(ids: usize) -> Self {
        Self {
            left: Side::new(ids),
            right: Side::new(ids),
            repeat_count: 0,
            repeat_postings: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.left.clear();
        self.right.clear();
        self.repeat_count = 0;
        self.repeat_postings.clear();
    }
}
