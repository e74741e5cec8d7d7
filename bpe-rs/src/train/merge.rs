//! The merge loop: take the most frequent pair, merge it everywhere, repeat.

use std::collections::HashSet;

use super::apply::{Merge, Neighbourhood, Side};
use super::isa::{Kind, Vectorized};
use super::memory::advise_huge_pages;
use super::pairs::{Pair, Watched};
use super::queue::Queue;
use super::records::{Layout, Narrow, Records, Wide};
use super::ties::{ByFirstPlace, ByLength, BySmallestPair, Candidate, TieBreak};
use super::watch::{recount, Wanted, Watch};
use crate::error::{Error, Result};

/// What the merges are learned from and how far.
pub(super) struct Job<'a> {
    /// Length in bytes of every token there is at the start, by id.
    pub(super) lengths: Vec<u32>,
    /// Merge until there are so many ids.
    pub(super) ids: u32,
    /// Leave pairs alone that occur less often (at least 1).
    pub(super) min_frequency: u64,
    /// Make no token of more bytes.
    pub(super) max_token_length: u32,
    /// Tokens that exist already, by their bytes, when that is more than the single bytes; a pair
    /// that spells one of them is never merged.
    pub(super) taken: Option<Taken<'a>>,
    pub(super) kind: Kind,
    /// For counting all pairs.
    pub(super) threads: usize,
    /// Postings that may be kept; more than that and the dead ones are swept out.
    pub(super) max_postings: usize,
    /// Told the number of merges made; an error stops the training.
    pub(super) tick: &'a mut dyn FnMut(u32) -> Result<()>,
}

/// Existing vocabulary of a tokenizer that is extended. Pairs learned later cannot spell one
/// another's tokens: between two boundaries that no merge has crossed, a word is segmented like
/// that stretch alone, so one spelling has one segmentation at any time.
pub(super) struct Taken<'a> {
    pub(super) tokens: &'a [Vec<u8>],
    pub(super) spellings: HashSet<&'a [u8]>,
}

impl Taken<'_> {
    /// Append the bytes of token `id`.
    fn spell(&self, id: u32, learned: &[Learned], spelling: &mut Vec<u8>) {
        match self.tokens.get(id as usize) {
            Some(token) => spelling.extend_from_slice(token),
            None => {
                let merge = learned[id as usize - self.tokens.len()];
                self.spell(merge.left, learned, spelling);
                self.spell(merge.right, learned, spelling);
            }
        }
    }
}

/// A merge as it was learned: its id is the number of ids before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Id of the left part.
    pub left: u32,
    /// Id of the right part.
    pub right: u32,
    /// How often the pair occurred when it was merged.
    pub count: u64,
}

/// Learn merges from narrow records, going over to wide ones when the ids need it.
pub(super) fn merge_narrow(
    mut records: Records<Narrow>,
    rule: TieBreak,
    job: Job<'_>,
) -> Result<Vec<Learned>> {
    let mut learner = Learner::new(job);
    if learner.run_by(rule, &mut records, Narrow::MAX_ID + 1)? {
        let mut wide = records.widen()?;
        drop(records);
        learner.run_by(rule, &mut wide, Wide::MAX_ID)?;
    }
    Ok(learner.learned)
}

/// Learn merges from wide records.
pub(super) fn merge_wide(
    mut records: Records<Wide>,
    rule: TieBreak,
    job: Job<'_>,
) -> Result<Vec<Learned>> {
    let mut learner = Learner::new(job);
    learner.run_by(rule, &mut records, Wide::MAX_ID)?;
    Ok(learner.learned)
}

struct Learner<'a> {
    job: Job<'a>,
    learned: Vec<Learned>,
    hood: Neighbourhood,
}

/// Places between two looks at the clock: some ten milliseconds.
const STRIDE: usize = 1 << 20;
/// Merges between two looks at the clock.
const MERGES_PER_TICK: usize = 128;
/// The count of the pair of rank r falls about like r^-1.6 (measured on English, code and
/// multilingual text). Guessed a little lower, since one more count of all pairs costs more time
/// than some more watched pairs; a wrong guess costs time or memory, never the result.
const DECAY: f64 = 1.75;

impl<'a> Learner<'a> {
    fn new(job: Job<'a>) -> Self {
        let hood = Neighbourhood::new(job.ids as usize);
        Self {
            job,
            learned: Vec::new(),
            hood,
        }
    }

    fn run_by<L: Vectorized>(
        &mut self,
        rule: TieBreak,
        records: &mut Records<L>,
        end: u32,
    ) -> Result<bool> {
        match rule {
            TieBreak::HuggingFace | TieBreak::Pair => self.run::<L, BySmallestPair>(records, end),
            TieBreak::FirstSeen => self.run::<L, ByFirstPlace>(records, end),
            TieBreak::Longest => self.run::<L, ByLength>(records, end),
        }
    }

    fn next_id(&self) -> u32 {
        self.job.lengths.len() as u32
    }

    /// Merge until all ids below `end` are used (`true`) or the job is done (`false`).
    fn run<L: Vectorized, C: Candidate>(
        &mut self,
        records: &mut Records<L>,
        end: u32,
    ) -> Result<bool> {
        let mut watch = Watch::nothing();
        let mut queue = Queue::<C>::new();
        watch
            .postings
            .reserve_exact(self.job.max_postings.min(records.tokens() * 5 / 4));
        advise_huge_pages(watch.postings.spare_capacity_mut());
        while self.next_id() < self.job.ids {
            if self.next_id() >= end {
                return Ok(true);
            }
            let found = self.next_candidate(&mut watch, &mut queue, records);
            let Some(mut found) = found else {
                if watch.threshold <= self.job.min_frequency
                    || !self.lower_threshold(&mut watch, &mut queue, records)?
                {
                    return Ok(false);
                }
                continue;
            };
            // Births of this merge: at most two a place.
            if watch.postings.len() + 2 * found.places as usize > self.job.max_postings {
                queue.push(self.candidate::<L, C>(&mut found, &watch.postings, records));
                self.sweep(&mut watch, records, found.places)?;
                continue;
            }
            self.merge(found, &mut watch, &mut queue, records)?;
            if self.learned.len().is_multiple_of(MERGES_PER_TICK) {
                (self.job.tick)(self.learned.len() as u32)?;
            }
        }
        Ok(false)
    }

    /// The pair to merge next, taken from the queue; none if nothing watched is left.
    fn next_candidate<L: Layout, C: Candidate>(
        &mut self,
        watch: &mut Watch,
        queue: &mut Queue<C>,
        records: &Records<L>,
    ) -> Option<Watched> {
        while let Some(candidate) = queue.pop() {
            let pair = candidate.pair();
            // Too rare by now, or swept out for that.
            let threshold = watch.threshold;
            let slot = watch
                .table
                .get_mut(pair)
                .filter(|slot| slot.count >= threshold);
            let Some(slot) = slot else { continue };
            let now = self.candidate::<L, C>(slot, &watch.postings, records);
            if now < candidate {
                queue.push(now);
            } else {
                let slot = *slot;
                if !self.spells_existing_token(pair) {
                    return Some(slot);
                }
            }
        }
        None
    }

    /// `slot` as a candidate, as things stand now.
    fn candidate<L: Layout, C: Candidate>(
        &self,
        slot: &mut Watched,
        postings: &[u32],
        records: &Records<L>,
    ) -> C {
        let first = if C::POSITIONAL {
            self.first_place(slot, postings, records)
        } else {
            0
        };
        C::new(slot.count, slot.pair, self.merged_length(slot.pair), first)
    }

    /// Where `slot.pair` occurs first: (record, byte offset in the word). Places that hold it no
    /// more never will again, so they are dropped on the way.
    fn first_place<L: Layout>(
        &self,
        slot: &mut Watched,
        postings: &[u32],
        records: &Records<L>,
    ) -> u64 {
        while slot.places > 0 {
            let start = postings[slot.start as usize];
            let mut offset = 0;
            for pair in records.word(start).1.windows(2) {
                if Pair::new(pair[0].into(), pair[1].into()) == slot.pair {
                    return (start as u64) << 32 | offset as u64;
                }
                offset += self.job.lengths[pair[0].into() as usize];
            }
            slot.start += 1;
            slot.places -= 1;
        }
        u64::MAX
    }

    fn merged_length(&self, pair: Pair) -> u32 {
        let length = |id: u32| self.job.lengths[id as usize];
        length(pair.left()).saturating_add(length(pair.right()))
    }

    fn spells_existing_token(&self, pair: Pair) -> bool {
        let Some(taken) = &self.job.taken else {
            return false;
        };
        let mut spelling = Vec::new();
        taken.spell(pair.left(), &self.learned, &mut spelling);
        taken.spell(pair.right(), &self.learned, &mut spelling);
        taken.spellings.contains(spelling.as_slice())
    }

    /// Throw out the postings that hold their pair no more, to make room for a merge at `places`.
    fn sweep<L: Layout>(
        &mut self,
        watch: &mut Watch,
        records: &Records<L>,
        places: u32,
    ) -> Result<()> {
        let (done, tick) = (self.learned.len() as u32, &mut self.job.tick);
        watch.sweep(records, &mut || tick(done))?;
        let live = watch.postings.len() + 2 * places as usize;
        // Full again soon, and swept again: better to have more room.
        if live > self.job.max_postings / 4 * 3 {
            if live > u32::MAX as usize {
                return Err(Error::invalid(format!(
                    "the distinct words hold {} pairs, more than 2^32 with those of the next \
                     merge; drop rare words first (WordCounts.prune)",
                    watch.postings.len()
                )));
            }
            self.job.max_postings = (live + live / 2).min(u32::MAX as usize);
        }
        Ok(())
    }

    /// Count again with a lower threshold; `false` if no pair is left.
    fn lower_threshold<L: Layout, C: Candidate>(
        &mut self,
        watch: &mut Watch,
        queue: &mut Queue<C>,
        records: &mut Records<L>,
    ) -> Result<bool> {
        let wish = self.learned.last().map(|last| {
            let done = self.next_id() as f64 / self.job.ids as f64;
            let predicted = last.count as f64 * done.powf(DECAY);
            (predicted as u64).min(watch.threshold - 1)
        });
        records.drop_finished();
        queue.clear();
        let done = self.learned.len() as u32;
        let job = &mut self.job;
        let (lengths, longest, tick) = (&job.lengths, job.max_token_length, &mut job.tick);
        let allowed = |pair: Pair| {
            lengths[pair.left() as usize].saturating_add(lengths[pair.right() as usize]) <= longest
        };
        let wanted = Wanted {
            count: wish,
            floor: job.min_frequency,
            allowed: &allowed,
            ids: lengths.len() as u32,
            threads: job.threads,
        };
        if !recount(watch, records, &wanted, &mut || tick(done))? {
            return Ok(false);
        }
        let Watch {
            table, postings, ..
        } = watch;
        for slot in table.iter_mut() {
            queue.push(self.candidate::<L, C>(slot, postings, records));
        }
        Ok(true)
    }

    /// Merge `found` in all words and watch what this makes.
    fn merge<L: Vectorized, C: Candidate>(
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
        let base = records.base_mut();
        let places = &watch.postings[start as usize..(start + places) as usize];
        for (i, places) in places.chunks(STRIDE).enumerate() {
            if i > 0 {
                (self.job.tick)(self.learned.len() as u32)?;
            }
            // SAFETY: `records` is borrowed mutably here; postings are starts of its records; all
            // ids are below `job.ids`, for which the neighbourhood was made; the kind was found
            // to be available.
            unsafe { L::apply(self.job.kind, base, places, merge, &mut self.hood) }
        }
        if let Some(slot) = watch.table.get_mut(pair) {
            slot.count = 0;
        }
        let mut hood = std::mem::replace(&mut self.hood, Neighbourhood::new(0));
        lose_side(watch, &hood.left, |x| Pair::new(x, merge.left));
        lose_side(watch, &hood.right, |y| Pair::new(merge.right, y));
        if hood.twin_count > 0 {
            // `a b a b`: the pair between the two matches. For `a a a a` that is the merged
            // pair itself, which is at zero already.
            lose(watch, Pair::new(merge.right, merge.left), hood.twin_count);
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
        self.hood = hood;
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

/// Pairs looked up ahead, so that their slots come from memory meanwhile.
const AHEAD: usize = 8;

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
