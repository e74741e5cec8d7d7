//! The pair counts of one thread, in three forms, and their sums over the threads.

use super::pair_counts::{Pair, PairCount, PairCounts, UNTRACKED};
use crate::memory::LargeVec;

/// As long as ids fit a byte, pairs are counted in an array of all of them.
const ALL_PAIRS: usize = 1 << 16;

/// Pairs with their counts and numbers of postings, as one thread finds them.
pub(super) trait ThreadCounts: Send {
    fn entry(&mut self, pair: Pair) -> &mut PairCount;
    fn find(&mut self, pair: Pair) -> Option<&mut PairCount>;
    fn counted(&self) -> impl Iterator<Item = &PairCount>;
    /// These entries only.
    fn reduced_to(self, tracked: Vec<PairCount>) -> Self;

    #[inline(always)]
    fn add(&mut self, pair: Pair, count: u64) {
        let slot = self.entry(pair);
        slot.count += count;
        slot.postings += 1;
    }
}

impl ThreadCounts for PairCounts {
    #[inline(always)]
    fn entry(&mut self, pair: Pair) -> &mut PairCount {
        PairCounts::entry(self, pair)
    }

    #[inline(always)]
    fn find(&mut self, pair: Pair) -> Option<&mut PairCount> {
        self.get_mut(pair)
    }

    fn counted(&self) -> impl Iterator<Item = &PairCount> {
        self.iter()
    }

    fn reduced_to(self, tracked: Vec<PairCount>) -> Self {
        drop(self);
        // Most look-ups are of pairs that are not there, which end early where much is vacant.
        let mut reduced = Self::with_room_for(tracked.len() * 2);
        for slot in tracked {
            *reduced.entry(slot.pair) = slot;
        }
        reduced
    }
}

/// All pairs of ids below 256.
pub(super) struct BytePairCounts(Vec<PairCount>);

impl BytePairCounts {
    /// One more than the greatest id.
    pub(super) const IDS: usize = ALL_PAIRS.isqrt();

    #[inline(always)]
    fn index(pair: Pair) -> usize {
        (pair.left() as usize * Self::IDS + pair.right() as usize) % ALL_PAIRS
    }
}

impl Default for BytePairCounts {
    fn default() -> Self {
        let side = Self::IDS as u32;
        let vacant = |index| PairCount {
            pair: Pair::new(index / side, index % side),
            count: 0,
            start: UNTRACKED,
            postings: 0,
        };
        Self((0..ALL_PAIRS as u32).map(vacant).collect())
    }
}

impl ThreadCounts for BytePairCounts {
    #[inline(always)]
    fn entry(&mut self, pair: Pair) -> &mut PairCount {
        &mut self.0[Self::index(pair)]
    }

    #[inline(always)]
    fn find(&mut self, pair: Pair) -> Option<&mut PairCount> {
        Some(self.entry(pair))
    }

    fn counted(&self) -> impl Iterator<Item = &PairCount> {
        self.0.iter().filter(|slot| slot.postings > 0)
    }

    fn reduced_to(mut self, tracked: Vec<PairCount>) -> Self {
        for slot in tracked {
            *self.entry(slot.pair) = slot;
        }
        self
    }
}

/// The sums over all threads, of which there is at least one.
pub(super) fn sum_of(counts: &[impl ThreadCounts]) -> PairCounts {
    let mut total = PairCounts::with_room_for(counts[0].counted().count());
    for slot in counts.iter().flat_map(ThreadCounts::counted) {
        let sum = total.entry(slot.pair);
        sum.count += slot.count;
        sum.postings += slot.postings;
    }
    total
}

/// An upper bound of every pair's count (a count-min sketch of one row): the sum over all pairs
/// with the same few hash bits, or `u32::MAX` where that is more.
pub(super) struct Sketch {
    sums: LargeVec<u32>,
    shift: u32,
}

impl Sketch {
    /// For so many postings: more sums than there may be distinct pairs, because a rare pair that
    /// shares its sum with a frequent one takes room when pairs are counted exactly.
    pub(super) fn sized_for(postings: usize) -> Self {
        let bits = (postings * 2).max(1).ilog2().clamp(16, 20);
        Self {
            sums: LargeVec::zeroed_now(1 << bits),
            shift: 64 - bits,
        }
    }

    #[inline(always)]
    pub(super) fn add(&mut self, pair: Pair, count: u64) {
        let sum = &mut self.sums[(pair.hash() >> self.shift) as usize];
        *sum = sum.saturating_add(count.min(u32::MAX.into()) as u32);
    }

    #[inline(always)]
    pub(super) fn bound(&self, pair: Pair) -> u64 {
        self.sums[(pair.hash() >> self.shift) as usize].into()
    }

    pub(super) fn greatest(&self) -> u64 {
        self.sums.iter().copied().max().unwrap_or(0).into()
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (sum, more) in self.sums.iter_mut().zip(other.sums.iter()) {
            *sum = sum.saturating_add(*more);
        }
    }
}
