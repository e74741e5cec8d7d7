//! The ids of one piece in a 64-bit word: what the caches hold.

use crate::simd::{ID_BITS, PRESENT};

/// The bits of one packed id.
pub(super) const ID_MASK: u64 = (1 << ID_BITS) - 1;
/// Set if the ids are in the arena.
const IN_ARENA: u64 = 1 << 63;
/// Most ids of one value: the bits for a count in the arena.
pub(super) const MAX_IDS: usize = (1 << 28) - 1;

/// Either up to three packed ids, the first in the lowest bits, with a bit for each id from
/// [`PRESENT`] on; or a range of an arena of ids: its start (32 bits), its length (28 bits) and
/// [`IN_ARENA`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Value(u64);

impl Value {
    /// Pack the first `count` of `ids`, the others being 0. `None` if an id has too many bits.
    #[inline(always)]
    pub(super) fn packed(ids: [u32; 3], count: usize) -> Option<Self> {
        let [a, b, c] = ids.map(u64::from);
        let packed = a | b << ID_BITS | c << (2 * ID_BITS);
        ((a | b | c) <= ID_MASK).then(|| Self(packed | ((1 << count) - 1) << PRESENT))
    }

    /// Pack `ids`, or append them to `arena` if they do not fit. At most [`MAX_IDS`].
    #[inline]
    pub(super) fn new(ids: &[u32], arena: &mut Vec<u32>) -> Self {
        let fits = |&id: &u32| u64::from(id) <= ID_MASK;
        if ids.len() <= 3 && ids.iter().all(fits) {
            let packed = ids
                .iter()
                .rev()
                .fold(0, |packed, &id| packed << ID_BITS | u64::from(id));
            return Self(packed | ((1 << ids.len()) - 1) << PRESENT);
        }
        let start = arena.len() as u64;
        arena.extend_from_slice(ids);
        Self(start | (ids.len() as u64) << 32 | IN_ARENA)
    }

    /// The number of ids.
    #[inline(always)]
    pub(super) fn count(self) -> usize {
        if self.0 & IN_ARENA != 0 {
            (self.0 >> 32) as usize & MAX_IDS
        } else {
            (self.0 >> PRESENT).count_ones() as usize
        }
    }

    /// Whether the ids are in the arena.
    #[inline(always)]
    pub(super) fn is_in_arena(self) -> bool {
        self.0 & IN_ARENA != 0
    }

    /// The range of the ids in the arena; `None` if they are packed.
    #[inline(always)]
    pub(super) fn arena_range(self) -> Option<std::ops::Range<usize>> {
        let start = self.0 as u32 as usize;
        (self.0 & IN_ARENA != 0).then(|| start..start + self.count())
    }

    /// The word itself.
    #[inline(always)]
    pub(super) fn bits(self) -> u64 {
        self.0
    }
}

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
            let packed = [0, 1, 2].map(|i| (value.bits() >> (i * ID_BITS) & ID_MASK) as u32);
            let got = match value.arena_range() {
                Some(range) => arena[range].to_vec(),
                None => packed[..value.count()].to_vec(),
            };
            assert_eq!((got.as_slice(), value.count()), (ids, ids.len()));
        }
    }
}
