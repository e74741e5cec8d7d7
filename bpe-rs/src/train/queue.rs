//! Ranked pairs, and the queue of them, the greatest first.
//!
//! A new pair occurs at most as often as the pair whose merge made it, and counts only fall, so no
//! pair is pushed with a higher count than was popped last. Pairs are therefore put into buckets by
//! count, and only the highest bucket is kept in order: a small heap that stays in the processor's
//! cache, where a heap of all pairs would miss it at every level.

use std::collections::BinaryHeap;

use super::pair_counts::Pair;

/// A pair and its rank at the time when it was queued; the greatest is merged next. Counts only
/// fall and first occurrences only move back, so an outdated rank is too high, never too low: it is
/// corrected when its pair is taken from the queue.
pub(super) trait RankedPair: Ord + Copy {
    /// The rank depends on where the pair occurs first.
    const POSITIONAL: bool;

    /// `length` is the merged token's, in bytes; `first` says where the pair occurs first (zero
    /// for rules that are not positional).
    fn new(count: u64, pair: Pair, length: u32, first: u64) -> Self;
    fn pair(self) -> Pair;
    fn count(self) -> u64;
}

/// `TieBreak::HuggingFace` and `TieBreak::Pair`: they differ in how bytes are numbered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BySmallestPair {
    count: u64,
    /// All bits flipped, so that the smallest is the greatest.
    inverted_pair: u64,
}

impl RankedPair for BySmallestPair {
    const POSITIONAL: bool = false;

    #[inline(always)]
    fn new(count: u64, pair: Pair, _length: u32, _first: u64) -> Self {
        Self {
            count,
            inverted_pair: !pair.key(),
        }
    }

    #[inline(always)]
    fn pair(self) -> Pair {
        Pair::from_key(!self.inverted_pair)
    }

    #[inline(always)]
    fn count(self) -> u64 {
        self.count
    }
}

/// `TieBreak::FirstSeen`, which is positional, and `TieBreak::Longest`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByTie<const POSITIONAL: bool> {
    count: u64,
    /// The place of the first occurrence, all bits flipped; or the merged token's length.
    tie: u64,
    inverted_pair: u64,
}

impl<const POSITIONAL: bool> RankedPair for ByTie<POSITIONAL> {
    const POSITIONAL: bool = POSITIONAL;

    fn new(count: u64, pair: Pair, length: u32, first: u64) -> Self {
        Self {
            count,
            tie: if POSITIONAL { !first } else { length.into() },
            inverted_pair: !pair.key(),
        }
    }

    fn pair(self) -> Pair {
        Pair::from_key(!self.inverted_pair)
    }

    fn count(self) -> u64 {
        self.count
    }
}

pub(super) struct Queue<R> {
    /// By [`bucket_of`] the count; pairs whose bucket is `current` or higher are in the heap.
    buckets: Vec<Vec<R>>,
    current: usize,
    heap: BinaryHeap<R>,
}

/// Eight buckets for every doubling of the count.
fn bucket_of(count: u64) -> usize {
    const PART: u32 = 3;
    if count < 1 << PART {
        return count as usize;
    }
    let doublings = 63 - count.leading_zeros();
    let part = (count >> (doublings - PART)) as usize & ((1 << PART) - 1);
    ((doublings - PART + 1) as usize) << PART | part
}

impl<R: RankedPair> Queue<R> {
    pub(super) fn new() -> Self {
        let buckets = (0..=bucket_of(u64::MAX)).map(|_| Vec::new()).collect();
        Self {
            buckets,
            current: 0,
            heap: BinaryHeap::new(),
        }
    }

    /// Remove all pairs; then pairs of any count can be pushed.
    pub(super) fn clear(&mut self) {
        self.heap = BinaryHeap::new();
        self.buckets.fill_with(Vec::new);
        self.current = self.buckets.len();
    }

    #[inline(always)]
    pub(super) fn push(&mut self, pair: R) {
        let bucket = bucket_of(pair.count());
        if bucket < self.current {
            self.buckets[bucket].push(pair);
        } else {
            self.heap.push(pair);
        }
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<R> {
        while self.heap.is_empty() {
            self.current = self.current.checked_sub(1)?;
            let bucket = std::mem::take(&mut self.buckets[self.current]);
            if !bucket.is_empty() {
                self.heap = BinaryHeap::from(bucket);
            }
        }
        self.heap.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn buckets_are_in_order_of_the_count() {
        let mut counts: Vec<u64> = (0..5000).collect();
        counts.extend((0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1]));
        counts.push(u64::MAX);
        counts.sort_unstable();
        assert!(counts.iter().map(|&count| bucket_of(count)).is_sorted());
    }

    #[test]
    fn pops_the_greatest_whatever_is_pushed_below_it() {
        let mut queue = Queue::<BySmallestPair>::new();
        queue.clear();
        let (mut random, mut expected) = (Random(1), BinaryHeap::new());
        for i in 0..2000 {
            let ranked = BySmallestPair::new(random.number() >> 40, Pair::new(i, 1), 0, 0);
            queue.push(ranked);
            expected.push(ranked);
        }
        while let Some(ranked) = queue.pop() {
            assert!(Some(ranked) == expected.pop());
            if ranked.count() > 3 && expected.len() < 4000 {
                let below = ranked.count() - random.number() % 3;
                let next = BySmallestPair::new(below / 2 * 2, ranked.pair(), 0, 0);
                if next < ranked {
                    queue.push(next);
                    expected.push(next);
                }
            }
        }
        assert!(expected.is_empty());
    }
}
