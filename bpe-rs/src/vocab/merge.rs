//! Merging one piece: the neighbours with the smallest number first, the leftmost of equals first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::small::SmallMerge;
use super::{PairTable, Vocab, NONE};
use crate::simd::{Lanes, Portable};

/// Up to here scanning for the minimum beats keeping a heap.
const SCAN_LIMIT: usize = 128;

/// Buffers for merging, reusable.
#[derive(Debug, Default)]
pub struct Merger {
    parts: Vec<u32>,
    ranks: Vec<u32>,
    next: Vec<u32>,
    previous: Vec<u32>,
    heap: BinaryHeap<Reverse<u64>>,
}

impl Merger {
    /// Append the merge numbers of `piece` to `out`.
    #[inline(always)]
    pub(crate) fn merge<S: Lanes>(&mut self, vocab: &Vocab, piece: &[u8], out: &mut Vec<u32>) {
        let byte_pairs = vocab.byte_pairs();
        let byte_pair = |a, b| byte_pairs[usize::from(a) << 8 | usize::from(b)];
        if piece.len() <= 16 {
            let mut small = SmallMerge::<16>::new(piece, byte_pair);
            while small.step::<S>(vocab.pairs()) {}
            small.write(out);
        } else if piece.len() <= 32 {
            let mut small = SmallMerge::<32>::new(piece, byte_pair);
            while small.step::<S>(vocab.pairs()) {}
            small.write(out);
        } else {
            self.run::<S>(vocab.pairs(), piece, out, byte_pair);
        }
    }

    /// The same without the short cut for small pieces.
    #[cfg(test)]
    pub(super) fn merge_slowly(&mut self, vocab: &Vocab, piece: &[u8], out: &mut Vec<u32>) {
        let pairs = vocab.pairs();
        self.run::<Portable>(pairs, piece, out, |a, b| {
            pairs.get::<Portable>(a.into(), b.into())
        });
    }

    /// The same while the vocabulary is being built.
    pub(super) fn merge_without_byte_pairs(
        &mut self,
        pairs: &PairTable,
        piece: &[u8],
        out: &mut Vec<u32>,
    ) {
        let byte_pair = |a: u8, b: u8| pairs.get::<Portable>(a.into(), b.into());
        if piece.len() <= 16 {
            let mut small = SmallMerge::<16>::new(piece, byte_pair);
            while small.step::<Portable>(pairs) {}
            small.write(out);
        } else {
            self.run::<Portable>(pairs, piece, out, byte_pair);
        }
    }

    #[inline(always)]
    fn run<S: Lanes>(
        &mut self,
        pairs: &PairTable,
        piece: &[u8],
        out: &mut Vec<u32>,
        byte_pair: impl Fn(u8, u8) -> u32,
    ) {
        self.parts.clear();
        self.parts.extend(piece.iter().map(|&b| u32::from(b)));
        self.ranks.clear();
        self.ranks
            .extend(piece.windows(2).map(|w| byte_pair(w[0], w[1])));
        self.ranks.push(NONE);
        if piece.len() <= SCAN_LIMIT {
            self.scan::<S>(pairs);
            out.extend_from_slice(&self.parts);
        } else {
            self.with_heap::<S>(pairs, out);
        }
    }

    /// Quadratic, but on a few cache lines.
    #[inline(always)]
    fn scan<S: Lanes>(&mut self, pairs: &PairTable) {
        let (parts, ranks) = (&mut self.parts, &mut self.ranks);
        loop {
            // The place below the rank: the smallest is also the leftmost, in one comparison.
            let keys = ranks
                .iter()
                .enumerate()
                .map(|(at, &rank)| u64::from(rank) << 32 | at as u64);
            let best = keys.min().unwrap_or(u64::MAX);
            let (rank, at) = ((best >> 32) as u32, best as u32 as usize);
            if rank >= NONE {
                return;
            }
            parts[at] = rank;
            parts.remove(at + 1);
            ranks.remove(at);
            if at > 0 {
                ranks[at - 1] = pairs.get::<S>(parts[at - 1], rank);
            }
            ranks[at] = parts
                .get(at + 1)
                .map_or(NONE, |&right| pairs.get::<S>(rank, right));
        }
    }

    /// n log n: a heap of (rank, position) with stale entries, a linked list of live positions.
    fn with_heap<S: Lanes>(&mut self, pairs: &PairTable, out: &mut Vec<u32>) {
        let Self {
            parts,
            ranks,
            next,
            previous,
            heap,
        } = self;
        let len = parts.len();
        next.clear();
        next.extend(1..=len as u32);
        previous.clear();
        previous.extend((0..len as u32).map(|i| i.wrapping_sub(1)));
        let entry = |rank: u32, at: usize| Reverse(u64::from(rank) << 40 | at as u64);
        let mut entries = std::mem::take(heap).into_vec();
        entries.clear();
        let live = ranks.iter().enumerate().filter(|(_, &rank)| rank != NONE);
        entries.extend(live.map(|(at, &rank)| entry(rank, at)));
        *heap = BinaryHeap::from(entries);
        while let Some(Reverse(top)) = heap.pop() {
            let (rank, at) = ((top >> 40) as u32, (top & ((1 << 40) - 1)) as usize);
            if ranks[at] != rank {
                continue; // stale: one of the two has merged elsewhere
            }
            let gone = next[at] as usize;
            let after = next[gone] as usize;
            parts[at] = rank;
            next[at] = after as u32;
            ranks[gone] = NONE;
            ranks[at] = NONE;
            if after < len {
                previous[after] = at as u32;
                ranks[at] = pairs.get::<S>(rank, parts[after]);
                if ranks[at] != NONE {
                    heap.push(entry(ranks[at], at));
                }
            }
            let before = previous[at] as usize;
            if before < len {
                ranks[before] = pairs.get::<S>(parts[before], rank);
                if ranks[before] != NONE {
                    heap.push(entry(ranks[before], before));
                }
            }
        }
        let mut at = 0;
        while at < len {
            out.push(parts[at]);
            at = next[at] as usize;
        }
    }
}
