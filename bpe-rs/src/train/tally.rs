//! What one thread finds when all pairs are counted, and how the findings add up.

use super::pairs::{Pair, PairTable, Watched};
use crate::memory::LargeVec;

/// As long as ids fit a byte, pairs are counted in an array of all of them.
const DENSE: usize = 1 << 16;
/// In `start`: the pair is not watched.
pub(super) const UNWATCHED: u32 = u32::MAX;

/// Pairs with their counts and number of places, as one thread finds them.
pub(super) trait Tally: Send {
    fn entry(&mut self, pair: Pair) -> &mut Watched;
    fn find(&mut self, pair: Pair) -> Option<&mut Watched>;
    fn counted(&self) -> impl Iterator<Item = &Watched>;
    /// Keep `watched`, and forget all others.
    fn reduced_to(self, watched: Vec<Watched>) -> Self;

    #[inline(always)]
    fn add(&mut self, pair: Pair, count: u64) {
        let slot = self.entry(pair);
        slot.count += count;
        slot.places += 1;
    }
}

impl Tally for PairTable {
    #[inline(always)]
    fn entry(&mut self, pair: Pair) -> &mut Watched {
        PairTable::entry(self, pair)
    }

    #[inline(always)]
    fn find(&mut self, pair: Pair) -> Option<&mut Watched> {
        self.get_mut(pair)
    }

    fn counted(&self) -> impl Iterator<Item = &Watched> {
        self.iter()
    }

    fn reduced_to(self, watched: Vec<Watched>) -> Self {
        drop(self);
        // Most pairs are looked up in vain, which is fast where much is vacant.
        let mut reduced = Self::with_room_for(watched.len() * 2);
        for slot in watched {
            *reduced.entry(slot.pair) = slot;
        }
        reduced
    }
}

/// All pairs of ids below 256.
pub(super) struct Dense(Vec<Watched>);

impl Dense {
    /// One more than the greatest id.
    pub(super) const IDS: usize = DENSE.isqrt();

    #[inline(always)]
    fn index(pair: Pair) -> usize {
        (pair.left() as usize * Self::IDS + pair.right() as usize) % DENSE
    }
}

impl Default for Dense {
    fn default() -> Self {
        let side = Self::IDS as u32;
        let vacant = |index| Watched {
            pair: Pair::new(index / side, index % side),
            count: 0,
            start: UNWATCHED,
            places: 0,
        };
        Self((0..DENSE as u32).map(vacant).collect())
    }
}

impl Tally for Dense {
    #[inline(always)]
    fn entry(&mut self, pair: Pair) -> &mut Watched {
        &mut self.0[Self::index(pair)]
    }

    #[inline(always)]
    fn find(&mut self, pair: Pair) -> Option<&mut Watched> {
        Some(self.entry(pair))
    }

    fn counted(&self) -> impl Iterator<Item = &Watched> {
        self.0.iter().filter(|slot| slot.places > 0)
    }

    fn reduced_to(mut self, watched: Vec<Watched>) -> Self {
        for slot in watched {
            *self.entry(slot.pair) = slot;
        }
        self
    }
}

/// All of `tallies` together.
pub(super) fn sum_of(tallies: &[impl Tally]) -> PairTable {
    let mut total = PairTable::with_room_for(tallies[0].counted().count());
    for slot in tallies.iter().flat_map(Tally::counted) {
        let sum = total.entry(slot.pair);
        sum.count += slot.count;
        sum.places += slot.places;
    }
    total
}

/// An upper bound of every pair's count: the sum over all pairs with the same few hash bits, or
/// `u32::MAX` where that is more.
pub(super) struct Sketch {
    sums: LargeVec<u32>,
    shift: u32,
}

impl Sketch {
    /// For so many places: more sums than there may be distinct pairs, since a rare pair that is
    /// not told from a frequent one takes more room in a tally.
    pub(super) fn sized_for(places: usize) -> Self {
        let bits = (places * 2).max(1).ilog2().clamp(16, 20);
        Self {
            sums: LargeVec::zeroed_now(1 << bits),
            shift: 64 - bits,
        }
    }

    #[inline(always)]
    pub(super) fn add(&mut self, pair: Pair, count: u64) {
        let sum = &mut self.sums[(pair.hash() >> self.shift) as usize];
        *sum = sum.saturating_add(count.min(u32::MAX.into()) as u32);
    }

    #[inline(always)]
    pub(super) fn bound(&self, pair: Pair) -> u64 {
        self.sums[(pair.hash() >> self.shift) as usize].into()
    }

    pub(super) fn greatest(&self) -> u64 {
        self.sums.iter().copied().max().unwrap_or(0).into()
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (sum, more) in self.sums.iter_mut().zip(other.sums.iter()) {
            *sum = sum.saturating_add(*more);
        }
    }
}
