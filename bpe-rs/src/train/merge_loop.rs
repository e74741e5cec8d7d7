//! The merge loop: take the pair of the highest rank, merge it everywhere, repeat.

use super::apply::ApplyMerge;
use super::count_pairs::Selection;
use super::growing_vocab::GrowingVocab;
use super::neighbourhood::Neighbourhood;
use super::new_pairs::merge_pair;
use super::options::TrainOptions;
use super::pair_counts::{Pair, PairCount};
use super::queue::{Queue, RankedPair};
use super::records::Records;
use super::tracked::{rank, TrackedPairs};
use crate::error::{Error, Result};
use crate::io::Progress;

/// Merges between two calls of `progress`.
const MERGES_PER_CHECK: usize = 128;
/// The count of the pair of rank r falls about like r^-1.6 in text. The exponent here is a little
/// higher, so that the next threshold is a little lower: one more count of all pairs costs more
/// time than some more tracked pairs. A wrong guess costs time or memory, never the result.
const DECAY: f64 = 1.75;

/// Postings that may be kept when `live` of them are not stale. A sweep takes as long as a few
/// hundred merges: with room for many it is rare.
fn room_for(live: usize) -> usize {
    (live + live / 8 * 5 + 4096).min(u32::MAX as usize)
}

/// Merging in records of one layout, by one rule.
pub(super) struct MergeLoop<'a, 'v, L: ApplyMerge, R: RankedPair> {
    options: &'a TrainOptions,
    vocab: &'a mut GrowingVocab<'v>,
    records: &'a mut Records<L>,
    tracked: TrackedPairs,
    queue: Queue<R>,
    /// Allocated when there is something to merge.
    neighbours: Option<Neighbourhood>,
    /// Stale postings are swept out before a merge that could make more postings than these.
    max_postings: usize,
}

impl<'a, 'v, L: ApplyMerge, R: RankedPair> MergeLoop<'a, 'v, L, R> {
    pub(super) fn new(
        options: &'a TrainOptions,
        vocab: &'a mut GrowingVocab<'v>,
        records: &'a mut Records<L>,
    ) -> Self {
        Self {
            options,
            vocab,
            records,
            tracked: TrackedPairs::none(),
            queue: Queue::new(),
            neighbours: None,
            max_postings: 0,
        }
    }

    /// Merge until there are `end` tokens or as many as `options` say. `false` if no pair was left
    /// before that. `max_postings` replaces the usual limit after pairs have been counted.
    ///
    /// # Errors
    /// What `progress` returns; when the words hold more than 2^32 pairs.
    pub(super) fn run(
        mut self,
        end: u32,
        max_postings: Option<usize>,
        progress: &mut Progress<'_>,
    ) -> Result<bool> {
        // A page takes no memory before it is written.
        let most = room_for(self.records.tokens());
        self.tracked.postings.reserve_exact(most);
        while self.vocab.len() < end.min(self.options.vocab_size) {
            let Some(mut best) = self.next_pair() else {
                if self.tracked.threshold <= self.floor()
                    || !self.lower_threshold(max_postings, progress)?
                {
                    return Ok(false);
                }
                continue;
            };
            // New pairs: at most two for each posting.
            if self.tracked.postings.len() + 2 * best.postings as usize > self.max_postings {
                self.queue.push(self.rank(&mut best));
                self.sweep(best.postings, progress)?;
                continue;
            }
            let ids = self.options.vocab_size as usize;
            let made = self.vocab.learned().len() as u64 + 1;
            merge_pair(
                best,
                self.vocab,
                &mut self.tracked,
                &mut self.queue,
                self.records,
                self.neighbours
                    .get_or_insert_with(|| Neighbourhood::new(ids)),
                &mut || progress(made),
            )?;
            if self.vocab.learned().len().is_multiple_of(MERGES_PER_CHECK) {
                progress(made)?;
            }
        }
        Ok(true)
    }

    /// Pairs that occur less often are not merged.
    fn floor(&self) -> u64 {
        self.options.min_frequency.max(1)
    }

    /// The pair to merge next, taken from the queue; none if no tracked pair is left.
    fn next_pair(&mut self) -> Option<PairCount> {
        while let Some(queued) = self.queue.pop() {
            let threshold = self.tracked.threshold;
            let slot = self.tracked.table.get_mut(queued.pair());
            // Not there: too rare by now, and dropped for that.
            let Some(slot) = slot.filter(|slot| slot.count >= threshold) else {
                continue;
            };
            let now: R = rank(slot, &self.tracked.postings, self.records, self.vocab);
            if now < queued {
                self.queue.push(now);
            } else {
                let slot = *slot;
                if !self.vocab.refuses(slot.pair) {
                    return Some(slot);
                }
            }
        }
        None
    }

    fn rank(&self, slot: &mut PairCount) -> R {
        rank(slot, &self.tracked.postings, self.records, self.vocab)
    }

    /// Drop the stale postings, to make room for a merge of a pair that has `postings`.
    fn sweep(&mut self, postings: u32, progress: &mut Progress<'_>) -> Result<()> {
        let made = self.vocab.learned().len() as u64;
        self.tracked.sweep(self.records, &mut || progress(made))?;
        let kept = self.tracked.postings.len();
        let live = kept + 2 * postings as usize;
        if live > u32::MAX as usize {
            return Err(Error::invalid(format!(
                "the distinct words hold {kept} pairs, more than 2^32 with those of the next \
                 merge; drop rare words first (WordCounts.prune)"
            )));
        }
        self.max_postings = room_for(live);
        self.tracked
            .postings
            .reserve_exact(self.max_postings - kept);
        Ok(())
    }

    /// Count all pairs again and track those that reach a lower threshold; `false` if no pair is
    /// left.
    fn lower_threshold(
        &mut self,
        max_postings: Option<usize>,
        progress: &mut Progress<'_>,
    ) -> Result<bool> {
        let vocab = &*self.vocab;
        let threshold = vocab.learned().last().map(|last| {
            let done = vocab.len() as f64 / self.options.vocab_size as f64;
            let predicted = last.count as f64 * done.powf(DECAY);
            // By at least a quarter: the number of counts stays a logarithm of the first threshold.
            let threshold = self.tracked.threshold;
            (predicted as u64 + 1).min(threshold - (threshold / 4).max(1))
        });
        self.records.compact();
        self.queue.clear();
        // Counting all pairs needs memory of its own.
        self.neighbours = None;
        let selection = Selection {
            threshold,
            floor: self.floor(),
            allowed: &|pair: Pair| vocab.allows(pair),
            ids: vocab.len(),
            threads: self.options.threads.max(1),
        };
        let made = vocab.learned().len() as u64;
        if !self
            .tracked
            .count_again(self.records, &selection, &mut || progress(made))?
        {
            return Ok(false);
        }
        let TrackedPairs {
            table, postings, ..
        } = &mut self.tracked;
        self.max_postings = max_postings.unwrap_or(room_for(postings.len()));
        for slot in table.iter_mut() {
            self.queue.push(rank(slot, postings, self.records, vocab));
        }
        Ok(true)
    }
}
