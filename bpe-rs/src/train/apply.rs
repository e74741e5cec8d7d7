//! One merge, applied to every word that holds the pair.

use super::layout::{Links, Narrow, Record, RecordLayout, Wide, NONE};
use super::neighbourhood::{NeighbourCount, Neighbourhood};
use crate::simd::{dispatch, prefetch_at, RecordOps, HEADER};

/// The pair to merge and what it becomes.
#[derive(Clone, Copy)]
pub(super) struct Merge {
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) new: u32,
    /// Bytes of `right`.
    pub(super) right_bytes: u32,
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
        unsafe { apply_to_any::<L>(base, posting, merge, found) };
    }
    found.left.counts[edge] = NeighbourCount::default();
    found.right.counts[edge] = NeighbourCount::default();
}

/// The same for chunks, for words longer than the vector window, and for words that hold the pair
/// more than once (where `a a a` merges from the left and leaves the last `a` alone).
///
/// The chunks of a word are met in their order. A chunk whose last token merges with the first one
/// behind it keeps the new token.
///
/// # Safety
/// As for [`apply`].
#[cold]
unsafe fn apply_to_any<L: RecordLayout>(
    base: *mut L::Token,
    posting: u32,
    merge: Merge,
    found: &mut Neighbourhood,
) {
    // SAFETY: postings and links are starts of records, which nobody else uses meanwhile.
    let at = |start: u32| unsafe { Record::<L>::at(base.add(start as usize * L::BLOCK_TOKENS)) };
    let mut record = at(posting);
    let (count, end) = (record.count, record.len);
    // SAFETY: as above; other records are elsewhere.
    let (tokens, links) = unsafe { (record.tokens_mut(), record.links()) };
    let (left, right) = (L::token(merge.left), L::token(merge.right));
    // As many tokens behind the record as a merge across its end can depend on.
    let (mut beyond, mut known, mut behind) = ([right; 3], 0, links.behind);
    while known < beyond.len() && behind != NONE {
        let chunk = at(behind);
        // SAFETY: as above.
        unsafe {
            for &token in chunk.tokens().iter().take(beyond.len() - known) {
                beyond[known] = token;
                known += 1;
            }
            behind = chunk.links().behind;
        }
    }
    let beyond = &beyond[..known];
    // The first match at or behind `from`, or `end`.
    let next_match = |tokens: &[L::Token], from: usize| {
        let rest = tokens.get(from..).unwrap_or_default();
        let inside = rest
            .windows(2)
            .position(|two| two[0] == left && two[1] == right);
        match inside {
            Some(at) => from + at,
            None if rest.last() == Some(&left) && beyond.first() == Some(&right) => end - 1,
            None => end,
        }
    };
    let mut from = next_match(tokens, 0);
    let mut to = from;
    while from < end {
        // The token on the left, and the record that holds it.
        let before = if to > 0 {
            Some((tokens[to - 1].into(), posting))
        } else if links.before != NONE {
            // SAFETY: as above.
            let last = unsafe { at(links.before).tokens().last() };
            last.map(|&token| (token.into(), links.before))
        } else {
            None
        };
        match before {
            // It has just been made.
            Some((token, holder)) if token == merge.new => {
                found.repeat_count += count;
                found.repeat_postings.push(holder);
            }
            Some((token, holder)) => found.left.add(token, count, holder),
            None => {}
        }
        tokens[to] = L::token(merge.new);
        (from, to) = (from + 2, to + 1);
        let next = next_match(tokens, from);
        let (after, is_match) = match from.checked_sub(end) {
            None => (Some(tokens[from]), next == from),
            Some(at) => (
                beyond.get(at).copied(),
                beyond.get(at..at + 2) == Some(&[left, right]),
            ),
        };
        if let Some(after) = after.filter(|_| !is_match) {
            found.right.add(after.into(), count, posting);
        }
        if from < end {
            tokens.copy_within(from..next, to);
            to += next - from;
            from = next;
        }
    }
    // SAFETY: as above; a token past the end was the first one of the chunk behind.
    unsafe {
        if to < end {
            record.set_len(to);
        }
        if from > end {
            drop_first_of(links.behind, posting, merge.right_bytes, at);
        }
    }
}

/// Drop the first token of the chunk at `start`, which is `bytes` long, and unlink the chunk if it
/// was the only one; `before` is the chunk before it.
///
/// # Safety
/// As for [`apply`]; `at` reads the records.
unsafe fn drop_first_of<L: RecordLayout>(
    start: u32,
    before: u32,
    bytes: u32,
    at: impl Fn(u32) -> Record<L>,
) {
    let mut chunk = at(start);
    // SAFETY: a linked chunk has tokens; nobody else uses the records.
    unsafe {
        chunk.drop_first();
        let mut links = chunk.links();
        links.lost += bytes;
        chunk.set_links(links);
        if chunk.len > 0 {
            return;
        }
        let (left, right) = (at(before), links.behind);
        left.set_links(Links {
            behind: right,
            ..left.links()
        });
        if right != NONE {
            let right = at(right);
            right.set_links(Links {
                before,
                ..right.links()
            });
        }
    }
}
