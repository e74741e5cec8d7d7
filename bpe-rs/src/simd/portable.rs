//! Plain Rust, eight bytes in a `u64` at a time: what the other levels are tested against.

use super::ops::{Bytes64, Lanes, RecordOps};

/// 64 bytes as eight little-endian words.
#[derive(Clone, Copy)]
pub(crate) struct Portable([u64; 8]);

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

impl Portable {
    /// Collect the top bits of the bytes that `test` leaves in each word.
    #[inline(always)]
    fn tops(self, test: impl Fn(u64) -> u64) -> u64 {
        let mut mask = 0;
        for (i, &word) in self.0.iter().enumerate() {
            // Gather one bit per byte: the product's top byte sums each bit at its own place.
            let bits = ((test(word) & TOPS) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            mask |= bits << (8 * i);
        }
        mask
    }

    /// Top bit of each byte of `word` that is at least `bound` (0..=255), the others undefined.
    #[inline(always)]
    fn at_least(word: u64, bound: u8) -> u64 {
        // Compare the low seven bits without borrowing between bytes, then decide by the tops.
        let low = (word | TOPS) - u64::from(bound & 0x7F) * ONES;
        if bound < 0x80 {
            low | word
        } else {
            low & word
        }
    }
}

impl Bytes64 for Portable {
    #[inline(always)]
    unsafe fn load(bytes: &[u8; 64]) -> Self {
        let word = |i: usize| u64::from_le_bytes(std::array::from_fn(|j| bytes[8 * i + j]));
        Self(std::array::from_fn(word))
    }

    #[inline(always)]
    fn eq(self, byte: u8) -> u64 {
        self.tops(|word| {
            let zero = word ^ (u64::from(byte) * ONES);
            !(((zero & !TOPS) + !TOPS) | zero)
        })
    }

    #[inline(always)]
    fn range(self, low: u8, high: u8) -> u64 {
        self.tops(|word| {
            let below_high = if high == u8::MAX {
                TOPS
            } else {
                !Self::at_least(word, high + 1)
            };
            Self::at_least(word, low) & below_high
        })
    }

    #[inline(always)]
    fn high(self) -> u64 {
        self.tops(|word| word)
    }

    #[inline(always)]
    fn letters(self) -> u64 {
        self.tops(|word| {
            let folded = word | (0x20 * ONES);
            Self::at_least(folded, b'a') & !Self::at_least(folded, b'z' + 1)
        })
    }
}

impl Lanes for Portable {
    type Keys = [u32; 16];
}

impl<T: Copy + Eq> RecordOps<T> for Portable {}
