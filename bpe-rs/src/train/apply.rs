//! One merge, applied to every word that holds the pair, with the counts of what it makes.
//!
//! Replacing `a b` by `ab` in `x a b y` takes one occurrence from (x, a) and (b, y) and gives one
//! to (x, ab) and (ab, y). Both are summed per neighbour in dense arrays, so that the pair table
//! is touched once for every distinct neighbour, not once for every occurrence.

use super::records::{Layout, Narrow, Wide};
use crate::memory::{LargeVec, Zeroable};
use crate::simd::{dispatch, prefetch_at, RecordOps, HEADER};

/// What one neighbour has gathered during a merge.
#[derive(Clone, Copy, Default)]
pub(super) struct Gathered {
    pub(super) count: u64,
    pub(super) places: u32,
    /// Where the next place goes, once the caller has made room for them.
    pub(super) next: u32,
}

// SAFETY: numbers.
unsafe impl Zeroable for Gathered {}

/// One side (left or right) of the merged pair.
pub(super) struct Side {
    /// By neighbour id; one more slot at the end takes what a word's edge would have added.
    pub(super) gathered: LargeVec<Gathered>,
    /// The distinct neighbours.
    pub(super) neighbours: Vec<u32>,
    /// (neighbour << 32 | record) of every occurrence, in corpus order.
    pub(super) events: Vec<u64>,
}

impl Side {
    fn new(ids: usize) -> Self {
        Self {
            gathered: LargeVec::zeroed(ids + 1),
            neighbours: Vec::new(),
            events: Vec::new(),
        }
    }

    #[inline(always)]
    fn add(&mut self, neighbour: u32, count: u64, record: u32) {
        let slot = &mut self.gathered[neighbour as usize];
        if slot.places == 0 {
            self.neighbours.push(neighbour);
        }
        slot.count += count;
        slot.places += 1;
        self.events.push((neighbour as u64) << 32 | record as u64);
    }

    fn clear(&mut self) {
        for &neighbour in &self.neighbours {
            self.gathered[neighbour as usize] = Gathered::default();
        }
        self.neighbours.clear();
        // The first merges are at hundreds of times more places than most.
        if self.events.len() < self.events.capacity() / 16 {
            self.events.shrink_to(self.events.capacity() / 8);
        }
        self.events.clear();
    }
}

/// Both sides, and the merged pair beside itself: `a b a b` makes (ab, ab).
pub(super) struct Neighbourhood {
    pub(super) left: Side,
    pub(super) right: Side,
    pub(super) twin_count: u64,
    pub(super) twin_places: Vec<u32>,
}

impl Neighbourhood {
    /// For ids below `ids`.
    pub(super) fn new(ids: usize) -> Self {
        Self {
            left: Side::new(ids),
            right: Side::new(ids),
            twin_count: 0,
            twin_places: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.left.clear();
        self.right.clear();
        self.twin_count = 0;
        self.twin_places.clear();
    }
}

/// The pair to merge and what it becomes.
#[derive(Clone, Copy)]
pub(super) struct Merge {
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) new: u32,
}

/// Records ahead of the one at work that are asked from memory.
const AHEAD: usize = 16;

/// Apply `merge` to the records at `places` and add what it changes to `hood`.
///
/// `places` names a record once for every occurrence that it held when the pair was listed; a
/// record that holds none any more costs one look.
///
/// # Safety
/// `base` points to the first unit of [`Records<L>`](super::records::Records) that nobody else
/// reads or writes meanwhile; every place is a start of one of its records; every id in them, and
/// `merge.new`, is below the `ids` with which `hood` was made; the processor has what `S` needs.
#[inline(always)]
unsafe fn apply<L: Layout, S: RecordOps<L::Token>>(
    base: *mut L::Token,
    places: &[u32],
    merge: Merge,
    hood: &mut Neighbourhood,
) {
    let (left, right, new) = (
        L::token(merge.left),
        L::token(merge.right),
        L::token(merge.new),
    );
    let edge = hood.left.gathered.len() - 1;
    // SAFETY: places are starts of records.
    let at = |place: u32| unsafe { base.add(place as usize * L::LANES) };
    for &place in places.iter().take(AHEAD) {
        prefetch_at(at(place));
    }
    // Every place adds at most one event to a side, or fewer than that later on: a record with
    // several occurrences is named as often, and its first naming handles them all.
    for side in [&mut hood.left, &mut hood.right] {
        side.events.reserve(places.len() + 1);
        side.neighbours.reserve(edge + 1);
    }
    for (i, &place) in places.iter().enumerate() {
        if let Some(&ahead) = places.get(i + AHEAD) {
            prefetch_at(at(ahead));
            // The second half of a long word may lie on the next line.
            prefetch_at(at(ahead).wrapping_add(2 * L::LANES - 1));
        }
        let record = at(place);
        // SAFETY: `record` is the start of a record.
        let (count, len) = unsafe { L::header(record) };
        if len < 2 {
            continue;
        }
        if len <= S::WINDOW {
            // SAFETY: 2 <= len <= WINDOW, and the processor has what `S` needs.
            let found = unsafe { S::find_pair(record, len, left, right) };
            if found == 0 {
                continue;
            }
            if found & (found - 1) == 0 {
                let i = found.trailing_zeros() as usize;
                // Without branches: the word's edge counts as a neighbour that is thrown away.
                // SAFETY: `i + 1 < len`; token ids are below `edge`; `reserve` above made room
                // for one more neighbour and event than can be kept.
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
                    gather(&mut hood.left, x, before, count, place);
                    gather(&mut hood.right, y, after, count, place);
                    S::replace_pair(record, len, i, new);
                    L::set_header(record, count, len - 1);
                }
                continue;
            }
        }
        // SAFETY: as the caller promised.
        unsafe { apply_slowly::<L>(record, place, merge, hood) };
    }
    hood.left.gathered[edge] = Gathered::default();
    hood.right.gathered[edge] = Gathered::default();
}

/// A layout whose records can be merged at the level in use.
pub(super) trait Apply: Layout {
    /// [`apply`], at that level.
    ///
    /// # Safety
    /// As for [`apply`].
    unsafe fn apply(base: *mut Self::Token, places: &[u32], merge: Merge, hood: &mut Neighbourhood);
}

impl Apply for Narrow {
    unsafe fn apply(base: *mut u16, places: &[u32], merge: Merge, hood: &mut Neighbourhood) {
        dispatch! { S =>
            unsafe fn narrow(base: *mut u16, places: &[u32], merge: Merge, hood: &mut Neighbourhood) {
                // SAFETY: the caller's promise; `dispatch!` chooses a level of this processor.
                unsafe { apply::<Narrow, S>(base, places, merge, hood) }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { narrow(base, places, merge, hood) }
    }
}

impl Apply for Wide {
    unsafe fn apply(base: *mut u32, places: &[u32], merge: Merge, hood: &mut Neighbourhood) {
        dispatch! { S =>
            unsafe fn wide(base: *mut u32, places: &[u32], merge: Merge, hood: &mut Neighbourhood) {
                // SAFETY: the caller's promise; `dispatch!` chooses a level of this processor.
                unsafe { apply::<Wide, S>(base, places, merge, hood) }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { wide(base, places, merge, hood) }
    }
}

/// Add one occurrence beside `neighbour`, or nothing that lasts when it is not `real`.
///
/// # Safety
/// `neighbour` is an index of `gathered`; both lists have room for one more.
#[inline(always)]
unsafe fn gather(side: &mut Side, neighbour: usize, real: bool, count: u64, place: u32) {
    // SAFETY: the caller's promise; writing one past the length is inside the capacity.
    unsafe {
        let slot = side.gathered.get_unchecked_mut(neighbour);
        let known = side.neighbours.len();
        *side.neighbours.as_mut_ptr().add(known) = neighbour as u32;
        side.neighbours
            .set_len(known + (real & (slot.places == 0)) as usize);
        slot.count = slot.count.wrapping_add(count);
        slot.places = slot.places.wrapping_add(1);
        let events = side.events.len();
        *side.events.as_mut_ptr().add(events) = (neighbour as u64) << 32 | place as u64;
        side.events.set_len(events + real as usize);
    }
}

/// Words too long for the vector window, and words that hold the pair more than once (where
/// `a a a` merges from the left and leaves the last `a` alone).
///
/// # Safety
/// As for [`apply`].
#[cold]
unsafe fn apply_slowly<L: Layout>(
    record: *mut L::Token,
    place: u32,
    merge: Merge,
    hood: &mut Neighbourhood,
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
                hood.twin_count += count;
                hood.twin_places.push(place);
            } else if to > 0 {
                hood.left.add(tokens[to - 1].into(), count, place);
            }
            if from + 2 < tokens.len() && !matches(tokens, from + 2) {
                hood.right.add(tokens[from + 2].into(), count, place);
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
