//! AVX2 and AVX-512.
//!
//! Both compare the record with `left` and the record one token further on with `right`; the gap
//! is closed by choosing, lane by lane, between the record and itself one token further on.

use std::arch::x86_64::*;

use super::super::apply::{apply, Merge, Neighbourhood};
use super::super::records::{Layout, Narrow, Wide, HEADER};
use super::Isa;

#[derive(Clone, Copy)]
pub(super) struct Avx2;

#[derive(Clone, Copy)]
pub(super) struct Avx512;

/// # Safety
/// As for [`apply`]; the processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn apply_avx2<L: Layout>(
    base: *mut L::Token,
    places: &[u32],
    merge: Merge,
    hood: &mut Neighbourhood,
) where
    Avx2: Isa<L>,
{
    // SAFETY: the caller's promise.
    unsafe { apply::<L, Avx2>(base, places, merge, hood) }
}

/// # Safety
/// As for [`apply`]; the processor has AVX-512 F, BW and VL, and what is named below.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt,lzcnt")]
pub(super) unsafe fn apply_avx512<L: Layout>(
    base: *mut L::Token,
    places: &[u32],
    merge: Merge,
    hood: &mut Neighbourhood,
) where
    Avx512: Isa<L>,
{
    // SAFETY: the caller's promise.
    unsafe { apply::<L, Avx512>(base, places, merge, hood) }
}

/// Tokens of a narrow record that lie in its first unit.
const NARROW_FIRST: usize = Narrow::LANES - HEADER;
/// Tokens of a wide record that lie in its first unit.
const WIDE_FIRST: usize = Wide::LANES - HEADER;

/// Bits of the pairs that a word of `len` tokens has.
#[inline(always)]
fn pairs_of(len: usize) -> u32 {
    (1 << (len - 1)) - 1
}

impl Isa<Narrow> for Avx2 {
    const WINDOW: usize = 28;

    #[inline(always)]
    unsafe fn find(record: *const u16, len: usize, left: u16, right: u16) -> u32 {
        // SAFETY: the record's units and the one behind them are readable; AVX2 is there.
        unsafe {
            let (left, right) = (
                _mm256_set1_epi16(left as i16),
                _mm256_set1_epi16(right as i16),
            );
            let equal = |at: *const u16| {
                let here = _mm256_load_si256(at.cast());
                let next = _mm256_loadu_si256(at.add(1).cast());
                _mm256_and_si256(
                    _mm256_cmpeq_epi16(here, left),
                    _mm256_cmpeq_epi16(next, right),
                )
            };
            let first = equal(record);
            let second = if len <= NARROW_FIRST {
                _mm256_setzero_si256()
            } else {
                equal(record.add(Narrow::LANES))
            };
            // Packing works on 128-bit halves; the permutation puts them back in order.
            let bytes =
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(first, second));
            (_mm256_movemask_epi8(bytes) as u32) >> HEADER & pairs_of(len)
        }
    }

    #[inline(always)]
    unsafe fn close(record: *mut u16, i: usize, new: u16) {
        // SAFETY: as above; a store writes whole units of this record only.
        unsafe {
            let len = Narrow::header(record).1;
            let new = _mm256_set1_epi16(new as i16);
            let at = _mm256_set1_epi16((i + HEADER) as i16);
            let lanes = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let shut = |unit: *mut u16, lanes: __m256i| {
                let here = _mm256_load_si256(unit.cast());
                let next = _mm256_loadu_si256(unit.add(1).cast());
                let moved = _mm256_blendv_epi8(here, next, _mm256_cmpgt_epi16(lanes, at));
                let done = _mm256_blendv_epi8(moved, new, _mm256_cmpeq_epi16(lanes, at));
                _mm256_store_si256(unit.cast(), done);
            };
            shut(record, lanes);
            if len > NARROW_FIRST {
                let further = _mm256_add_epi16(lanes, _mm256_set1_epi16(Narrow::LANES as i16));
                shut(record.add(Narrow::LANES), further);
            }
        }
    }
}

impl Isa<Wide> for Avx2 {
    const WINDOW: usize = 12;

    #[inline(always)]
    unsafe fn find(record: *const u32, len: usize, left: u32, right: u32) -> u32 {
        // SAFETY: the record's units and the one behind them are readable; AVX2 is there.
        unsafe {
            let (left, right) = (
                _mm256_set1_epi32(left as i32),
                _mm256_set1_epi32(right as i32),
            );
            let equal = |at: *const u32| {
                let here = _mm256_load_si256(at.cast());
                let next = _mm256_loadu_si256(at.add(1).cast());
                let both = _mm256_and_si256(
                    _mm256_cmpeq_epi32(here, left),
                    _mm256_cmpeq_epi32(next, right),
                );
                _mm256_movemask_ps(_mm256_castsi256_ps(both)) as u32
            };
            let mut found = equal(record);
            if len > WIDE_FIRST {
                found |= equal(record.add(Wide::LANES)) << Wide::LANES;
            }
            found >> HEADER & pairs_of(len)
        }
    }

    #[inline(always)]
    unsafe fn close(record: *mut u32, i: usize, new: u32) {
        // SAFETY: as above; a store writes whole units of this record only.
        unsafe {
            let len = Wide::header(record).1;
            let new = _mm256_set1_epi32(new as i32);
            let at = _mm256_set1_epi32((i + HEADER) as i32);
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let shut = |unit: *mut u32, lanes: __m256i| {
                let here = _mm256_load_si256(unit.cast());
                let next = _mm256_loadu_si256(unit.add(1).cast());
                let moved = _mm256_blendv_epi8(here, next, _mm256_cmpgt_epi32(lanes, at));
                let done = _mm256_blendv_epi8(moved, new, _mm256_cmpeq_epi32(lanes, at));
                _mm256_store_si256(unit.cast(), done);
            };
            shut(record, lanes);
            if len > WIDE_FIRST {
                shut(
                    record.add(Wide::LANES),
                    _mm256_add_epi32(lanes, _mm256_set1_epi32(Wide::LANES as i32)),
                );
            }
        }
    }
}

impl Isa<Narrow> for Avx512 {
    const WINDOW: usize = 28;

    #[inline(always)]
    unsafe fn find(record: *const u16, len: usize, left: u16, right: u16) -> u32 {
        // SAFETY: the record's units and the one behind them are readable; BW and VL are there.
        let found = unsafe {
            if len <= NARROW_FIRST {
                let here = _mm256_load_si256(record.cast());
                let next = _mm256_loadu_si256(record.add(1).cast());
                let same = _mm256_cmpeq_epi16_mask(here, _mm256_set1_epi16(left as i16));
                let right = _mm256_set1_epi16(right as i16);
                _mm256_mask_cmpeq_epi16_mask(same, next, right) as u32
            } else {
                let here = _mm512_loadu_si512(record.cast());
                let next = _mm512_loadu_si512(record.add(1).cast());
                let same = _mm512_cmpeq_epi16_mask(here, _mm512_set1_epi16(left as i16));
                _mm512_mask_cmpeq_epi16_mask(same, next, _mm512_set1_epi16(right as i16))
            }
        };
        found >> HEADER & pairs_of(len)
    }

    #[inline(always)]
    unsafe fn close(record: *mut u16, i: usize, new: u16) {
        let at = i + HEADER;
        let behind = !0u32 << at << 1;
        // SAFETY: as above; a store writes whole units of this record only.
        unsafe {
            if Narrow::header(record).1 <= NARROW_FIRST {
                let here = _mm256_load_si256(record.cast());
                let next = _mm256_loadu_si256(record.add(1).cast());
                let moved = _mm256_mask_mov_epi16(here, behind as u16, next);
                let done = _mm256_mask_set1_epi16(moved, 1 << at, new as i16);
                _mm256_store_si256(record.cast(), done);
            } else {
                let here = _mm512_loadu_si512(record.cast());
                let next = _mm512_loadu_si512(record.add(1).cast());
                let moved = _mm512_mask_mov_epi16(here, behind, next);
                let done = _mm512_mask_set1_epi16(moved, 1 << at, new as i16);
                _mm512_storeu_si512(record.cast(), done);
            }
        }
    }
}

impl Isa<Wide> for Avx512 {
    const WINDOW: usize = 12;

    #[inline(always)]
    unsafe fn find(record: *const u32, len: usize, left: u32, right: u32) -> u32 {
        // SAFETY: the record's units and the one behind them are readable; F and VL are there.
        let found = unsafe {
            if len <= WIDE_FIRST {
                let here = _mm256_load_si256(record.cast());
                let next = _mm256_loadu_si256(record.add(1).cast());
                let same = _mm256_cmpeq_epi32_mask(here, _mm256_set1_epi32(left as i32));
                let right = _mm256_set1_epi32(right as i32);
                _mm256_mask_cmpeq_epi32_mask(same, next, right) as u32
            } else {
                let here = _mm512_loadu_si512(record.cast());
                let next = _mm512_loadu_si512(record.add(1).cast());
                let same = _mm512_cmpeq_epi32_mask(here, _mm512_set1_epi32(left as i32));
                _mm512_mask_cmpeq_epi32_mask(same, next, _mm512_set1_epi32(right as i32)) as u32
            }
        };
        found >> HEADER & pairs_of(len)
    }

    #[inline(always)]
    unsafe fn close(record: *mut u32, i: usize, new: u32) {
        let at = i + HEADER;
        let behind = !0u32 << at << 1;
        // SAFETY: as above; a store writes whole units of this record only.
        unsafe {
            if Wide::header(record).1 <= WIDE_FIRST {
                let here = _mm256_load_si256(record.cast());
                let next = _mm256_loadu_si256(record.add(1).cast());
                let moved = _mm256_mask_mov_epi32(here, behind as u8, next);
                let done = _mm256_mask_set1_epi32(moved, 1 << at, new as i32);
                _mm256_store_si256(record.cast(), done);
            } else {
                let here = _mm512_loadu_si512(record.cast());
                let next = _mm512_loadu_si512(record.add(1).cast());
                let moved = _mm512_mask_mov_epi32(here, behind as u16, next);
                let done = _mm512_mask_set1_epi32(moved, 1 << at, new as i32);
                _mm512_storeu_si512(record.cast(), done);
            }
        }
    }
}
