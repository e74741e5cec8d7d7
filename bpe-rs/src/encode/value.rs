//! The ids of a piece in one word: what the caches hold.

use crate::simd::{ID_BITS, THERE};

/// An id's bits.
pub(super) const ID_MASK: u64 = (1 << ID_BITS) - 1;
/// Says that the ids are in the arena.
const FAR: u64 = 1 << 63;

/// Up to three ids, or a place in an arena of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Value(u64);

impl Value {
    /// Pack the first `count` of `ids`, the others being 0, if they fit.
    #[inline(always)]
    pub(super) fn near(ids: [u32; 3], count: usize) -> Option<Self> {
        let [a, b, c] = ids.map(u64::from);
        let packed = a | b << ID_BITS | c << (2 * ID_BITS);
        ((a | b | c) <= ID_MASK).then(|| Self(packed | ((1 << count) - 1) << THERE))
    }

    /// Pack `ids`, moving them to the end of `arena` when they do not fit.
    #[inline]
    pub(super) fn new(ids: &[u32], arena: &mut Vec<u32>) -> Self {
        let fits = |&id: &u32| u64::from(id) <= ID_MASK;
        if ids.len() <= 3 && ids.iter().all(fits) {
            let packed = ids
                .iter()
                .rev()
                .fold(0, |packed, &id| packed << ID_BITS | u64::from(id));
            return Self(packed | ((1 << ids.len()) - 1) << THERE);
        }
        let at = arena.len() as u64;
        arena.extend_from_slice(ids);
        Self(at | (ids.len() as u64) << 32 | FAR)
    }

    /// How many ids.
    #[inline(always)]
    pub(super) fn count(self) -> usize {
        if self.0 & FAR != 0 {
            (self.0 >> 32 & 0xFFF_FFFF) as usize
        } else {
            (self.0 >> THERE).count_ones() as usize
        }
    }

    /// Whether the ids are in the arena.
    #[inline(always)]
    pub(super) fn is_far(self) -> bool {
        self.0 & FAR != 0
    }

    /// The place in the arena, unless the ids are here.
    #[inline(always)]
    pub(super) fn far(self) -> Option<std::ops::Range<usize>> {
        let at = self.0 as u32 as usize;
        (self.0 & FAR != 0).then(|| at..at + self.count())
    }

    /// The ids, if [`Self::far`] is `None`; those from [`Self::count`] on mean nothing.
    #[cfg(test)]
    fn ids(self) -> [u32; 3] {
        [0, 1, 2].map(|i| (self.0 >> (i * ID_BITS) & ID_MASK) as u32)
    }

    /// The packed form: ids from the lowest bit up, [`THERE`], the highest bit if not packed.
    #[inline(always)]
    pub(super) fn bits(self) -> u64 {
        self.0
    }
}

/// Ids of one arena entry: more than any cached piece can have.
pub(super) const FAR_LIMIT: usize = (1 << 28) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_hold_their_ids() {
        let mut arena = vec![9; 5];
        for ids in [
            &[][..],
            &[0],
            &[1, 2],
            &[1, 0, 1_048_575],
            &[1, 2, 3, 4],
            &[1_048_576],
        ] {
            let value = Value::new(ids, &mut arena);
            let got = match value.far() {
                Some(place) => arena[place].to_vec(),
                None => value.ids()[..value.count()].to_vec(),
            };
            assert_eq!((got.as_slice(), value.count()), (ids, ids.len()));
        }
    }
}
