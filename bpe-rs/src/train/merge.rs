//! The merge loop: take the most frequent pair, merge it everywhere, repeat.

use super::apply::{Apply, Neighbourhood};
use super::job::{Job, Learned};
use super::pairs::{Pair, Watched};
use super::queue::Queue;
use super::records::{Layout, Narrow, Records, Wide};
use super::ties::{ByFirstPlace, ByLength, BySmallestPair, Candidate, TieBreak};
use super::watch::{recount, Wanted, Watch};
use crate::error::{Error, Result};

/// Learn merges from narrow records, going over to wide ones when the ids need it.
pub(super) fn merge_narrow(
    mut records: Records<Narrow>,
    rule: TieBreak,
    job: Job<'_>,
) -> Result<Vec<Learned>> {
    let mut learner = Learner::new(job);
    if learner.run_by(rule, &mut records, Narrow::MAX_ID + 1)? {
        // Both are held for a while.
        records.compact();
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

pub(super) struct Learner<'a> {
    pub(super) job: Job<'a>,
    pub(super) learned: Vec<Learned>,
    /// Made when there is something to merge.
    pub(super) hood: Option<Neighbourhood>,
    /// More postings than that and the dead ones are swept out.
    max_postings: usize,
}

/// Postings that may be kept when there are `live` of them. Sweeping the dead ones out takes as long
/// as a few hundred merges: where there is room for many, it is rare.
fn room_for(live: usize) -> usize {
    (live + live / 8 * 5 + 4096).min(u32::MAX as usize)
}

/// Merges between two looks at the clock.
const MERGES_PER_TICK: usize = 128;
/// The count of the pair of rank r falls about like r^-1.6 (measured on English, code and
/// multilingual text). Guessed a little lower, since one more count of all pairs costs more time
/// than some more watched pairs; a wrong guess costs time or memory, never the result.
const DECAY: f64 = 1.75;

impl<'a> Learner<'a> {
    fn new(job: Job<'a>) -> Self {
        Self {
            job,
            learned: Vec::new(),
            hood: None,
            max_postings: 0,
        }
    }

    fn run_by<L: Apply>(
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

    pub(super) fn next_id(&self) -> u32 {
        self.job.lengths.len() as u32
    }

    /// Merge until all ids below `end` are used (`true`) or the job is done (`false`).
    fn run<L: Apply, C: Candidate>(&mut self, records: &mut Records<L>, end: u32) -> Result<bool> {
        let mut watch = Watch::nothing();
        let mut queue = Queue::<C>::new();
        // No page of it is there before it is written.
        watch.postings.reserve_exact(room_for(records.tokens()));
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
            if watch.postings.len() + 2 * found.places as usize > self.max_postings {
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
    pub(super) fn candidate<L: Layout, C: Candidate>(
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

    pub(super) fn merged_length(&self, pair: Pair) -> u32 {
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
        if live > u32::MAX as usize {
            return Err(Error::invalid(format!(
                "the distinct words hold {} pairs, more than 2^32 with those of the next \
                 merge; drop rare words first (WordCounts.prune)",
                watch.postings.len()
            )));
        }
        self.max_postings = room_for(live);
        let more = self.max_postings - watch.postings.len();
        watch.postings.reserve_exact(more);
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
            (predicted as u64 + 1).min(watch.threshold - 1)
        });
        records.compact();
        queue.clear();
        // Not needed while all pairs are counted, which takes room of its own.
        self.hood = None;
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
        let max_postings = self.job.max_postings;
        self.max_postings = max_postings.unwrap_or(room_for(postings.len()));
        for slot in table.iter_mut() {
            queue.push(self.candidate::<L, C>(slot, postings, records));
        }
        Ok(true)
    }
}
