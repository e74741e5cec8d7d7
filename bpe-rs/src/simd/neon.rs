//! NEON, which every AArch64 has.

use std::arch::aarch64::*;

use super::ops::{all_pairs, Bytes64, Lanes, RecordOps, HEADER, IN_BLOCK};

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
    unsafe fn load(bytes: &[u8; 64]) -> Self {
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

// Eight words take four registers and a search for the set bit: no gain over plain Rust.
impl Lanes for Neon {
    type Keys = [u32; 16];
}

/// Tokens of 16 bits in a vector, which is half a block.
const LANES: usize = IN_BLOCK / 2;
const LANE: [u16; LANES] = [0, 1, 2, 3, 4, 5, 6, 7];
const BIT: [u16; LANES] = [1, 2, 4, 8, 16, 32, 64, 128];

impl RecordOps<u16> for Neon {
    #[inline(always)]
    unsafe fn find_pair(record: *const u16, len: usize, left: u16, right: u16) -> u32 {
        // SAFETY: the record's blocks and one token behind them may be read.
        unsafe {
            let (left, right) = (vdupq_n_u16(left), vdupq_n_u16(right));
            let bits = vld1q_u16(BIT.as_ptr());
            let mut found = 0;
            for at in (0..HEADER + len).step_by(LANES) {
                let here = vceqq_u16(vld1q_u16(record.add(at)), left);
                let next = vceqq_u16(vld1q_u16(record.add(at + 1)), right);
                found |= u32::from(vaddvq_u16(vandq_u16(vandq_u16(here, next), bits))) << at;
            }
            found >> HEADER & all_pairs(len)
        }
    }

    #[inline(always)]
    unsafe fn replace_pair(record: *mut u16, len: usize, i: usize, new: u16) {
        let hole = i + HEADER;
        // SAFETY: as above; the vectors written lie in this record's blocks.
        unsafe {
            let end = HEADER + len;
            let first = hole / LANES * LANES;
            let lanes = vld1q_u16(LANE.as_ptr());
            for at in (first..end).step_by(LANES) {
                let here = vld1q_u16(record.add(at));
                let next = vld1q_u16(record.add(at + 1));
                // In the first vector the lanes up to the hole stay; in the others all move.
                let stays = if at == first {
                    vcleq_u16(lanes, vdupq_n_u16((hole - at) as u16))
                } else {
                    vdupq_n_u16(0)
                };
                vst1q_u16(record.add(at), vbslq_u16(stays, here, next));
            }
            *record.add(hole) = new;
        }
    }
}

// Past 65,535 ids words are a few tokens long: vectors would not pay.
impl RecordOps<u32> for Neon {}
