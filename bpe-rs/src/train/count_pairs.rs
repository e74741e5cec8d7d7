//! Counting all pairs, on several threads, to track the frequent ones.
//!
//! The records are cut into runs, one a thread, and each run is counted into a table of its own.
//! These counts say where each run's postings of a pair begin, so that a pair's postings are in
//! corpus order whatever the number of threads.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Mutex;

use super::layout::RecordLayout;
use super::pair_counts::{Pair, PairCount, PairCounts, UNTRACKED};
use super::records::Records;
use super::thread_counts::{sum_of, BytePairCounts, Sketch, ThreadCounts};
use super::tracked::TrackedPairs;
use crate::error::Result;
use crate::threads::{self, lock};

/// Which pairs are to be tracked, and on how many threads they are counted.
pub(super) struct Selection<'a> {
    /// Track pairs that occur at least so often, or less often if there are none; `None` for the
    /// first count, which derives the threshold from the greatest count.
    pub(super) threshold: Option<u64>,
    /// Never track pairs that occur less often.
    pub(super) floor: u64,
    /// Pairs that may be merged.
    pub(super) allowed: &'a dyn Fn(Pair) -> bool,
    /// Number of ids in use.
    pub(super) ids: u32,
    pub(super) threads: usize,
}

/// The first threshold is the greatest count divided by this: a few hundred merges later the pairs
/// are counted again, when frequent words have become short.
const FIRST_SHARE: u64 = 32;

impl Selection<'_> {
    fn threshold(&self, greatest: u64) -> u64 {
        let threshold = self.threshold.unwrap_or(greatest / FIRST_SHARE);
        threshold.min(greatest).max(self.floor)
    }

    fn keeps(&self, slot: &PairCount, threshold: u64) -> bool {
        slot.count >= threshold && (self.allowed)(slot.pair)
    }
}

/// Records between two calls of `check`.
const RECORDS_PER_CHECK: usize = 1 << 16;
/// Records that justify one more thread. In tests few, so that several threads run there.
const RECORDS_PER_THREAD: usize = if cfg!(test) { 3 } else { 1 << 14 };

impl TrackedPairs {
    /// Count all pairs of `records` and track those that `selection` keeps. `false` if there are
    /// none.
    pub(super) fn count_again<L: RecordLayout>(
        &mut self,
        records: &Records<L>,
        selection: &Selection<'_>,
        check: &mut dyn FnMut() -> Result<()>,
    ) -> Result<bool> {
        self.table = PairCounts::with_room_for(0);
        self.postings.shorten(0);
        if selection.ids as usize <= BytePairCounts::IDS {
            let threads = threads_for(selection, records);
            let mut counts: Vec<BytePairCounts> =
                (0..threads).map(|_| BytePairCounts::default()).collect();
            each_pair(records, &mut counts, check, |counts, _, count, pair| {
                counts.add(pair, count);
            })?;
            let total = sum_of(&counts);
            let kept = total.iter().filter(|slot| selection.keeps(slot, 1));
            let threshold = selection.threshold(kept.map(|slot| slot.count).max().unwrap_or(0));
            self.list(records, selection, threshold, total, counts, check)
        } else {
            let (threshold, total, counts) = count_frequent(records, selection, check)?;
            self.list(records, selection, threshold, total, counts, check)
        }
    }

    /// Track the pairs of `total`, the sum of `counts`, that are frequent enough, and list their
    /// occurrences.
    fn list<L: RecordLayout, C: ThreadCounts>(
        &mut self,
        records: &Records<L>,
        selection: &Selection<'_>,
        threshold: u64,
        total: PairCounts,
        counts: Vec<C>,
        check: &mut dyn FnMut() -> Result<()>,
    ) -> Result<bool> {
        let kept = total.iter().filter(|slot| selection.keeps(slot, threshold));
        self.table = PairCounts::with_room_for(kept.clone().count());
        let mut postings = 0;
        for slot in kept {
            *self.table.entry(slot.pair) = PairCount {
                start: postings,
                postings: 0,
                ..*slot
            };
            postings += slot.postings;
        }
        drop(total);
        if postings == 0 {
            return Ok(false);
        }
        self.threshold = threshold;
        // A run's postings of a pair begin where those of the run before it end.
        let mut writers = Vec::with_capacity(counts.len());
        for thread_counts in counts {
            let mut runs = Vec::with_capacity(self.table.len());
            for slot in thread_counts.counted() {
                if let Some(whole) = self.table.get_mut(slot.pair) {
                    let start = whole.start + whole.postings;
                    whole.postings += slot.postings;
                    runs.push(PairCount { start, ..*slot });
                }
            }
            writers.push(thread_counts.reduced_to(runs));
        }
        self.postings.resize(postings as usize, 0);
        let postings = shared(&mut self.postings);
        each_pair(records, &mut writers, check, |writer, record, _, pair| {
            if let Some(slot) = writer.find(pair) {
                if slot.start != UNTRACKED {
                    postings[slot.start as usize].store(record, Ordering::Relaxed);
                    slot.start += 1;
                }
            }
        })?;
        Ok(true)
    }
}

/// How many threads to count on, at least one.
fn threads_for<L: RecordLayout>(selection: &Selection<'_>, records: &Records<L>) -> usize {
    (records.starts().len() / RECORDS_PER_THREAD).clamp(1, selection.threads)
}

/// `values` as atomics, which several threads may write.
fn shared(values: &mut [u32]) -> &[AtomicU32] {
    const { assert!(align_of::<AtomicU32>() == align_of::<u32>()) };
    // SAFETY: both types have the same size and (asserted above) alignment; the mutable borrow
    // lasts as long as the result.
    unsafe { &*(std::ptr::from_mut(values) as *const [AtomicU32]) }
}

/// A threshold, and exact counts of all pairs that reach it and of some others: their sum, and those
/// of each thread. Rare pairs are many and would fill the tables; a sketch rules most of them out.
fn count_frequent<L: RecordLayout>(
    records: &Records<L>,
    selection: &Selection<'_>,
    check: &mut dyn FnMut() -> Result<()>,
) -> Result<(u64, PairCounts, Vec<PairCounts>)> {
    let threads = threads_for(selection, records);
    let mut sketches: Vec<Sketch> = (0..threads)
        .map(|_| Sketch::sized_for(records.tokens() - records.starts().len()))
        .collect();
    each_pair(records, &mut sketches, check, |sketch, _, count, pair| {
        sketch.add(pair, count);
    })?;
    let mut sketch = sketches.swap_remove(0);
    sketches.drain(..).for_each(|other| sketch.add_all(&other));
    let mut threshold = selection.threshold(sketch.greatest());
    loop {
        let mut counts: Vec<PairCounts> = (0..threads).map(|_| PairCounts::default()).collect();
        each_pair(records, &mut counts, check, |counts, _, count, pair| {
            if sketch.bound(pair) >= threshold {
                counts.add(pair, count);
            }
        })?;
        let total = sum_of(&counts);
        let enough = threshold <= selection.floor;
        if enough || total.iter().any(|slot| selection.keeps(slot, threshold)) {
            return Ok((threshold, total, counts));
        }
        threshold = (threshold / 4).max(selection.floor);
    }
}

/// Call `visit(state, start of the record, count of the word, pair)` for all pairs of neighbours. The
/// records are cut into as many runs as there are `states`, each of which always meets the same run;
/// as many threads, this one included, work on them. `check` is called on this thread.
#[inline(always)]
fn each_pair<S: Send, L: RecordLayout>(
    records: &Records<L>,
    states: &mut [S],
    check: &mut dyn FnMut() -> Result<()>,
    visit: impl Fn(&mut S, u32, u64, Pair) + Sync,
) -> Result<()> {
    let starts = records.starts();
    let (threads, len) = (states.len(), starts.len().div_ceil(states.len()).max(1));
    let runs = Mutex::new(states.iter_mut().zip(starts.chunks(len)));
    let next_run = || lock(&runs).next();
    threads::run_until_error(threads, &mut |_| check(), &|check| {
        while let Some((state, run)) = next_run() {
            for starts in run.chunks(RECORDS_PER_CHECK) {
                check(0)?;
                for &start in starts {
                    let word = records.word(start);
                    word.any_pair(|pair| {
                        visit(state, start, word.count(), pair);
                        false
                    });
                }
            }
        }
        Ok(())
    })
}
