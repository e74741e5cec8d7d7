//! What a level can do.
//!
//! Pre-tokenizing asks questions about 64 bytes at once ([`Bytes64`]); encoding looks up cache lines
//! of eight words, finds the smallest of sixteen numbers and unpacks ids ([`Lanes`]); training finds
//! pairs of tokens in words and replaces them ([`RecordOps`]). A method with a body here is plain
//! Rust; levels replace it where vectors are faster.

use std::mem::MaybeUninit;

/// 64 bytes; every question is answered with one bit per byte, the first byte in the lowest bit.
///
/// A value exists only where the processor has the level's instructions, because loading one is
/// unsafe; its methods therefore are safe.
pub(crate) trait Bytes64: Copy {
    /// Load 64 bytes.
    ///
    /// # Safety
    /// The processor has the level's instructions: call it only in code that `dispatch!` runs, or
    /// for `Portable`.
    unsafe fn load(bytes: &[u8; 64]) -> Self;

    /// Load at most 64 bytes, and zeros behind them.
    ///
    /// # Safety
    /// As for [`Bytes64::load`].
    ///
    /// # Panics
    /// When there are more than 64 bytes.
    #[inline(always)]
    unsafe fn load_few(bytes: &[u8]) -> Self {
        let mut padded = [0; 64];
        padded[..bytes.len()].copy_from_slice(bytes);
        // SAFETY: the caller's promise.
        unsafe { Self::load(&padded) }
    }

    /// Bytes equal to `byte`.
    fn eq(self, byte: u8) -> u64;

    /// Bytes from `low` to `high`, both included.
    fn range(self, low: u8, high: u8) -> u64;

    /// Bytes of 0x80 and more.
    fn high(self) -> u64;

    /// ASCII letters.
    fn letters(self) -> u64;

    /// Write `base` plus the number of each set bit of `mask` to `out`, in order; returns how
    /// many. Up to 64 words of `out` may be overwritten whatever the mask.
    ///
    /// # Safety
    /// As for [`Bytes64::load`].
    #[inline(always)]
    unsafe fn positions(mask: u64, base: u32, out: &mut [u32; 64]) -> usize {
        let (mut rest, mut count) = (mask, 0);
        while rest != 0 {
            out[count & 63] = base + rest.trailing_zeros();
            rest &= rest - 1;
            count += 1;
        }
        count
    }
}

/// Numbers of up to this many bits are packed three to a word.
pub(crate) const ID_BITS: u32 = 20;
/// From this bit on a packed word has one bit for each number that is present.
pub(crate) const PRESENT: u32 = 3 * ID_BITS;

/// A level that pieces are encoded with.
pub(crate) trait Lanes: Bytes64 {
    /// Unpack up to three numbers of [`ID_BITS`] bits from each of four words to the front of `out`;
    /// returns how many. Bit `PRESENT + i` of a word says whether it has a number `i`; the highest
    /// bit is zero. More of `out` may be overwritten.
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
}

/// Sixteen numbers. As with [`Bytes64`], a value exists only where the level's instructions do.
pub(crate) trait Keys: Copy {
    /// # Safety
    /// As for [`Bytes64::load`].
    unsafe fn load(keys: &[u32; 16]) -> Self;

    /// The smallest.
    fn least(self) -> u32;

    /// The same with `key` at the place whose bit is set in `place`; at most one bit is set.
    fn set(self, place: u16, key: u32) -> Self;
}

/// For levels without vectors of sixteen numbers.
impl Keys for [u32; 16] {
    #[inline(always)]
    unsafe fn load(keys: &[u32; 16]) -> Self {
        *keys
    }

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

/// Size and alignment of a block in bytes.
pub(crate) const BLOCK: usize = 32;
/// The header takes as much room as this many tokens.
pub(crate) const HEADER: usize = 4;

/// A level that works on records whose tokens are of type `T`.
///
/// A record is a word in memory: a header as large as [`HEADER`] tokens, then the word's tokens, in
/// whole blocks of [`BLOCK`] bytes, aligned to them. So a vector register loads a block and stores it
/// back without ever writing into the next record.
pub(crate) trait RecordOps<T: Copy + Eq> {
    /// Longest word, in tokens, that the methods take (at most 32).
    const WINDOW: usize = 28;

    /// Bit `i` is set if tokens `i` and `i + 1` are `left` and `right`.
    ///
    /// # Safety
    /// - `record` is the start of a record of `2 <= len <= WINDOW` tokens, and one more token
    ///   behind its blocks may be read.
    /// - The processor has the level's instructions, as for [`Bytes64::load`].
    #[inline(always)]
    unsafe fn find_pair(record: *const T, len: usize, left: T, right: T) -> u32 {
        // SAFETY: the record has `len` tokens behind its header.
        let tokens = unsafe { std::slice::from_raw_parts(record.add(HEADER), len) };
        tokens.windows(2).enumerate().fold(0, |found, (i, pair)| {
            found | u32::from(pair[0] == left && pair[1] == right) << i
        })
    }

    /// Write `new` over token `i` and move the tokens behind `i + 1` one to the left. The header
    /// stays as it is.
    ///
    /// # Safety
    /// As for [`RecordOps::find_pair`]; `i + 1 < len`; nobody else reads or writes the record.
    #[inline(always)]
    unsafe fn replace_pair(record: *mut T, len: usize, i: usize, new: T) {
        // SAFETY: the record has `len` tokens behind its header, which nobody else uses.
        let tokens = unsafe { std::slice::from_raw_parts_mut(record.add(HEADER), len) };
        tokens[i] = new;
        tokens.copy_within(i + 2.., i + 1);
    }
}

/// Tokens of 16 bits in a block, the header's included.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) const IN_BLOCK: usize = BLOCK / 2;

/// A bit for each pair of neighbours in a word of `len` tokens.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(super) fn all_pairs(len: usize) -> u32 {
    (1 << (len - 1)) - 1
}
