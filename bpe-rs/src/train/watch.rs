//! Which pairs are watched: those that occur at least `threshold` times.
//!
//! Most pairs of a corpus are too rare ever to be merged. A count only falls once its pair exists,
//! so a pair below the threshold can be ignored until nothing above it is left; then all words are
//! counted again with a lower threshold. The result does not depend on the thresholds.

use super::pairs::{Pair, PairTable};
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

/// Records between two looks at the clock.
const STRIDE: usize = 1 << 16;

/// The first threshold is the greatest count divided by this.
const FIRST_SHARE: u64 = 32;

/// Count all pairs of `records` and watch those that occur at least `wanted` times (or fewer, if
/// there are none; a share of the greatest count, if it is not said) but never fewer than `floor`;
/// `allowed` can rule pairs out. `false` if no pair is left.
pub(super) fn recount<L: Layout>(
    watch: &mut Watch,
    records: &Records<L>,
    wanted: Option<u64>,
    floor: u64,
    allowed: &dyn Fn(Pair) -> bool,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<bool> {
    watch.table = PairTable::with_room_for(0);
    watch.postings.clear();
    let sketch = Sketch::new(records, tick)?;
    let greatest = sketch.most();
    let mut wanted = wanted
        .unwrap_or(greatest / FIRST_SHARE)
        .min(greatest)
        .max(floor);
    let mut counted = loop {
        let counted = count_frequent(records, &sketch, wanted, tick)?;
        if counted
            .iter()
            .any(|slot| slot.count >= wanted && allowed(slot.pair))
        {
            break counted;
        }
        if wanted <= floor {
            return Ok(false);
        }
        wanted = (wanted / 4).max(floor);
    };
    let kept = |slot: &&super::pairs::Watched| slot.count >= wanted && allowed(slot.pair);
    let mut table = PairTable::with_room_for(counted.iter().filter(kept).count());
    let mut places = 0;
    for slot in counted.iter_mut() {
        if kept(&&*slot) {
            let entry = table.entry(slot.pair);
            entry.count = slot.count;
            entry.start = places;
            places += slot.places;
        }
    }
    drop(counted);
    watch.postings.resize(places as usize, 0);
    for starts in records.starts().chunks(STRIDE) {
        tick()?;
        for &start in starts {
            for pair in pairs(records.word(start).1) {
                if let Some(slot) = table.get_mut(pair) {
                    watch.postings[(slot.start + slot.places) as usize] = start;
                    slot.places += 1;
                }
            }
        }
    }
    watch.table = table;
    watch.threshold = wanted;
    Ok(true)
}

fn pairs<T: Copy + Into<u32>>(tokens: &[T]) -> impl Iterator<Item = Pair> + '_ {
    tokens
        .windows(2)
        .map(|pair| Pair::new(pair[0].into(), pair[1].into()))
}

/// Exact counts of all pairs that may occur `wanted` times, and of some others.
fn count_frequent<L: Layout>(
    records: &Records<L>,
    sketch: &Sketch,
    wanted: u64,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<PairTable> {
    let mut table = PairTable::with_room_for(1 << 13);
    for starts in records.starts().chunks(STRIDE) {
        tick()?;
        for &start in starts {
            let (count, tokens) = records.word(start);
            for pair in pairs(tokens) {
                if sketch.bound(pair) >= wanted {
                    let slot = table.entry(pair);
                    slot.count += count;
                    slot.places += 1;
                }
            }
        }
    }
    Ok(table)
}

/// An upper bound of every pair's count: the sum over all pairs with the same few hash bits.
struct Sketch(Vec<u64>);

const SKETCH_BITS: u32 = 17;

impl Sketch {
    fn new<L: Layout>(records: &Records<L>, tick: &mut dyn FnMut() -> Result<()>) -> Result<Self> {
        let mut sketch = Self(vec![0; 1 << SKETCH_BITS]);
        for starts in records.starts().chunks(STRIDE) {
            tick()?;
            for &start in starts {
                let (count, tokens) = records.word(start);
                for pair in pairs(tokens) {
                    sketch.0[Self::slot(pair)] += count;
                }
            }
        }
        Ok(sketch)
    }

    #[inline(always)]
    fn slot(pair: Pair) -> usize {
        (pair.hash() >> (64 - SKETCH_BITS)) as usize
    }

    #[inline(always)]
    fn bound(&self, pair: Pair) -> u64 {
        self.0[Self::slot(pair)]
    }

    fn most(&self) -> u64 {
        self.0.iter().copied().max().unwrap_or(0)
    }
}
