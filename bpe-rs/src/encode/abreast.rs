//! Several short merges that take their steps in turn, so that they wait for memory together.

use crate::error::Result;
use crate::simd::Lanes;
use crate::vocab::{PairTable, SmallMerge};

/// Merges side by side: as many as fit the registers.
const ABREAST: usize = 8;

/// Up to eight merges, each with what it is the merge of.
pub(super) struct Abreast<S: Lanes, const N: usize, T> {
    merges: [SmallMerge<S, N>; ABREAST],
    of: [T; ABREAST],
    count: usize,
}

impl<S: Lanes, const N: usize, T: Copy + Default> Abreast<S, N, T> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self {
            merges: [SmallMerge::empty(); ABREAST],
            of: [T::default(); ABREAST],
            count: 0,
        }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.count == ABREAST
    }

    /// Add a merge; there must be room.
    #[inline(always)]
    pub(super) fn push(&mut self, merge: SmallMerge<S, N>, of: T) {
        (self.merges[self.count], self.of[self.count]) = (merge, of);
        self.count += 1;
    }

    /// Take one step of each merge; those that are done are given to `take` and make room.
    ///
    /// # Errors
    /// Those of `take`.
    #[inline(always)]
    pub(super) fn step(
        &mut self,
        pairs: &PairTable,
        mut take: impl FnMut(&SmallMerge<S, N>, T) -> Result<()>,
    ) -> Result<()> {
        // Without a branch for each merge, because when one is done cannot be predicted.
        let mut done = 0u32;
        for (at, merge) in self.merges[..self.count].iter_mut().enumerate() {
            done |= u32::from(!merge.step(pairs)) << at;
        }
        while done != 0 {
            // The last one first: the merge that moves to its place is not done.
            let at = done.ilog2() as usize % ABREAST;
            done ^= 1 << at;
            take(&self.merges[at], self.of[at])?;
            self.count -= 1;
            self.merges[at] = self.merges[self.count];
            self.of[at] = self.of[self.count];
        }
        Ok(())
    }
}
