//! NEON, which every AArch64 has.

use std::arch::aarch64::*;

use super::{least_of, set_in, Bytes64, Lanes};

/// Four registers of 16 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Neon([uint8x16_t; 4]);

/// One bit per byte of four registers whose bytes are all ones or all zeros.
#[inline(always)]
fn mask(v: [uint8x16_t; 4]) -> u64 {
    const WEIGHTS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    // SAFETY: NEON is part of AArch64; the load reads the 16 bytes of WEIGHTS.
    unsafe {
        let weights = vld1q_u8(WEIGHTS.as_ptr());
        // Each byte keeps its own bit; three rounds of pairwise sums bring eight of them together.
        let [a, b, c, d] = v.map(|v| vandq_u8(v, weights));
        let sums = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
        vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)))
    }
}

impl Bytes64 for Neon {
    #[inline(always)]
    fn load(bytes: &[u8; 64]) -> Self {
        // SAFETY: NEON is part of AArch64; load i reads bytes 16 i .. 16 i + 16 of the 64.
        Self(std::array::from_fn(|i| unsafe {
            vld1q_u8(bytes.as_ptr().add(16 * i))
        }))
    }

    #[inline(always)]
    fn eq(self, byte: u8) -> u64 {
        // SAFETY: NEON is part of AArch64.
        mask(self.0.map(|v| unsafe { vceqq_u8(v, vdupq_n_u8(byte)) }))
    }

    #[inline(always)]
    fn range(self, low: u8, high: u8) -> u64 {
        // SAFETY: NEON is part of AArch64.
        mask(self.0.map(|v| unsafe {
            vcleq_u8(
                vsubq_u8(v, vdupq_n_u8(low)),
                vdupq_n_u8(high.wrapping_sub(low)),
            )
        }))
    }

    #[inline(always)]
    fn high(self) -> u64 {
        self.range(0x80, 0xFF)
    }

    #[inline(always)]
    fn letters(self) -> u64 {
        // SAFETY: NEON is part of AArch64.
        Self(self.0.map(|v| unsafe { vorrq_u8(v, vdupq_n_u8(0x20)) })).range(b'a', b'z')
    }
}

// A line of eight words takes four registers and a search for the set bit: no gain over the plain
// form.
impl Lanes for Neon {
    type Keys = [u32; 16];

    #[inline(always)]
    fn keys(keys: &[u32; 16]) -> [u32; 16] {
        *keys
    }

    #[inline(always)]
    fn least(keys: [u32; 16]) -> u32 {
        least_of(&keys)
    }

    #[inline(always)]
    fn set(keys: [u32; 16], place: u16, key: u32) -> [u32; 16] {
        set_in(keys, place, key)
    }
}
