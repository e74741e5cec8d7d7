//! One merge, applied to every word that holds the pair, with the counts of what it makes.
//!
//! Replacing `a b` by `ab` in `x a b y` takes one occurrence from (x, a) and (b, y) and gives one
//! to (x, ab) and (ab, y). Both are summed per neighbour in dense arrays, so that the pair table
//! is touched once for every distinct neighbour, not once for every occurrence.

use super::records::{Narrow, RecordLayout, Wide};
use crate::memory::{LargeVec, Zeroable};
use crate::simd::{dispatch, prefetch_at, RecordOps, HEADER};

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

    #[inline(always)]
    fn add(&mut self, neighbour: u32, count: u64, record: u32) {
        let slot = &mut self.counts[neighbour as usize];
        if slot.postings == 0 {
            self.neighbours.push(neighbour);
        }
        slot.count += count;
        slot.postings += 1;
        self.occurrences
            .push((neighbour as u64) << 32 | record as u64);
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

/// The pair to merge and what it becomes.
#[derive(Clone, Copy)]
pub(super) struct Merge {
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) new: u32,
}

/// A layout whose records can be merged at the SIMD level in use.
pub(super) trait ApplyMerge: RecordLayout {
    /// Apply `merge` to the records at `postings` and add what it changes to `found`.
    ///
    /// `postings` names a record once for every occurrence that it held when the pair was listed;
    /// a record that holds none any more costs one look.
    ///
    /// # Safety
    /// `base` points to the first block of [`Records<Self>`](super::records::Records) that nobody
    /// else reads or writes meanwhile; every posting is a start of one of its records; every id in
    /// them, and `merge.new`, is below the `ids` with which `found` was made.
    unsafe fn apply_merge(
        base: *mut Self::Token,
        postings: &[u32],
        merge: Merge,
        found: &mut Neighbourhood,
    );
}

impl ApplyMerge for Narrow {
    unsafe fn apply_merge(
        base: *mut u16,
        postings: &[u32],
        merge: Merge,
        found: &mut Neighbourhood,
    ) {
        dispatch! { S =>
            unsafe fn narrow(base: *mut u16, postings: &[u32], merge: Merge, found: &mut Neighbourhood) {
                // SAFETY: the caller's promise; `dispatch!` chooses a level of this processor.
                unsafe { apply::<Narrow, S>(base, postings, merge, found) }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { narrow(base, postings, merge, found) }
    }
}

impl ApplyMerge for Wide {
    unsafe fn apply_merge(
        base: *mut u32,
        postings: &[u32],
        merge: Merge,
        found: &mut Neighbourhood,
    ) {
        dispatch! { S =>
            unsafe fn wide(base: *mut u32, postings: &[u32], merge: Merge, found: &mut Neighbourhood) {
                // SAFETY: the caller's promise; `dispatch!` chooses a level of this processor.
                unsafe { apply::<Wide, S>(base, postings, merge, found) }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { wide(base, postings, merge, found) }
    }
}

/// How many postings ahead records are prefetched.
const AHEAD: usize = 16;

/// [`ApplyMerge::apply_merge`] at level `S`.
///
/// # Safety
/// As there; the processor has the instructions of `S`.
#[inline(always)]
unsafe fn apply<L: RecordLayout, S: RecordOps<L::Token>>(
    base: *mut L::Token,
    postings: &[u32],
    merge: Merge,
    found: &mut Neighbourhood,
) {
    let (left, right, new) = (
        L::token(merge.left),
        L::token(merge.right),
        L::token(merge.new),
    );
    let edge = found.left.counts.len() - 1;
    // SAFETY: postings are starts of records.
    let at = |posting: u32| unsafe { base.add(posting as usize * L::LANES) };
    for &posting in postings.iter().take(AHEAD) {
        prefetch_at(at(posting));
    }
    // Every posting adds at most one occurrence to a side: a record with several occurrences is
    // named as often, and its first posting handles them all.
    for side in [&mut found.left, &mut found.right] {
        side.occurrences.reserve(postings.len() + 1);
        side.neighbours.reserve(edge + 1);
    }
    for (i, &posting) in postings.iter().enumerate() {
        if let Some(&ahead) = postings.get(i + AHEAD) {
            prefetch_at(at(ahead));
            // The second half of a long word may lie on the next cache line.
            prefetch_at(at(ahead).wrapping_add(2 * L::LANES - 1));
        }
        let record = at(posting);
        // SAFETY: `record` is the start of a record.
        let (count, len) = unsafe { L::header(record) };
        if len < 2 {
            continue;
        }
        if len <= S::WINDOW {
            // SAFETY: 2 <= len <= WINDOW, and the processor has the instructions of `S`.
            let pairs = unsafe { S::find_pair(record, len, left, right) };
            if pairs == 0 {
                continue;
            }
            if pairs & (pairs - 1) == 0 {
                let i = pairs.trailing_zeros() as usize;
                // Branch-free, because whether a pair is at a word's edge cannot be predicted: an
                // edge counts as the neighbour `edge`, which is reset at the end.
                // SAFETY: `i + 1 < len`; token ids are below `edge`; `reserve` above made room
                // for one more neighbour and occurrence than can be kept.
                unsafe {
                    let tokens = record.add(HEADER);
                    let before = i > 0;
                    let after = i + 2 < len;
                    let x = if before {
                        (*tokens.add(i - 1)).into() as usize
                    } else {
                        edge
                    };
                    let y = if after {
                        (*tokens.add(i + 2)).into() as usize
                    } else {
                        edge
                    };
                    add_if(&mut found.left, x, before, count, posting);
                    add_if(&mut found.right, y, after, count, posting);
                    S::replace_pair(record, len, i, new);
                    L::set_header(record, count, len - 1);
                }
                continue;
            }
        }
        // SAFETY: as the caller promised.
        unsafe { apply_to_any::<L>(record, posting, merge, found) };
    }
    found.left.counts[edge] = NeighbourCount::default();
    found.right.counts[edge] = NeighbourCount::default();
}

/// Add one occurrence beside `neighbour`; if it is not `real`, only the neighbour's slot changes.
///
/// # Safety
/// `neighbour` is an index of `side.counts`; both lists have room for one more.
#[inline(always)]
unsafe fn add_if(side: &mut Side, neighbour: usize, real: bool, count: u64, posting: u32) {
    // SAFETY: the caller's promise; writing one past the length is inside the capacity.
    unsafe {
        let slot = side.counts.get_unchecked_mut(neighbour);
        let known = side.neighbours.len();
        *side.neighbours.as_mut_ptr().add(known) = neighbour as u32;
        side.neighbours
            .set_len(known + (real & (slot.postings == 0)) as usize);
        slot.count = slot.count.wrapping_add(count);
        slot.postings = slot.postings.wrapping_add(1);
        let occurrences = side.occurrences.len();
        *side.occurrences.as_mut_ptr().add(occurrences) = (neighbour as u64) << 32 | posting as u64;
        side.occurrences.set_len(occurrences + real as usize);
    }
}

/// The same for words longer than the vector window, and for words that hold the pair more than
/// once (where `a a a` merges from the left and leaves the last `a` alone).
///
/// # Safety
/// As for [`apply`].
#[cold]
unsafe fn apply_to_any<L: RecordLayout>(
    record: *mut L::Token,
    posting: u32,
    merge: Merge,
    found: &mut Neighbourhood,
) {
    // SAFETY: `record` is the start of a record, so its tokens may be read and written.
    let (count, tokens) = unsafe {
        let (count, len) = L::header(record);
        (
            count,
            std::slice::from_raw_parts_mut(record.add(HEADER), len),
        )
    };
    let (left, right) = (L::token(merge.left), L::token(merge.right));
    let matches = |tokens: &[L::Token], i: usize| {
        i + 1 < tokens.len() && tokens[i] == left && tokens[i + 1] == right
    };
    let (mut from, mut to) = (0, 0);
    let mut after_match = false;
    while from < tokens.len() {
        if matches(tokens, from) {
            if after_match {
                found.repeat_count += count;
                found.repeat_postings.push(posting);
            } else if to > 0 {
                found.left.add(tokens[to - 1].into(), count, posting);
            }
            if from + 2 < tokens.len() && !matches(tokens, from + 2) {
                found.right.add(tokens[from + 2].into(), count, posting);
            }
            tokens[to] = L::token(merge.new);
            from += 2;
            after_match = true;
        } else {
            tokens[to] = tokens[from];
            from += 1;
            after_match = false;
        }
        to += 1;
    }
    // SAFETY: the record is the caller's and only got shorter.
    unsafe { L::set_header(record, count, to) };
}
