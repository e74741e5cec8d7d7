//! NEON, which every aarch64 processor has.

use std::arch::aarch64::*;

use super::super::records::{Layout, Narrow, Wide, HEADER};
use super::Isa;

pub(super) struct Neon;

/// Lanes of a vector of 16-bit tokens.
const LANES: usize = 8;
const LANE: [u16; LANES] = [0, 1, 2, 3, 4, 5, 6, 7];
const BIT: [u16; LANES] = [1, 2, 4, 8, 16, 32, 64, 128];

impl Isa<Narrow> for Neon {
    const WINDOW: usize = 28;

    #[inline(always)]
    unsafe fn find(record: *const u16, len: usize, left: u16, right: u16) -> u32 {
        // SAFETY: the record's units and the one behind them are readable.
        unsafe {
            let (left, right) = (vdupq_n_u16(left), vdupq_n_u16(right));
            let bits = vld1q_u16(BIT.as_ptr());
            let mut found = 0;
            for at in (0..HEADER + len).step_by(LANES) {
                let here = vceqq_u16(vld1q_u16(record.add(at)), left);
                let next = vceqq_u16(vld1q_u16(record.add(at + 1)), right);
                found |= u32::from(vaddvq_u16(vandq_u16(vandq_u16(here, next), bits))) << at;
            }
            found >> HEADER & ((1 << (len - 1)) - 1)
        }
    }

    #[inline(always)]
    unsafe fn close(record: *mut u16, i: usize, new: u16) {
        let hole = i + HEADER;
        // SAFETY: as above; the vectors written lie in this record's units.
        unsafe {
            let end = HEADER + Narrow::header(record).1;
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

impl Isa<Wide> for Neon {
    const WINDOW: usize = 28;

    #[inline(always)]
    unsafe fn find(record: *const u32, len: usize, left: u32, right: u32) -> u32 {
        // Past 65,535 ids words are a few tokens long: vectors would not pay.
        // SAFETY: the caller's promises are the same.
        unsafe { <super::portable::Portable as Isa<Wide>>::find(record, len, left, right) }
    }

    #[inline(always)]
    unsafe fn close(record: *mut u32, i: usize, new: u32) {
        // SAFETY: the caller's promises are the same.
        unsafe { <super::portable::Portable as Isa<Wide>>::close(record, i, new) }
    }
}
