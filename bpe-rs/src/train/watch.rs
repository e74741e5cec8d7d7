//! Which pairs are watched: those that occur at least `threshold` times.
//!
//! Most pairs of a corpus are too rare ever to be merged. A count only falls once its pair exists,
//! so a pair below the threshold can be ignored until nothing above it is left; then all words are
//! counted again with a lower threshold. The result does not depend on the thresholds.

use super::pairs::{Pair, PairTable, Watched};
use super::records::{Layout, Records};
use crate::error::Result;

/// The pairs that occur at least `threshold` times, all their occurrences, and what may become one.
pub(super) struct Watch {
    pub(super) table: PairTable,
    /// Starts of records; every pair owns a run of them, in corpus order.
    pub(super) postings: Vec<u32>,
    pub(super) threshold: u64,
}

impl Watch {
    /// Nothing is watched yet.
    pub(super) fn nothing() -> Self {
        Self {
            table: PairTable::with_room_for(0),
            postings: Vec::new(),
            threshold: u64::MAX,
        }
    }
}

/// What to count for.
pub(super) struct Wanted<'a> {
    /// Watch pairs that occur so often, or fewer times if there are none.
    pub(super) count: Wish,
    /// Never watch pairs that occur less often.
    pub(super) floor: u64,
    /// Can rule pairs out.
    pub(super) allowed: &'a dyn Fn(Pair) -> bool,
    /// Number of ids in use.
    pub(super) ids: u32,
}

/// How often the pairs should occur that are watched.
pub(super) enum Wish {
    /// So many times.
    Times(u64),
    /// The greatest count divided by this.
    Share(u64),
}

impl Wanted<'_> {
    fn threshold(&self, greatest: u64) -> u64 {
        let wish = match self.count {
            Wish::Times(times) => times,
            Wish::Share(share) => greatest / share,
        };
        wish.min(greatest).max(self.floor)
    }

    fn keeps(&self, slot: &Watched, threshold: u64) -> bool {
        slot.count >= threshold && (self.allowed)(slot.pair)
    }
}

/// Records between two looks at the clock.
const STRIDE: usize = 1 << 16;
/// As long as ids fit a byte, pairs are counted in an array of all of them.
const DENSE: usize = 1 << 16;

/// Count all pairs of `records` and watch the frequent ones. `false` if no pair is left.
pub(super) fn recount<L: Layout>(
    watch: &mut Watch,
    records: &Records<L>,
    wanted: &Wanted<'_>,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<bool> {
    watch.table = PairTable::with_room_for(0);
    watch.postings.clear();
    let dense = wanted.ids as usize <= DENSE.isqrt();
    let (threshold, counted) = if dense {
        let counted = count_densely(records, tick)?;
        let allowed = counted.iter().filter(|slot| wanted.keeps(slot, 1));
        let threshold = wanted.threshold(allowed.map(|slot| slot.count).max().unwrap_or(0));
        (threshold, counted)
    } else {
        count_frequent(records, wanted, tick)?
    };
    let kept = counted.iter().filter(|slot| wanted.keeps(slot, threshold));
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
    drop(counted);
    if places == 0 {
        return Ok(false);
    }
    watch.threshold = threshold;
    watch.postings.resize(places as usize, 0);
    if dense {
        list_densely(watch, records, tick)?;
    } else {
        each_pair(records, tick, |start, _, pair| {
            if let Some(slot) = watch.table.get_mut(pair) {
                watch.postings[(slot.start + slot.places) as usize] = start;
                slot.places += 1;
            }
        })?;
    }
    Ok(true)
}

/// Call `visit` with (start of the record, count of the word, pair) for all adjacent tokens.
#[inline(always)]
fn each_pair<L: Layout>(
    records: &Records<L>,
    tick: &mut dyn FnMut() -> Result<()>,
    mut visit: impl FnMut(u32, u64, Pair),
) -> Result<()> {
    for starts in records.starts().chunks(STRIDE) {
        tick()?;
        for &start in starts {
            let (count, tokens) = records.word(start);
            for pair in tokens.windows(2) {
                visit(start, count, Pair::new(pair[0].into(), pair[1].into()));
            }
        }
    }
    Ok(())
}

fn dense_index(pair: Pair) -> usize {
    (pair.left() as usize * DENSE.isqrt() + pair.right() as usize) % DENSE
}

/// Counts of all pairs of ids below 256.
fn count_densely<L: Layout>(
    records: &Records<L>,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<Vec<Watched>> {
    let mut counts = vec![(0u64, 0u32); DENSE];
    each_pair(records, tick, |_, count, pair| {
        let slot = &mut counts[dense_index(pair)];
        slot.0 += count;
        slot.1 += 1;
    })?;
    let side = DENSE.isqrt() as u32;
    let all = (0..).zip(counts).filter(|(_, (count, _))| *count > 0);
    Ok(all
        .map(|(index, (count, places))| {
            let pair = Pair::new(index / side, index % side);
            Watched {
                pair,
                count,
                start: 0,
                places,
            }
        })
        .collect())
}

/// Fill the postings of pairs of ids below 256.
fn list_densely<L: Layout>(
    watch: &mut Watch,
    records: &Records<L>,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    const UNWATCHED: u32 = u32::MAX;
    let mut next = vec![UNWATCHED; DENSE];
    for slot in watch.table.iter() {
        next[dense_index(slot.pair)] = slot.start;
    }
    each_pair(records, tick, |start, _, pair| {
        let next = &mut next[dense_index(pair)];
        if *next != UNWATCHED {
            watch.postings[*next as usize] = start;
            *next += 1;
        }
    })?;
    for slot in watch.table.iter_mut() {
        slot.places = next[dense_index(slot.pair)] - slot.start;
    }
    Ok(())
}

/// A threshold, and exact counts of all pairs that reach it and of some others.
fn count_frequent<L: Layout>(
    records: &Records<L>,
    wanted: &Wanted<'_>,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<(u64, Vec<Watched>)> {
    let mut sketch = Sketch::new();
    each_pair(records, tick, |_, count, pair| sketch.add(pair, count))?;
    let mut threshold = wanted.threshold(sketch.greatest());
    loop {
        let mut table = PairTable::with_room_for(1 << 13);
        each_pair(records, tick, |_, count, pair| {
            if sketch.bound(pair) >= threshold {
                let slot = table.entry(pair);
                slot.count += count;
                slot.places += 1;
            }
        })?;
        if threshold <= wanted.floor || table.iter().any(|slot| wanted.keeps(slot, threshold)) {
            return Ok((threshold, table.iter().copied().collect()));
        }
        threshold = (threshold / 4).max(wanted.floor);
    }
}

/// An upper bound of every pair's count: the sum over all pairs with the same few hash bits.
struct Sketch(Vec<u64>);

const SKETCH_BITS: u32 = 17;

impl Sketch {
    fn new() -> Self {
        Self(vec![0; 1 << SKETCH_BITS])
    }

    #[inline(always)]
    fn slot(pair: Pair) -> usize {
        (pair.hash() >> (64 - SKETCH_BITS)) as usize
    }

    #[inline(always)]
    fn add(&mut self, pair: Pair, count: u64) {
        self.0[Self::slot(pair)] += count;
    }

    #[inline(always)]
    fn bound(&self, pair: Pair) -> u64 {
        self.0[Self::slot(pair)]
    }

    fn greatest(&self) -> u64 {
        self.0.iter().copied().max().unwrap_or(0)
    }
}
