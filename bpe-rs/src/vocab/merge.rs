//! Merging one piece: the neighbours with the smallest number first, the leftmost of equals first.
//!
//! A long piece is merged window by window, in time proportional to its length. Why that is exact,
//! for every vocabulary:
//!
//! 1. While no merge crosses the ends of a stretch of text, what happens inside is what happens to
//!    the stretch alone: the next merge of the whole, where it lies inside, is the stretch's next.
//! 2. So where parts `t1 t2 ... tn` come out of a text, `ti ti+1` comes out of those two's text
//!    alone, for every `i`: no merge ever crossed their ends.
//! 3. And the other way round: if that holds for every `i`, the parts come out of their joined
//!    text. Else some merge would be the first to cross the end of a part, say between `ti` and
//!    `ti+1`; by 1 it would happen to those two alone as well.
//!
//! Therefore two results that share a part can be joined there: `t1 ... ti` from one stretch and
//! `ti u1 ... um` from one that begins with `ti` make `t1 ... ti u1 ... um`, as all neighbours are
//! known to stand beside each other. A window begins a few parts before the last one's end, for
//! that end was not the text's. If its first part is not the part that was there, it must begin
//! earlier.
//!
//! How much earlier does not depend on the length of the text where merges have smaller numbers
//! than what they are part of (all that trainers make): of the merges of one number, text behind
//! changes at most the last one before what it had already changed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem::take;

use super::small::SmallMerge;
use super::{PairTable, Vocab, NONE};
use crate::simd::{Lanes, Portable};

/// Up to here scanning for the minimum beats keeping a heap.
const SCAN_LIMIT: usize = 128;
/// New bytes of a window: its tables stay in the second-level cache.
const WINDOW: usize = 2048;
/// Bytes before a window that are merged anew, at first.
const BACK: usize = 64;
/// Entries that a buffer of parts keeps room for after a long piece.
pub(crate) const KEPT: usize = 1 << 16;

/// Buffers for merging, reusable.
#[derive(Debug, Default)]
pub struct Merger {
    parts: Vec<u32>,
    ranks: Vec<u32>,
    next: Vec<u32>,
    previous: Vec<u32>,
    heap: BinaryHeap<Reverse<u64>>,
    /// Where the parts of a long piece begin, as far as it is merged.
    starts: Vec<u32>,
    /// What a window has become, and where in it the parts begin.
    window: Vec<u32>,
    places: Vec<u32>,
}

impl Merger {
    /// Append the merge numbers of `piece` to `out`.
    #[inline(always)]
    pub(crate) fn merge<S: Lanes>(&mut self, vocab: &Vocab, piece: &[u8], out: &mut Vec<u32>) {
        let byte_pairs = vocab.byte_pairs();
        let byte_pair = |a, b| byte_pairs[usize::from(a) << 8 | usize::from(b)];
        if piece.len() <= 16 {
            let mut small = SmallMerge::<S, 16>::of(piece, byte_pair);
            while small.step(vocab.pairs()) {}
            out.extend(small.parts());
        } else if piece.len() <= 32 {
            let mut small = SmallMerge::<S, 32>::of(piece, byte_pair);
            while small.step(vocab.pairs()) {}
            out.extend(small.parts());
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

    /// The same in windows of the given sizes, however short the piece.
    #[cfg(test)]
    pub(super) fn merge_in_windows(
        &mut self,
        vocab: &Vocab,
        piece: &[u8],
        sizes: (usize, usize),
        out: &mut Vec<u32>,
    ) {
        let pairs = vocab.pairs();
        self.windows::<Portable>(pairs, piece, out, sizes, |a, b| {
            pairs.get::<Portable>(a.into(), b.into())
        });
    }

    /// Entries that buffers have room for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        let buffers = [
            &self.parts,
            &self.ranks,
            &self.next,
            &self.previous,
            &self.starts,
            &self.window,
            &self.places,
        ];
        buffers.map(Vec::capacity).iter().sum::<usize>() + self.heap.capacity()
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
            let mut small = SmallMerge::<Portable, 16>::of(piece, byte_pair);
            while small.step(pairs) {}
            out.extend(small.parts());
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
        if piece.len() > WINDOW + BACK {
            return self.windows::<S>(pairs, piece, out, (WINDOW, BACK), byte_pair);
        }
        self.begin(piece, byte_pair);
        if piece.len() <= SCAN_LIMIT {
            self.scan::<S>(pairs);
            out.extend_from_slice(&self.parts);
        } else {
            self.with_heap::<S>(pairs, out);
        }
    }

    /// Enter the bytes of `piece`.
    #[inline(always)]
    fn begin(&mut self, piece: &[u8], byte_pair: impl Fn(u8, u8) -> u32) {
        self.parts.clear();
        self.parts.extend(piece.iter().map(|&b| u32::from(b)));
        self.ranks.clear();
        self.ranks
            .extend(piece.windows(2).map(|w| byte_pair(w[0], w[1])));
        self.ranks.push(NONE);
    }

    /// Linear: windows of `size` new bytes that begin at least `back` bytes earlier.
    #[inline(always)]
    fn windows<S: Lanes>(
        &mut self,
        pairs: &PairTable,
        piece: &[u8],
        out: &mut Vec<u32>,
        (size, mut back): (usize, usize),
        byte_pair: impl Fn(u8, u8) -> u32,
    ) {
        let (mut window, mut starts) = (take(&mut self.window), take(&mut self.starts));
        starts.clear();
        let (first, mut done) = (out.len(), 0);
        while done < piece.len() {
            let joint = starts
                .partition_point(|&at| at as usize + back <= done)
                .saturating_sub(1);
            let from = starts.get(joint).map_or(0, |&at| at as usize);
            let end = piece.len().min(done + size);
            self.begin(&piece[from..end], &byte_pair);
            window.clear();
            self.with_heap::<S>(pairs, &mut window);
            if from > 0 && window[0] != out[first + joint] {
                back *= 2;
                continue;
            }
            out.truncate(first + joint);
            out.extend_from_slice(&window);
            starts.truncate(joint);
            starts.extend(self.places.iter().map(|&at| at + from as u32));
            done = end;
        }
        // One huge piece shall not hold memory for ever.
        starts.clear();
        starts.shrink_to(KEPT);
        (self.window, self.starts) = (window, starts);
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

    /// n log n, places of the parts in `self.places`: a heap of (rank, position) with stale entries, a linked list of live positions.
    fn with_heap<S: Lanes>(&mut self, pairs: &PairTable, out: &mut Vec<u32>) {
        let Self {
            parts,
            ranks,
            next,
            previous,
            heap,
            places,
            ..
        } = self;
        let len = parts.len();
        next.clear();
        next.extend(1..=len as u32);
        previous.clear();
        previous.extend((0..len as u32).map(|i| i.wrapping_sub(1)));
        let entry = |rank: u32, at: usize| Reverse(u64::from(rank) << 40 | at as u64);
        let mut entries = take(heap).into_vec();
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
        places.clear();
        let mut at = 0;
        while at < len {
            out.push(parts[at]);
            places.push(at as u32);
            at = next[at] as usize;
        }
    }
}
