//! The pair table: which two neighbours merge into which token.

use crate::simd::Lanes;

/// "These two do not merge", and the one number that is never a token's.
pub const NONE: u32 = (1 << ID_BITS) - 1;
/// Bits of a merge number: two make a key, key and value share one word.
const ID_BITS: u32 = 20;

const KEY_BITS: u32 = 2 * ID_BITS;
const KEY_MASK: u64 = (1 << KEY_BITS) - 1;
const EMPTY: u64 = u64::MAX;
/// Entries in a bucket: one cache line, so a look-up costs one memory access.
const WAYS: usize = 8;

/// Entries that share a cache line, filled from the front.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket([u64; WAYS]);

/// Maps `(left, right)` to the number of the merged token. Open addressing by whole buckets: a
/// full bucket spills into the next one.
#[derive(Clone)]
pub struct PairTable {
    buckets: Box<[Bucket]>,
    shift: u32,
}

impl PairTable {
    /// An empty table with room for `pairs` entries at no more than half load.
    pub fn with_capacity(pairs: usize) -> Self {
        let buckets = (pairs / (WAYS / 2) + 1).next_power_of_two();
        Self {
            buckets: vec![Bucket([EMPTY; WAYS]); buckets].into_boxed_slice(),
            // A table of one bucket would shift by 64.
            shift: (64 - buckets.trailing_zeros()).min(63),
        }
    }

    #[inline(always)]
    fn key(left: u32, right: u32) -> u64 {
        u64::from(left) << ID_BITS | u64::from(right)
    }

    #[inline(always)]
    fn home(&self, key: u64) -> usize {
        // Fibonacci hashing: the keys come from the vocabulary, not from the text, so nobody can
        // craft collisions by sending text.
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize & (self.buckets.len() - 1)
    }

    /// Enter `(left, right) -> merged`. The pair must be new; all three below [`NONE`].
    pub fn insert(&mut self, left: u32, right: u32, merged: u32) {
        debug_assert!(left < NONE && right < NONE && merged < NONE);
        let key = Self::key(left, right);
        let mut at = self.home(key);
        loop {
            if let Some(slot) = self.buckets[at].0.iter_mut().find(|slot| **slot == EMPTY) {
                *slot = key | u64::from(merged) << KEY_BITS;
                return;
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
    }

    /// The token that `left` and `right` merge into, or [`NONE`].
    #[inline(always)]
    pub(crate) fn get<S: Lanes>(&self, left: u32, right: u32) -> u32 {
        let key = Self::key(left, right);
        let mut at = self.home(key);
        loop {
            // SAFETY: `home` and the step below both mask with the length, a power of two, less 1.
            let bucket = unsafe { &self.buckets.get_unchecked(at).0 };
            // SAFETY: `S` comes from `dispatch!` or is `Portable`.
            let way = unsafe { S::find(bucket, key, KEY_MASK) };
            let missing = way == WAYS;
            // Only a full bucket spills. Whether a pair is there nobody can foretell, so that is
            // no branch.
            if missing & (bucket[WAYS - 1] != EMPTY) {
                at = (at + 1) & (self.buckets.len() - 1);
                continue;
            }
            let merged = (bucket[way % WAYS] >> KEY_BITS) as u32;
            return if missing { NONE } else { merged };
        }
    }

    /// All entries, `(left, right, merged)`, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
        self.buckets
            .iter()
            .flat_map(|b| b.0)
            .filter(|&slot| slot != EMPTY)
            .map(|slot| {
                let left = slot >> ID_BITS & u64::from(NONE);
                let right = slot & u64::from(NONE);
                (
                    left as u32,
                    right as u32,
                    (slot >> KEY_BITS & u64::from(NONE)) as u32,
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;
    use std::collections::HashMap;

    #[test]
    fn agrees_with_a_hash_map() {
        let mut twin = HashMap::new();
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u32
        };
        // Under Miri, which is slow, some of them.
        let most = if cfg!(miri) { 300 } else { 5000 };
        for i in 0..most {
            twin.insert((next() % 300, next() % 300), i);
        }
        // Far too small on purpose: buckets spill.
        for capacity in [0, 2 * most as usize, 4 * most as usize] {
            let mut table = PairTable::with_capacity(capacity.max(twin.len() / 2));
            for (&(left, right), &merged) in &twin {
                table.insert(left, right, merged);
            }
            for left in (0..300).step_by(if cfg!(miri) { 17 } else { 1 }) {
                for right in (0..300).step_by(if cfg!(miri) { 5 } else { 1 }) {
                    let want = twin.get(&(left, right)).copied().unwrap_or(NONE);
                    assert_eq!(table.get::<Portable>(left, right), want);
                }
            }
            assert_eq!(table.iter().count(), twin.len());
            assert!(table.iter().all(|(l, r, m)| twin[&(l, r)] == m));
        }
    }
}
