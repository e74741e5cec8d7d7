//! AVX-512.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::ops::{all_pairs, Bytes64, Keys, Lanes, RecordOps, HEADER, ID_BITS, IN_BLOCK, PRESENT};

/// One register of 64 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512i);

impl Bytes64 for Avx512 {
    #[inline(always)]
    unsafe fn load(bytes: &[u8; 64]) -> Self {
        // SAFETY: an unaligned load of exactly these 64 bytes; the caller promises AVX-512.
        unsafe { Self(_mm512_loadu_si512(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    unsafe fn load_few(bytes: &[u8]) -> Self {
        assert!(bytes.len() <= 64, "more than 64 bytes");
        // In two steps, because a shift by all 64 bits overflows.
        let half = bytes.len() / 2;
        let mask = !(u64::MAX << half << (bytes.len() - half));
        // SAFETY: reads no more than the bytes that are there; the caller promises AVX-512.
        unsafe { Self(_mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn eq(self, byte: u8) -> u64 {
        // SAFETY: the value shows that the processor has AVX-512.
        unsafe { _mm512_cmpeq_epi8_mask(self.0, _mm512_set1_epi8(byte as i8)) }
    }

    #[inline(always)]
    fn range(self, low: u8, high: u8) -> u64 {
        // SAFETY: the value shows that the processor has AVX-512.
        unsafe {
            let offset = _mm512_sub_epi8(self.0, _mm512_set1_epi8(low as i8));
            let width = _mm512_set1_epi8(high.wrapping_sub(low) as i8);
            _mm512_cmple_epu8_mask(offset, width)
        }
    }

    #[inline(always)]
    fn high(self) -> u64 {
        // SAFETY: the value shows that the processor has AVX-512.
        unsafe { _mm512_movepi8_mask(self.0) }
    }

    #[inline(always)]
    fn letters(self) -> u64 {
        // SAFETY: the value shows that the processor has AVX-512.
        let folded = unsafe { Self(_mm512_or_si512(self.0, _mm512_set1_epi8(0x20))) };
        folded.range(b'a', b'z')
    }

    #[inline(always)]
    unsafe fn positions(mask: u64, base: u32, out: &mut [u32; 64]) -> usize {
        const NUMBERS: [u8; 64] = {
            let mut numbers = [0; 64];
            let mut i = 0;
            while i < 64 {
                numbers[i] = i as u8;
                i += 1;
            }
            numbers
        };
        let count = mask.count_ones() as usize;
        let at: *mut __m512i = out.as_mut_ptr().cast();
        // SAFETY: the caller promises AVX-512; quarter q writes words 16 q .. 16 q + 16 of the 64
        // in `out`.
        unsafe {
            let all = _mm512_loadu_si512(NUMBERS.as_ptr().cast());
            let set = _mm512_maskz_compress_epi8(mask, all);
            let base = _mm512_set1_epi32(base as i32);
            let widen = |bytes| _mm512_add_epi32(base, _mm512_cvtepu8_epi32(bytes));
            _mm512_storeu_si512(at, widen(_mm512_castsi512_si128(set)));
            if count > 16 {
                _mm512_storeu_si512(at.add(1), widen(_mm512_extracti32x4_epi32::<1>(set)));
                if count > 32 {
                    _mm512_storeu_si512(at.add(2), widen(_mm512_extracti32x4_epi32::<2>(set)));
                    _mm512_storeu_si512(at.add(3), widen(_mm512_extracti32x4_epi32::<3>(set)));
                }
            }
        }
        count
    }
}

impl Lanes for Avx512 {
    type Keys = Keys512;

    #[inline(always)]
    unsafe fn find(slots: &[u64; 8], key: u64, mask: u64) -> usize {
        // SAFETY: the caller promises AVX-512; the load is the eight words.
        unsafe {
            let slots = _mm512_and_si512(
                _mm512_loadu_si512(slots.as_ptr().cast()),
                _mm512_set1_epi64(mask as i64),
            );
            let found = _mm512_cmpeq_epi64_mask(slots, _mm512_set1_epi64(key as i64));
            (u32::from(found) | 1 << 8).trailing_zeros() as usize
        }
    }

    #[inline(always)]
    unsafe fn unpack(packed: &[u64; 4], out: &mut [MaybeUninit<u32>; 16]) -> usize {
        const _: () = assert!(ID_BITS == 20 && PRESENT == 60);
        // For each of eight bytes, the bit of the word where it begins: numbers 0 and 1, number 2.
        const FIRST: i64 = 0x2c24_1c14_1810_0800_u64 as i64;
        const LAST: i64 = 0x0000_0000_4038_3028;
        // SAFETY: the caller promises AVX-512; one store of the sixteen words of `out`.
        unsafe {
            let words = _mm256_loadu_si256(packed.as_ptr().cast());
            let words = _mm512_castsi256_si512(words);
            let twice = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
            let bytes = _mm512_set_epi64(LAST, FIRST, LAST, FIRST, LAST, FIRST, LAST, FIRST);
            let numbers =
                _mm512_multishift_epi64_epi8(bytes, _mm512_permutexvar_epi64(twice, words));
            let numbers = _mm512_and_si512(numbers, _mm512_set1_epi32(0xF_FFFF));
            // Each number's bit, from the high half of its word.
            let high = _mm512_set_epi32(7, 7, 7, 7, 5, 5, 5, 5, 3, 3, 3, 3, 1, 1, 1, 1);
            let bits = _mm512_set4_epi32(1 << 31, 1 << 30, 1 << 29, 1 << 28);
            let there = _mm512_test_epi32_mask(_mm512_permutexvar_epi32(high, words), bits);
            let kept = _mm512_maskz_compress_epi32(there, numbers);
            _mm512_storeu_si512(out.as_mut_ptr().cast(), kept);
            there.count_ones() as usize
        }
    }
}

/// One register of sixteen numbers.
#[derive(Clone, Copy)]
pub(crate) struct Keys512(__m512i);

impl Keys for Keys512 {
    #[inline(always)]
    unsafe fn load(keys: &[u32; 16]) -> Self {
        // SAFETY: the caller promises AVX-512; the load is the sixteen words.
        unsafe { Self(_mm512_loadu_si512(keys.as_ptr().cast())) }
    }

    #[inline(always)]
    fn least(self) -> u32 {
        // SAFETY: the value shows that the processor has AVX-512.
        unsafe { _mm512_reduce_min_epu32(self.0) }
    }

    #[inline(always)]
    fn set(self, place: u16, key: u32) -> Self {
        // SAFETY: the value shows that the processor has AVX-512.
        unsafe { Self(_mm512_mask_set1_epi32(self.0, place, key as i32)) }
    }
}

// Records: the block is compared with `left`, and the block one token further on with `right`. The
// gap is closed by choosing, lane by lane, between the block and the block one token further on.

impl RecordOps<u16> for Avx512 {
    #[inline(always)]
    unsafe fn find_pair(record: *const u16, len: usize, left: u16, right: u16) -> u32 {
        // SAFETY: the record's blocks and one token behind them may be read; the caller promises
        // AVX-512.
        let found = unsafe {
            if len <= IN_BLOCK - HEADER {
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
        found >> HEADER & all_pairs(len)
    }

    #[inline(always)]
    unsafe fn replace_pair(record: *mut u16, len: usize, i: usize, new: u16) {
        let at = i + HEADER;
        let behind = !0u32 << at << 1;
        // SAFETY: as above; the stores write whole blocks of this record only.
        unsafe {
            if len <= IN_BLOCK - HEADER {
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

// Past 65,535 ids words are a few tokens long: vectors would not pay.
impl RecordOps<u32> for Avx512 {}
