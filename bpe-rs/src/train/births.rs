//! What a merge changes: old pairs that occur less often, and new ones to watch.

use super::apply::{Apply, Merge, Neighbourhood, Side};
use super::job::Learned;
use super::merge::Learner;
use super::pairs::{Pair, Watched};
use super::queue::Queue;
use super::records::{Layout, Records};
use super::ties::Candidate;
use super::watch::Watch;
use crate::error::Result;

/// Places between two looks at the clock: some ten milliseconds.
const STRIDE: usize = 1 << 20;
/// Pairs looked up ahead, so that their slots come from memory meanwhile.
const AHEAD: usize = 8;

impl Learner<'_> {
    /// Merge `found` in all words and watch what this makes.
    pub(super) fn merge<L: Apply, C: Candidate>(
        &mut self,
        found: Watched,
        watch: &mut Watch,
        queue: &mut Queue<C>,
        records: &mut Records<L>,
    ) -> Result<()> {
        let Watched {
            pair,
            count,
            start,
            places,
        } = found;
        let new = self.next_id();
        let merge = Merge {
            left: pair.left(),
            right: pair.right(),
            new,
        };
        self.job.lengths.push(self.merged_length(pair));
        self.learned.push(Learned {
            left: merge.left,
            right: merge.right,
            count,
        });
        let ids = self.job.ids as usize;
        let hood = self.hood.take();
        let mut hood = hood.unwrap_or_else(|| Neighbourhood::new(ids));
        let base = records.base_mut();
        let places = &watch.postings[start as usize..(start + places) as usize];
        for (i, places) in places.chunks(STRIDE).enumerate() {
            if i > 0 {
                (self.job.tick)(self.learned.len() as u32)?;
            }
            // SAFETY: `records` is borrowed mutably here; postings are starts of its records; all
            // ids are below `job.ids`, for which the neighbourhood was made.
            unsafe { L::apply(base, places, merge, &mut hood) }
        }
        if let Some(slot) = watch.table.get_mut(pair) {
            slot.count = 0;
        }
        lose_side(watch, &hood.left, |x| Pair::new(x, merge.left));
        lose_side(watch, &hood.right, |y| Pair::new(merge.right, y));
        if hood.twin_count > 0 {
            // `a b a b`: the pair between the two matches. For `a a a a` that is the merged
            // pair itself, which is at zero already.
            lose(watch, Pair::new(merge.right, merge.left), hood.twin_count);
        }
        let most = hood.left.neighbours.len() + hood.right.neighbours.len() + 1;
        if !watch.table.has_room_for(most) {
            watch.forget_rare_pairs(most);
        }
        self.watch_side(&mut hood.left, |x| Pair::new(x, new), watch, queue, records);
        self.watch_side(
            &mut hood.right,
            |y| Pair::new(new, y),
            watch,
            queue,
            records,
        );
        let twin = Pair::new(new, new);
        if hood.twin_count >= watch.threshold && self.allowed(twin) {
            let slot = watch.table.entry(twin);
            slot.count = hood.twin_count;
            slot.start = watch.postings.len() as u32;
            slot.places = hood.twin_places.len() as u32;
            watch.postings.extend_from_slice(&hood.twin_places);
            queue.push(self.candidate::<L, C>(slot, &watch.postings, records));
        }
        hood.clear();
        self.hood = Some(hood);
        Ok(())
    }

    fn allowed(&self, pair: Pair) -> bool {
        self.merged_length(pair) <= self.job.max_token_length
    }

    /// Watch the new pairs of one side that are frequent enough.
    fn watch_side<L: Layout, C: Candidate>(
        &self,
        side: &mut Side,
        pair_with: impl Fn(u32) -> Pair,
        watch: &mut Watch,
        queue: &mut Queue<C>,
        records: &Records<L>,
    ) {
        const UNWATCHED: u32 = u32::MAX;
        let before = watch.postings.len();
        let mut end = before as u32;
        for (i, &neighbour) in side.neighbours.iter().enumerate() {
            if let Some(&ahead) = side.neighbours.get(i + AHEAD) {
                if side.gathered[ahead as usize].count >= watch.threshold {
                    watch.table.prefetch(pair_with(ahead));
                }
            }
            let gathered = &mut side.gathered[neighbour as usize];
            gathered.next = UNWATCHED;
            let pair = pair_with(neighbour);
            if gathered.count >= watch.threshold && self.allowed(pair) {
                let slot = watch.table.entry(pair);
                slot.count = gathered.count;
                slot.start = end;
                slot.places = gathered.places;
                if !C::POSITIONAL {
                    queue.push(C::new(slot.count, pair, self.merged_length(pair), 0));
                }
                gathered.next = end;
                end += gathered.places;
            }
        }
        if end as usize == before {
            return;
        }
        watch.postings.resize(end as usize, 0);
        for &event in &side.events {
            let gathered = &mut side.gathered[(event >> 32) as usize];
            if gathered.next != UNWATCHED {
                watch.postings[gathered.next as usize] = event as u32;
                gathered.next += 1;
            }
        }
        if C::POSITIONAL {
            let born = |x: &&u32| side.gathered[**x as usize].next != UNWATCHED;
            for &neighbour in side.neighbours.iter().filter(born) {
                if let Some(slot) = watch.table.get_mut(pair_with(neighbour)) {
                    queue.push(self.candidate::<L, C>(slot, &watch.postings, records));
                }
            }
        }
    }
}

/// The old pairs of one side occur less often now.
#[inline(always)]
fn lose_side(watch: &mut Watch, side: &Side, pair_with: impl Fn(u32) -> Pair) {
    for (i, &neighbour) in side.neighbours.iter().enumerate() {
        if let Some(&ahead) = side.neighbours.get(i + AHEAD) {
            watch.table.prefetch(pair_with(ahead));
        }
        lose(
            watch,
            pair_with(neighbour),
            side.gathered[neighbour as usize].count,
        );
    }
}

/// `pair` occurs `count` times less often than before.
#[inline(always)]
fn lose(watch: &mut Watch, pair: Pair, count: u64) {
    if let Some(slot) = watch.table.get_mut(pair) {
        slot.count = slot.count.saturating_sub(count);
    }
}
