//! The pair table: which two adjacent parts merge into which token.
//!
//! A hash table of buckets of eight entries. A bucket is one cache line, so a look-up costs one
//! memory access; key and value share one 64-bit word.

use crate::memory::{LargeVec, Zeroable};
use crate::simd::{prefetch_at, Lanes};

/// The value for "these two do not merge"; no token has this number.
pub(crate) const NO_MERGE: u32 = (1 << ID_BITS) - 1;
/// Bits of a merge number: a word holds the two numbers of a pair and the number they merge into.
const ID_BITS: u32 = 20;

const KEY_BITS: u32 = 2 * ID_BITS;
const KEY_MASK: u64 = (1 << KEY_BITS) - 1;
const EMPTY: u64 = u64::MAX;
/// Entries in a bucket.
const WAYS: usize = 8;

/// Entries that share a cache line, filled from the front.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket([u64; WAYS]);

// SAFETY: numbers only; buckets of 64 bytes.
unsafe impl Zeroable for Bucket {}

/// Maps `(left, right)` to the merge number of the merged token. Open addressing by whole
/// buckets: a full bucket spills into the next one.
pub(crate) struct PairTable {
    buckets: LargeVec<Bucket>,
    shift: u32,
    len: usize,
}

impl PairTable {
    /// An empty table that `pairs` entries fill to at most a half.
    pub(super) fn with_capacity(pairs: usize) -> Self {
        let mut buckets = LargeVec::table((pairs / (WAYS / 2) + 1).next_power_of_two());
        buckets.fill(Bucket([EMPTY; WAYS]));
        Self {
            // A table of one bucket would shift by 64, which is an overflow.
            shift: (64 - buckets.len().trailing_zeros()).min(63),
            buckets,
            len: 0,
        }
    }

    #[inline(always)]
    fn key(left: u32, right: u32) -> u64 {
        u64::from(left) << ID_BITS | u64::from(right)
    }

    /// The bucket in which the search for `key` begins, by Fibonacci hashing. Keys come from the
    /// vocabulary, not from the text, so a text cannot be crafted to make keys collide.
    #[inline(always)]
    fn home(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize & (self.buckets.len() - 1)
    }

    /// Insert `(left, right) -> merged`. The numbers are below [`NO_MERGE`] and the pair is not in
    /// the table.
    ///
    /// # Panics
    /// If the table would be full, because the search for a missing pair ends at an empty entry.
    pub(super) fn insert(&mut self, left: u32, right: u32, merged: u32) {
        debug_assert!(left < NO_MERGE && right < NO_MERGE && merged < NO_MERGE);
        let slots = WAYS * self.buckets.len();
        assert!(
            self.len + 1 < slots,
            "expected fewer than {slots} pairs, got one more"
        );
        let key = Self::key(left, right);
        let mut at = self.home(key);
        loop {
            if let Some(slot) = self.buckets[at].0.iter_mut().find(|slot| **slot == EMPTY) {
                *slot = key | u64::from(merged) << KEY_BITS;
                self.len += 1;
                return;
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
    }

    /// The number of the token that `left` and `right` merge into, or [`NO_MERGE`].
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
            // Only a full bucket spills. Whether a pair is there cannot be predicted, so the
            // result is selected without a branch.
            if missing & (bucket[WAYS - 1] != EMPTY) {
                at = (at + 1) & (self.buckets.len() - 1);
                continue;
            }
            let merged = (bucket[way % WAYS] >> KEY_BITS) as u32;
            return if missing { NO_MERGE } else { merged };
        }
    }

    /// Fetch the memory in which [`Self::get`] looks for a pair first.
    #[inline(always)]
    pub(crate) fn prefetch(&self, left: u32, right: u32) {
        let home = self.home(Self::key(left, right));
        prefetch_at(self.buckets.as_ptr().wrapping_add(home));
    }

    /// All entries, `(left, right, merged)`, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
        self.buckets
            .iter()
            .flat_map(|b| b.0)
            .filter(|&slot| slot != EMPTY)
            .map(|slot| {
                let left = slot >> ID_BITS & u64::from(NO_MERGE);
                let right = slot & u64::from(NO_MERGE);
                (
                    left as u32,
                    right as u32,
                    (slot >> KEY_BITS & u64::from(NO_MERGE)) as u32,
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::simd::Portable;
    use crate::testing::{rounds, Random};

    #[test]
    fn agrees_with_a_hash_map() {
        let (mut reference, mut random) = (HashMap::new(), Random(1));
        let most = rounds(5000, 300);
        for i in 0..most as u32 {
            let pair = (random.below(300) as u32, random.below(300) as u32);
            reference.insert(pair, i);
        }
        // The smallest capacity is exceeded on purpose: buckets spill.
        for capacity in [0, 2 * most, 4 * most] {
            let mut table = PairTable::with_capacity(capacity.max(reference.len() / 2));
            for (&(left, right), &merged) in &reference {
                table.insert(left, right, merged);
            }
            for left in (0..300).step_by(rounds(1, 17)) {
                for right in (0..300).step_by(rounds(1, 5)) {
                    let want = reference.get(&(left, right)).copied().unwrap_or(NO_MERGE);
                    assert_eq!(table.get::<Portable>(left, right), want);
                }
            }
            assert_eq!(table.iter().count(), reference.len());
            assert!(table.iter().all(|(l, r, m)| reference[&(l, r)] == m));
        }
    }

    #[test]
    #[should_panic(expected = "fewer than 8 pairs")]
    fn a_table_is_never_full() {
        let mut table = PairTable::with_capacity(0);
        for left in 0..8 {
            table.insert(left, 0, 256);
        }
    }
}
