//! The queue of ranked pairs, the greatest first.
//!
//! A new pair occurs at most as often as the one whose merge made it, and counts only fall, so
//! nothing is ever pushed above what was popped last but for equals. Pairs are therefore put into
//! buckets by their count, and only the highest bucket is kept in order: a small heap that stays
//! in the cache, where one heap of all pairs would miss it at every level.

use std::collections::BinaryHeap;

use super::tie_break::RankedPair;

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
    use super::super::pair_counts::Pair;
    use super::super::tie_break::BySmallestPair;
    use super::*;

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
        let mut number = 1u64;
        let mut random = move || {
            number = number.wrapping_mul(6364136223846793005).wrapping_add(1);
            number >> 40
        };
        let mut expected = BinaryHeap::new();
        for i in 0..2000 {
            let ranked = BySmallestPair::new(random(), Pair::new(i, 1), 0, 0);
            queue.push(ranked);
            expected.push(ranked);
        }
        while let Some(ranked) = queue.pop() {
            assert!(Some(ranked) == expected.pop());
            if ranked.count() > 3 && expected.len() < 4000 {
                let below = ranked.count() - random() % 3;
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
