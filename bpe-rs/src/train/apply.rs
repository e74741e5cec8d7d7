//! One merge, applied to every word that holds the pair.

use super::neighbourhood::{NeighbourCount, Neighbourhood};
use super::records::{Narrow, RecordLayout, Wide};
use crate::simd::{dispatch, prefetch_at, RecordOps, HEADER};

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
            unsafe fn narrow(
                base: *mut u16,
                postings: &[u32],
                merge: Merge,
                found: &mut Neighbourhood,
            ) {
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
            unsafe fn wide(
                base: *mut u32,
                postings: &[u32],
                merge: Merge,
                found: &mut Neighbourhood,
            ) {
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
    let at = |posting: u32| unsafe { base.add(posting as usize * L::BLOCK_TOKENS) };
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
            prefetch_at(at(ahead).wrapping_add(2 * L::BLOCK_TOKENS - 1));
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
                    found.left.add_if(before, x, count, posting);
                    found.right.add_if(after, y, count, posting);
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
