//! Questions about 64 bytes of text, answered for all of them at once.

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
