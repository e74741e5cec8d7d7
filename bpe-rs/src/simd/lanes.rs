//! What encoding a piece needs of a level: look-ups in a cache line of eight words, the smallest
//! of sixteen numbers, numbers unpacked from words.

use std::mem::MaybeUninit;

use super::bytes64::Bytes64;

/// Numbers of up to this many bits are packed three to a word.
pub(crate) const ID_BITS: u32 = 20;
/// From this bit on a packed word has one bit for each number that is present.
pub(crate) const PRESENT: u32 = 3 * ID_BITS;

/// A level that pieces are encoded with.
pub(crate) trait Lanes: Bytes64 {
    /// Unpack four words of three numbers of [`ID_BITS`] bits each to the front of `out`, but only
    /// numbers `i` whose bit `PRESENT + i` is set, which are a word's first ones; returns how many.
    /// The highest bits are zero. More of `out` may be overwritten.
    ///
    /// # Safety
    /// As for [`Bytes64::load`].
    #[inline(always)]
    unsafe fn unpack(packed: &[u64; 4], out: &mut [MaybeUninit<u32>; 16]) -> usize {
        let mut count = 0;
        for word in packed {
            for i in 0..3 {
                let number = word >> (i * ID_BITS) & ((1 << ID_BITS) - 1);
                out[count + i as usize].write(number as u32);
            }
            count += (word >> PRESENT).count_ones() as usize;
        }
        count
    }

    /// The first of `slots` that equals `key` in the bits of `mask`, or 8.
    ///
    /// # Safety
    /// As for [`Bytes64::load`].
    #[inline(always)]
    unsafe fn find(slots: &[u64; 8], key: u64, mask: u64) -> usize {
        slots
            .iter()
            .position(|slot| slot & mask == key)
            .unwrap_or(8)
    }

    /// Sixteen numbers in the form in which this level finds the smallest one fastest.
    type Keys: Keys;

    /// Bring sixteen numbers into that form.
    ///
    /// # Safety
    /// As for [`Bytes64::load`].
    unsafe fn keys(keys: &[u32; 16]) -> Self::Keys;
}

/// Sixteen numbers. As with [`Bytes64`], a value exists only where the level's instructions do.
pub(crate) trait Keys: Copy {
    /// The smallest.
    fn least(self) -> u32;

    /// The same with `key` at the place whose bit is set in `place`; at most one bit is set.
    fn set(self, place: u16, key: u32) -> Self;
}

/// For levels without vectors of sixteen numbers.
impl Keys for [u32; 16] {
    #[inline(always)]
    fn least(self) -> u32 {
        // Four at a time: one chain of comparisons would be as long as the array.
        let least = |at: usize| {
            self[at]
                .min(self[at + 4])
                .min(self[at + 8])
                .min(self[at + 12])
        };
        least(0).min(least(1)).min(least(2).min(least(3)))
    }

    #[inline(always)]
    fn set(mut self, place: u16, key: u32) -> Self {
        let at = place.trailing_zeros() as usize % 16;
        self[at] = if place == 0 { self[at] } else { key };
        self
    }
}
