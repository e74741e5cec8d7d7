//! Merging one piece: of all pairs of neighbours the one with the smallest merge number merges
//! first, the leftmost of equals.
//!
//! Short pieces merge in a fixed-size array ([`SmallMerge`]), longer ones by scanning for the
//! minimum, long ones with a heap. Very long ones merge in windows of a few kilobytes that are
//! joined where they share a part, so that time stays proportional to length;
//! [`Merger::merge_windows`] proves that this is exact.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem::take;

use super::pairs::{PairTable, NO_MERGE};
use super::small::{SmallMerge, Start};
use super::vocabulary::Vocab;
use crate::error::{Error, Result};
use crate::simd::{Lanes, Portable};
use crate::threads::check_interrupt;

/// Up to this length scanning for the minimum beats keeping a heap.
const SCAN_LIMIT: usize = 128;
/// New bytes of a window: its buffers stay in the second-level cache.
const WINDOW: usize = 2048;
/// Bytes before a window that are merged again, at first.
const BACK: usize = 64;
/// Bytes between two checks whether the caller wants to stop.
const BYTES_PER_CHECK: usize = 1 << 20;
/// Entries for which a buffer of parts keeps its memory after a long piece.
pub(crate) const MAX_KEPT_PARTS: usize = 1 << 16;

/// Reusable buffers for merging pieces.
#[derive(Debug, Default)]
pub(crate) struct Merger {
    /// The merge number of each part.
    parts: Vec<u32>,
    /// The number that each part and its right neighbour merge into.
    pair_numbers: Vec<u32>,
    /// With a heap: positions of the right and left neighbours.
    next: Vec<u32>,
    previous: Vec<u32>,
    heap: BinaryHeap<Reverse<u64>>,
    /// With a heap: where each resulting part begins.
    starts: Vec<u32>,
    /// The parts of one window of a very long piece.
    window: Vec<u32>,
    /// Where the parts of a very long piece begin, as far as it is merged.
    joined_starts: Vec<u32>,
    /// The caller wanted to stop in the middle of a very long piece: what was appended is not whole.
    interrupted: bool,
}

impl Merger {
    /// Append the merge numbers of `piece` to `out`.
    #[inline(always)]
    pub(crate) fn merge<S: Lanes>(&mut self, vocab: &Vocab, piece: &[u8], out: &mut Vec<u32>) {
        let byte_pairs = vocab.byte_pairs();
        let byte_pair = |a, b| byte_pairs[usize::from(a) << 8 | usize::from(b)];
        self.merge_with::<S, u8>(vocab.pairs(), piece, out, byte_pair);
    }

    /// [`Self::merge`] for a vocabulary that is being built and has no dense table of byte pairs.
    #[inline(always)]
    pub(super) fn merge_without_byte_pairs<S: Lanes>(
        &mut self,
        pairs: &PairTable,
        piece: &[u8],
        out: &mut Vec<u32>,
    ) {
        let byte_pair = |a: u8, b: u8| pairs.get::<S>(a.into(), b.into());
        self.merge_with::<S, u8>(pairs, piece, out, byte_pair);
    }

    /// [`Self::merge`] of the merge numbers of a piece's symbols.
    #[inline(always)]
    pub(crate) fn merge_symbols<S: Lanes>(
        &mut self,
        vocab: &Vocab,
        symbols: &[u32],
        out: &mut Vec<u32>,
    ) {
        let pairs = vocab.pairs();
        self.merge_with::<S, u32>(pairs, symbols, out, |a, b| pairs.get::<S>(a, b));
    }

    /// [`Self::merge_symbols`] that also appends to `starts` the symbol that each part begins with,
    /// counted from 0.
    pub(crate) fn merge_with_starts(
        &mut self,
        vocab: &Vocab,
        symbols: &[u32],
        out: &mut Vec<u32>,
        starts: &mut Vec<u32>,
    ) {
        let pairs = vocab.pairs();
        self.load(symbols, |a, b| pairs.get::<Portable>(a, b));
        self.merge_by_heap::<Portable>(pairs, out);
        starts.extend_from_slice(&self.starts);
    }

    /// [`Self::merge_symbols`] for a vocabulary that is being built.
    #[inline(always)]
    pub(super) fn merge_symbols_by<S: Lanes>(
        &mut self,
        pairs: &PairTable,
        symbols: &[u32],
        out: &mut Vec<u32>,
    ) {
        self.merge_with::<S, u32>(pairs, symbols, out, |a, b| pairs.get::<S>(a, b));
    }

    /// Merge `piece`; `pair` gives the numbers of pairs of what it consists of.
    #[inline(always)]
    fn merge_with<S: Lanes, T: Start>(
        &mut self,
        pairs: &PairTable,
        piece: &[T],
        out: &mut Vec<u32>,
        pair: impl Fn(T, T) -> u32,
    ) {
        if piece.len() <= 16 {
            let mut small = SmallMerge::<S, 16>::of(piece, pair);
            while small.step(pairs) {}
            out.extend(small.parts());
        } else if piece.len() <= 32 {
            let mut small = SmallMerge::<S, 32>::of(piece, pair);
            while small.step(pairs) {}
            out.extend(small.parts());
        } else {
            self.merge_long::<S, T>(pairs, piece, out, pair);
        }
    }

    /// An error if the caller has stopped the merging since the last call: its result is not whole.
    #[inline(always)]
    pub(crate) fn finished(&mut self) -> Result<()> {
        if take(&mut self.interrupted) {
            return Err(Error::interrupted());
        }
        Ok(())
    }

    #[inline(always)]
    fn merge_long<S: Lanes, T: Start>(
        &mut self,
        pairs: &PairTable,
        piece: &[T],
        out: &mut Vec<u32>,
        pair: impl Fn(T, T) -> u32,
    ) {
        if piece.len() > WINDOW + BACK {
            return self.merge_windows::<S, T>(pairs, piece, out, (WINDOW, BACK), pair);
        }
        self.load(piece, pair);
        if piece.len() <= SCAN_LIMIT {
            self.merge_by_scanning::<S>(pairs);
            out.extend_from_slice(&self.parts);
        } else {
            self.merge_by_heap::<S>(pairs, out);
        }
    }

    /// Make every byte or symbol of `piece` a part.
    #[inline(always)]
    fn load<T: Start>(&mut self, piece: &[T], pair: impl Fn(T, T) -> u32) {
        self.parts.clear();
        self.parts.extend(piece.iter().map(|part| part.number()));
        self.pair_numbers.clear();
        self.pair_numbers
            .extend(piece.windows(2).map(|w| pair(w[0], w[1])));
        self.pair_numbers.push(NO_MERGE);
    }

    /// Merge in windows of `size` new bytes, each of which begins at least `back` bytes before the
    /// last one's end. Time is linear in the length of `piece`.
    ///
    /// This is exact for every vocabulary:
    ///
    /// 1. While no merge crosses the ends of a span of text, the span merges as it would alone: the
    ///    next merge of the whole text that lies inside the span is the span's own next merge.
    /// 2. So where a text becomes the parts `t1 t2 ... tn`, the text of `ti` and `ti+1` alone
    ///    becomes `ti ti+1`, for every `i`, because no merge crossed its ends.
    /// 3. Conversely, if the text of `ti` and `ti+1` becomes `ti ti+1` for every `i`, the joined
    ///    text becomes `t1 t2 ... tn`. Otherwise some merge would be the first to cross the end of
    ///    a part, say between `ti` and `ti+1`, and by 1 it would happen in the text of those two
    ///    alone as well.
    ///
    /// Therefore two results that share a part can be joined there: `t1 ... ti` of one span and
    /// `ti u1 ... um` of a span that begins with `ti` make `t1 ... ti u1 ... um`, since all
    /// neighbours are known to stay apart. A window begins a few parts before the last one's end,
    /// because the text goes on there. If its first part is not the part that the last window had
    /// there, it has to begin earlier, and `back` is doubled.
    ///
    /// In trained vocabularies every merge has a smaller number than the merges that use its result.
    /// There the `back` that is enough does not depend on the length of the text: of the merges of
    /// one number, appended text changes at most one before those that it has already changed.
    #[inline(always)]
    fn merge_windows<S: Lanes, T: Start>(
        &mut self,
        pairs: &PairTable,
        piece: &[T],
        out: &mut Vec<u32>,
        (size, mut back): (usize, usize),
        pair: impl Fn(T, T) -> u32,
    ) {
        let (mut window, mut starts) = (take(&mut self.window), take(&mut self.joined_starts));
        starts.clear();
        let (first, mut done, mut checked) = (out.len(), 0, 0);
        while done < piece.len() {
            if done - checked >= BYTES_PER_CHECK {
                checked = done;
                self.interrupted = check_interrupt().is_err();
                if self.interrupted {
                    break;
                }
            }
            let shared = starts
                .partition_point(|&at| at as usize + back <= done)
                .saturating_sub(1);
            let from = starts.get(shared).map_or(0, |&at| at as usize);
            let end = piece.len().min(done + size);
            self.load(&piece[from..end], &pair);
            window.clear();
            self.merge_by_heap::<S>(pairs, &mut window);
            if from > 0 && window[0] != out[first + shared] {
                back *= 2;
                continue;
            }
            out.truncate(first + shared);
            out.extend_from_slice(&window);
            starts.truncate(shared);
            starts.extend(self.starts.iter().map(|&at| at + from as u32));
            done = end;
        }
        // One huge piece must not hold memory for ever.
        starts.clear();
        starts.shrink_to(MAX_KEPT_PARTS);
        (self.window, self.joined_starts) = (window, starts);
    }

    /// Quadratic in the number of parts, but within a few cache lines.
    #[inline(always)]
    fn merge_by_scanning<S: Lanes>(&mut self, pairs: &PairTable) {
        let (parts, numbers) = (&mut self.parts, &mut self.pair_numbers);
        loop {
            // With the position in the low half, the smallest key is also the leftmost.
            let keys = numbers
                .iter()
                .enumerate()
                .map(|(at, &number)| u64::from(number) << 32 | at as u64);
            let best = keys.min().unwrap_or(u64::MAX);
            let (number, at) = ((best >> 32) as u32, best as u32 as usize);
            if number >= NO_MERGE {
                return;
            }
            parts[at] = number;
            parts.remove(at + 1);
            numbers.remove(at);
            if at > 0 {
                numbers[at - 1] = pairs.get::<S>(parts[at - 1], number);
            }
            numbers[at] = parts
                .get(at + 1)
                .map_or(NO_MERGE, |&right| pairs.get::<S>(number, right));
        }
    }

    /// O(n log n): a heap of (number, position), whose stale entries are skipped, and a doubly
    /// linked list of the remaining parts. Appends the parts to `out` and leaves their positions in
    /// `self.starts`.
    fn merge_by_heap<S: Lanes>(&mut self, pairs: &PairTable, out: &mut Vec<u32>) {
        let Self {
            parts,
            pair_numbers: numbers,
            next,
            previous,
            heap,
            starts,
            ..
        } = self;
        let len = parts.len();
        next.clear();
        next.extend(1..=len as u32);
        previous.clear();
        previous.extend((0..len as u32).map(|i| i.wrapping_sub(1)));
        let entry = |number: u32, at: usize| Reverse(u64::from(number) << 40 | at as u64);
        let mut entries = take(heap).into_vec();
        entries.clear();
        let live = numbers.iter().enumerate().filter(|(_, &n)| n != NO_MERGE);
        entries.extend(live.map(|(at, &number)| entry(number, at)));
        *heap = BinaryHeap::from(entries);
        while let Some(Reverse(top)) = heap.pop() {
            let (number, at) = ((top >> 40) as u32, (top & ((1 << 40) - 1)) as usize);
            if numbers[at] != number {
                continue; // stale: one of the two has merged otherwise
            }
            let gone = next[at] as usize;
            let after = next[gone] as usize;
            parts[at] = number;
            next[at] = after as u32;
            numbers[gone] = NO_MERGE;
            numbers[at] = NO_MERGE;
            if after < len {
                previous[after] = at as u32;
                numbers[at] = pairs.get::<S>(number, parts[after]);
                if numbers[at] != NO_MERGE {
                    heap.push(entry(numbers[at], at));
                }
            }
            let before = previous[at] as usize;
            if before < len {
                numbers[before] = pairs.get::<S>(parts[before], number);
                if numbers[before] != NO_MERGE {
                    heap.push(entry(numbers[before], before));
                }
            }
        }
        starts.clear();
        let mut at = 0;
        while at < len {
            out.push(parts[at]);
            starts.push(at as u32);
            at = next[at] as usize;
        }
    }
}

/// Looks up pairs of bytes in the pair table.
#[cfg(test)]
fn byte_pair_in(pairs: &PairTable) -> impl Fn(u8, u8) -> u32 + '_ {
    |a, b| pairs.get::<Portable>(a.into(), b.into())
}

#[cfg(test)]
impl Merger {
    /// [`Self::merge`] without [`SmallMerge`], however short the piece.
    pub(super) fn merge_as_long(&mut self, vocab: &Vocab, piece: &[u8], out: &mut Vec<u32>) {
        let pairs = vocab.pairs();
        self.merge_long::<Portable, u8>(pairs, piece, out, byte_pair_in(pairs));
    }

    /// [`Self::merge`] in windows of the given sizes, however short the piece.
    pub(super) fn merge_in_windows(
        &mut self,
        vocab: &Vocab,
        piece: &[u8],
        sizes: (usize, usize),
        out: &mut Vec<u32>,
    ) {
        let pairs = vocab.pairs();
        self.merge_windows::<Portable, u8>(pairs, piece, out, sizes, byte_pair_in(pairs));
    }

    /// Entries for which the buffers hold memory.
    pub(super) fn capacity(&self) -> usize {
        let buffers = [
            &self.parts,
            &self.pair_numbers,
            &self.next,
            &self.previous,
            &self.starts,
            &self.window,
            &self.joined_starts,
        ];
        buffers.map(Vec::capacity).iter().sum::<usize>() + self.heap.capacity()
    }
}
