//! One merge: the token that it makes, the old pairs that occur less often because of it, and the
//! new pairs, which are tracked if they are frequent enough.

use super::apply::{ApplyMerge, Merge};
use super::growing_vocab::GrowingVocab;
use super::layout::RecordLayout;
use super::neighbourhood::{Neighbourhood, Side};
use super::pair_counts::{Pair, PairCount, UNTRACKED};
use super::queue::{Queue, RankedPair};
use super::records::Records;
use super::tracked::{rank, TrackedPairs};
use crate::error::Result;

/// Postings between two calls of `check`: some ten milliseconds.
const POSTINGS_PER_CHECK: usize = 1 << 20;
/// How many pairs ahead slots of the table are prefetched.
const AHEAD: usize = 8;

/// Merge the tracked pair `best` in all words, and track the new pairs.
///
/// `neighbours` is empty before and after, and has room for the ids of `vocab` and one more. `check`
/// is called within long merges only.
pub(super) fn merge_pair<L: ApplyMerge, R: RankedPair>(
    best: PairCount,
    vocab: &mut GrowingVocab<'_>,
    tracked: &mut TrackedPairs,
    queue: &mut Queue<R>,
    records: &mut Records<L>,
    neighbours: &mut Neighbourhood,
    check: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let PairCount { pair, count, .. } = best;
    let new = vocab.len();
    let merge = Merge {
        left: pair.left(),
        right: pair.right(),
        new,
        right_bytes: vocab.length(pair.right()),
    };
    vocab.add(pair, count);
    let run = best.start as usize..(best.start + best.postings) as usize;
    for (i, postings) in tracked.postings[run].chunks(POSTINGS_PER_CHECK).enumerate() {
        if i > 0 {
            check()?;
        }
        // SAFETY: `records` is borrowed mutably here; postings are starts of its records; the
        // caller promises that the neighbourhood has room for all ids.
        unsafe { L::apply_merge(records.base_mut(), postings, merge, neighbours) }
    }
    if let Some(slot) = tracked.table.get_mut(pair) {
        slot.count = 0;
    }
    let Neighbourhood {
        left,
        right,
        repeat_count,
        repeat_postings,
    } = &mut *neighbours;
    let repeat_count = *repeat_count;
    subtract_side(tracked, left, |x| Pair::new(x, merge.left));
    subtract_side(tracked, right, |y| Pair::new(merge.right, y));
    if repeat_count > 0 {
        // `a b a b`: the pair between the two matches. For `a a a a` that is the merged pair
        // itself, whose count is zero already.
        let between = Pair::new(merge.right, merge.left);
        subtract(tracked, between, repeat_count);
    }
    let most = left.neighbours.len() + right.neighbours.len() + 1;
    if !tracked.table.has_room_for(most) {
        tracked.drop_rare_pairs(most);
    }
    track_side(left, |x| Pair::new(x, new), vocab, tracked, queue, records);
    track_side(right, |y| Pair::new(new, y), vocab, tracked, queue, records);
    let repeated = Pair::new(new, new);
    if repeat_count >= tracked.threshold && vocab.allows(repeated) {
        let slot = tracked.table.entry(repeated);
        slot.count = repeat_count;
        slot.start = tracked.postings.len() as u32;
        slot.postings = repeat_postings.len() as u32;
        tracked.postings.extend_from_slice(repeat_postings);
        queue.push(rank(slot, &tracked.postings, records, vocab));
    }
    neighbours.clear();
    Ok(())
}

/// Track the new pairs of one side that are frequent enough: the new token with each neighbour.
fn track_side<L: RecordLayout, R: RankedPair>(
    side: &mut Side,
    pair_with: impl Fn(u32) -> Pair,
    vocab: &GrowingVocab<'_>,
    tracked: &mut TrackedPairs,
    queue: &mut Queue<R>,
    records: &Records<L>,
) {
    let before = tracked.postings.len();
    let mut end = before as u32;
    for (i, &neighbour) in side.neighbours.iter().enumerate() {
        if let Some(&ahead) = side.neighbours.get(i + AHEAD) {
            if side.counts[ahead as usize].count >= tracked.threshold {
                tracked.table.prefetch(pair_with(ahead));
            }
        }
        let found = &mut side.counts[neighbour as usize];
        found.next = UNTRACKED;
        let pair = pair_with(neighbour);
        if found.count >= tracked.threshold && vocab.allows(pair) {
            let slot = tracked.table.entry(pair);
            slot.count = found.count;
            slot.start = end;
            slot.postings = found.postings;
            if !R::POSITIONAL {
                queue.push(R::new(slot.count, pair, vocab.merged_length(pair), 0));
            }
            found.next = end;
            end += found.postings;
        }
    }
    if end as usize == before {
        return;
    }
    tracked.postings.resize(end as usize, 0);
    for &occurrence in &side.occurrences {
        let found = &mut side.counts[(occurrence >> 32) as usize];
        if found.next != UNTRACKED {
            tracked.postings[found.next as usize] = occurrence as u32;
            found.next += 1;
        }
    }
    if R::POSITIONAL {
        let is_tracked = |x: &&u32| side.counts[**x as usize].next != UNTRACKED;
        for &neighbour in side.neighbours.iter().filter(is_tracked) {
            if let Some(slot) = tracked.table.get_mut(pair_with(neighbour)) {
                queue.push(rank(slot, &tracked.postings, records, vocab));
            }
        }
    }
}

/// The old pairs of one side occur less often now.
#[inline(always)]
fn subtract_side(tracked: &mut TrackedPairs, side: &Side, pair_with: impl Fn(u32) -> Pair) {
    for (i, &neighbour) in side.neighbours.iter().enumerate() {
        if let Some(&ahead) = side.neighbours.get(i + AHEAD) {
            tracked.table.prefetch(pair_with(ahead));
        }
        let found = &side.counts[neighbour as usize];
        subtract(tracked, pair_with(neighbour), found.count);
    }
}

/// `pair` occurs `count` times less often than before.
#[inline(always)]
fn subtract(tracked: &mut TrackedPairs, pair: Pair, count: u64) {
    if let Some(slot) = tracked.table.get_mut(pair) {
        slot.count = slot.count.saturating_sub(count);
    }
}
