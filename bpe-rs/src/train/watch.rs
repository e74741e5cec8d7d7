//! Which pairs are watched: those that occur at least `threshold` times.
//!
//! Most pairs of a corpus are too rare ever to be merged. A count only falls once its pair exists,
//! so a pair below the threshold can be ignored until nothing above it is left; then all words are
//! counted again with a lower threshold. The result does not depend on the thresholds.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::pairs::{Pair, PairTable, Watched};
use super::records::{Layout, Records};
use super::tally::{sum_of, Dense, Sketch, Tally, UNWATCHED};
use crate::error::Result;
use crate::memory::LargeVec;

/// The pairs that occur at least `threshold` times, all their occurrences, and what may become one.
pub(super) struct Watch {
    pub(super) table: PairTable,
    /// Starts of records; every pair owns a run of them, in corpus order.
    pub(super) postings: LargeVec<u32>,
    pub(super) threshold: u64,
}

impl Watch {
    /// Nothing is watched yet.
    pub(super) fn nothing() -> Self {
        Self {
            table: PairTable::with_room_for(0),
            postings: LargeVec::with_capacity(0),
            threshold: u64::MAX,
        }
    }
}

/// What to count for.
pub(super) struct Wanted<'a> {
    /// Watch pairs that occur so often, or fewer times if there are none; `None` for the first
    /// time, when that is derived from the greatest count.
    pub(super) count: Option<u64>,
    /// Never watch pairs that occur less often.
    pub(super) floor: u64,
    /// Can rule pairs out.
    pub(super) allowed: &'a dyn Fn(Pair) -> bool,
    /// Number of ids in use.
    pub(super) ids: u32,
    pub(super) threads: usize,
}

/// The first threshold is the greatest count divided by this: a few hundred merges later the pairs
/// are counted again, when frequent words have become short.
const FIRST_SHARE: u64 = 32;

impl Wanted<'_> {
    fn threshold(&self, greatest: u64) -> u64 {
        let wish = self.count.unwrap_or(greatest / FIRST_SHARE);
        wish.min(greatest).max(self.floor)
    }

    fn keeps(&self, slot: &Watched, threshold: u64) -> bool {
        slot.count >= threshold && (self.allowed)(slot.pair)
    }
}

/// Records between two looks at the clock.
const STRIDE: usize = 1 << 16;
/// Records that are worth a thread of their own (in tests few, so that they see several threads).
const SHARE: usize = if cfg!(test) { 3 } else { 1 << 14 };
/// Records ahead of the one at work that are asked from memory.
const AHEAD: usize = 16;

/// Count all pairs of `records` and watch the frequent ones. `false` if no pair is left.
///
/// Every thread takes a run of the records and counts into a tally of its own; from the tallies
/// follows where in a pair's run of postings each thread writes, so that these are in corpus
/// order, whatever the number of threads.
pub(super) fn recount<L: Layout>(
    watch: &mut Watch,
    records: &Records<L>,
    wanted: &Wanted<'_>,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<bool> {
    watch.table = PairTable::with_room_for(0);
    watch.postings.shorten(0);
    if wanted.ids as usize <= Dense::IDS {
        let shares = shares_of(wanted, records);
        let mut tallies: Vec<Dense> = (0..shares).map(|_| Dense::default()).collect();
        each_pair(records, &mut tallies, tick, |tally, _, count, pair| {
            tally.add(pair, count);
        })?;
        let total = sum_of(&tallies);
        let greatest = total.iter().filter(|slot| wanted.keeps(slot, 1));
        let threshold = wanted.threshold(greatest.map(|slot| slot.count).max().unwrap_or(0));
        list(watch, records, wanted, threshold, total, tallies, tick)
    } else {
        let (threshold, total, tallies) = count_frequent(records, wanted, tick)?;
        list(watch, records, wanted, threshold, total, tallies, tick)
    }
}

/// Threads that are worth their start.
fn shares_of<L: Layout>(wanted: &Wanted<'_>, records: &Records<L>) -> usize {
    (records.starts().len() / SHARE).clamp(1, wanted.threads)
}

/// Watch the pairs of `total`, which `tallies` add up to, that are frequent enough.
fn list<L: Layout, T: Tally>(
    watch: &mut Watch,
    records: &Records<L>,
    wanted: &Wanted<'_>,
    threshold: u64,
    total: PairTable,
    tallies: Vec<T>,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<bool> {
    let kept = total.iter().filter(|slot| wanted.keeps(slot, threshold));
    watch.table = PairTable::with_room_for(kept.clone().count());
    let mut places = 0;
    for slot in kept {
        *watch.table.entry(slot.pair) = Watched {
            start: places,
            places: 0,
            ..*slot
        };
        places += slot.places;
    }
    drop(total);
    if places == 0 {
        return Ok(false);
    }
    watch.threshold = threshold;
    let mut writers = Vec::with_capacity(tallies.len());
    for tally in tallies {
        let mut runs = Vec::with_capacity(watch.table.len());
        for slot in tally.counted() {
            if let Some(whole) = watch.table.get_mut(slot.pair) {
                let start = whole.start + whole.places;
                whole.places += slot.places;
                runs.push(Watched { start, ..*slot });
            }
        }
        writers.push(tally.reduced_to(runs));
    }
    watch.postings.resize(places as usize, 0);
    let postings = shared(&mut watch.postings);
    each_pair(records, &mut writers, tick, |writer, start, _, pair| {
        if let Some(slot) = writer.find(pair) {
            if slot.start != UNWATCHED {
                postings[slot.start as usize].store(start, Ordering::Relaxed);
                slot.start += 1;
            }
        }
    })?;
    Ok(true)
}

/// `values`, to be written by several threads.
fn shared(values: &mut [u32]) -> &[AtomicU32] {
    const { assert!(align_of::<AtomicU32>() == align_of::<u32>()) };
    // SAFETY: both types have the same size and (asserted above) alignment; the mutable borrow
    // lasts as long as the result.
    unsafe { &*(std::ptr::from_mut(values) as *const [AtomicU32]) }
}

/// Call `visit` with (start of the record, count of the word, pair) for all adjacent tokens: for
/// each of `shares` with an equal run of the records, in order, on a thread of its own.
#[inline(always)]
fn each_pair<T: Send, L: Layout>(
    records: &Records<L>,
    shares: &mut [T],
    tick: &mut dyn FnMut() -> Result<()>,
    visit: impl Fn(&mut T, u32, u64, Pair) + Sync,
) -> Result<()> {
    let visit_all = |share: &mut T, starts: &[u32]| {
        for &start in starts {
            let (count, tokens) = records.word(start);
            for pair in tokens.windows(2) {
                let pair = Pair::new(pair[0].into(), pair[1].into());
                visit(share, start, count, pair);
            }
        }
    };
    let starts = records.starts();
    let mut runs = starts.chunks(starts.len().div_ceil(shares.len()).max(1));
    let mine = runs.next().unwrap_or_default();
    let Some((my_share, others)) = shares.split_first_mut() else {
        return Ok(());
    };
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (share, run) in others.iter_mut().zip(runs) {
            let (visit_all, stopped) = (&visit_all, &stopped);
            scope.spawn(move || {
                for starts in run.chunks(STRIDE) {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    visit_all(share, starts);
                }
            });
        }
        for starts in mine.chunks(STRIDE) {
            tick().inspect_err(|_| stopped.store(true, Ordering::Relaxed))?;
            visit_all(my_share, starts);
        }
        Ok(())
    })
}

/// A threshold, and exact counts of all pairs that reach it and of some others.
fn count_frequent<L: Layout>(
    records: &Records<L>,
    wanted: &Wanted<'_>,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<(u64, PairTable, Vec<PairTable>)> {
    let shares = shares_of(wanted, records);
    let mut sketches: Vec<Sketch> = (0..shares)
        .map(|_| Sketch::sized_for(records.tokens() - records.starts().len()))
        .collect();
    each_pair(records, &mut sketches, tick, |sketch, _, count, pair| {
        sketch.add(pair, count);
    })?;
    let mut sketch = sketches.swap_remove(0);
    sketches.drain(..).for_each(|other| sketch.add_all(&other));
    let mut threshold = wanted.threshold(sketch.greatest());
    loop {
        let mut tallies: Vec<PairTable> = (0..shares).map(|_| PairTable::default()).collect();
        each_pair(records, &mut tallies, tick, |tally, _, count, pair| {
            if sketch.bound(pair) >= threshold {
                tally.add(pair, count);
            }
        })?;
        let total = sum_of(&tallies);
        if threshold <= wanted.floor || total.iter().any(|slot| wanted.keeps(slot, threshold)) {
            return Ok((threshold, total, tallies));
        }
        threshold = (threshold / 4).max(wanted.floor);
    }
}

impl Watch {
    /// Drop the pairs that have become too rare, and the places that hold their pair no more.
    pub(super) fn sweep<L: Layout>(
        &mut self,
        records: &Records<L>,
        tick: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let mut kept = self.frequent_pairs();
        // By place, so that the postings move towards the front only.
        kept.sort_unstable_by_key(|slot| slot.start);
        let (mut end, mut looked) = (0, 0);
        for slot in &mut kept {
            let run = slot.start as usize..(slot.start + slot.places) as usize;
            slot.start = end as u32;
            looked += run.len();
            if looked > STRIDE {
                tick()?;
                looked = 0;
            }
            for at in run {
                if let Some(&ahead) = self.postings.get(at + AHEAD) {
                    records.prefetch(ahead);
                }
                let place = self.postings[at];
                let holds =
                    |pair: &[L::Token]| Pair::new(pair[0].into(), pair[1].into()) == slot.pair;
                if records.word(place).1.windows(2).any(holds) {
                    self.postings[end] = place;
                    end += 1;
                }
            }
            slot.places = end as u32 - slot.start;
        }
        self.postings.shorten(end);
        self.put_back(kept, 0);
        Ok(())
    }

    /// Forget the pairs that have become too rare, so that `more` can be added for a while
    /// without a larger table.
    #[cold]
    pub(super) fn forget_rare_pairs(&mut self, more: usize) {
        let kept = self.frequent_pairs();
        self.put_back(kept, more);
    }

    fn frequent_pairs(&self) -> Vec<Watched> {
        let frequent = |slot: &&Watched| slot.count >= self.threshold;
        let found = self.table.iter().filter(frequent);
        // Room for just these: a vector that grows takes up to three times as much.
        let mut pairs = Vec::with_capacity(found.clone().count());
        pairs.extend(found);
        pairs
    }

    fn put_back(&mut self, pairs: Vec<Watched>, more: usize) {
        // The old table goes before the new one comes.
        self.table = PairTable::with_room_for(0);
        self.table = PairTable::with_room_for(pairs.len() + pairs.len() / 2 + more);
        for slot in pairs {
            *self.table.entry(slot.pair) = slot;
        }
    }
}
