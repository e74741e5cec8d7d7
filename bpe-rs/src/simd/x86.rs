//! AVX2 and AVX-512.
//!
//! Every `unsafe` block here calls intrinsics of the level that the type stands for; the types are
//! only used inside `dispatch!`, which runs a level's code after detecting its features.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::{least_of, set_in, Bytes64, Lanes, ID_BITS, THERE};

/// Two registers of 32 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256i, __m256i);

impl Avx2 {
    /// SAFETY: needs AVX2.
    #[inline(always)]
    unsafe fn mask(low: __m256i, high: __m256i) -> u64 {
        // SAFETY: the caller's.
        let (low, high) = unsafe { (_mm256_movemask_epi8(low), _mm256_movemask_epi8(high)) };
        u64::from(low as u32) | u64::from(high as u32) << 32
    }
}

impl Bytes64 for Avx2 {
    #[inline(always)]
    fn load(bytes: &[u8; 64]) -> Self {
        let at: *const __m256i = bytes.as_ptr().cast();
        // SAFETY: both unaligned loads lie in the 64 bytes; AVX2 as above.
        unsafe { Self(_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))) }
    }

    #[inline(always)]
    fn eq(self, byte: u8) -> u64 {
        // SAFETY: AVX2 as above.
        unsafe {
            let byte = _mm256_set1_epi8(byte as i8);
            Self::mask(
                _mm256_cmpeq_epi8(self.0, byte),
                _mm256_cmpeq_epi8(self.1, byte),
            )
        }
    }

    #[inline(always)]
    fn range(self, low: u8, high: u8) -> u64 {
        // SAFETY: AVX2 as above.
        unsafe {
            // x - low <= high - low without signs: the minimum of both is the left one.
            let (start, width) = (
                _mm256_set1_epi8(low as i8),
                _mm256_set1_epi8(high.wrapping_sub(low) as i8),
            );
            let within = |v| {
                let offset = _mm256_sub_epi8(v, start);
                _mm256_cmpeq_epi8(_mm256_min_epu8(offset, width), offset)
            };
            Self::mask(within(self.0), within(self.1))
        }
    }

    #[inline(always)]
    fn high(self) -> u64 {
        // SAFETY: AVX2 as above.
        unsafe { Self::mask(self.0, self.1) }
    }

    #[inline(always)]
    fn letters(self) -> u64 {
        // SAFETY: AVX2 as above.
        let folded = unsafe {
            let fold = _mm256_set1_epi8(0x20);
            Self(_mm256_or_si256(self.0, fold), _mm256_or_si256(self.1, fold))
        };
        folded.range(b'a', b'z')
    }
}

/// One register of 64 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512i);

impl Bytes64 for Avx512 {
    #[inline(always)]
    fn load(bytes: &[u8; 64]) -> Self {
        // SAFETY: an unaligned load of exactly these 64 bytes; AVX-512 as above.
        unsafe { Self(_mm512_loadu_si512(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn load_few(bytes: &[u8]) -> Self {
        assert!(bytes.len() <= 64, "more than 64 bytes");
        // In two steps: a shift by 64 is none.
        let half = bytes.len() / 2;
        let mask = !(u64::MAX << half << (bytes.len() - half));
        // SAFETY: reads no more than the bytes that are there; AVX-512 as above.
        unsafe { Self(_mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn eq(self, byte: u8) -> u64 {
        // SAFETY: AVX-512 as above.
        unsafe { _mm512_cmpeq_epi8_mask(self.0, _mm512_set1_epi8(byte as i8)) }
    }

    #[inline(always)]
    fn range(self, low: u8, high: u8) -> u64 {
        // SAFETY: AVX-512 as above.
        unsafe {
            let offset = _mm512_sub_epi8(self.0, _mm512_set1_epi8(low as i8));
            let width = _mm512_set1_epi8(high.wrapping_sub(low) as i8);
            _mm512_cmple_epu8_mask(offset, width)
        }
    }

    #[inline(always)]
    fn high(self) -> u64 {
        // SAFETY: AVX-512 as above.
        unsafe { _mm512_movepi8_mask(self.0) }
    }

    #[inline(always)]
    fn letters(self) -> u64 {
        // SAFETY: AVX-512 as above.
        let folded = unsafe { Self(_mm512_or_si512(self.0, _mm512_set1_epi8(0x20))) };
        folded.range(b'a', b'z')
    }

    #[inline(always)]
    fn positions(mask: u64, base: u32, out: &mut [u32; 64]) -> usize {
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
        // SAFETY: AVX-512 as above; quarter q writes words 16 q .. 16 q + 16 of the 64 in `out`.
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

impl Lanes for Avx2 {
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

    #[inline(always)]
    fn find(slots: &[u64; 8], key: u64, mask: u64) -> usize {
        let at: *const __m256i = slots.as_ptr().cast();
        // SAFETY: AVX2 as above; the two loads are the eight words.
        unsafe {
            let (key, mask) = (
                _mm256_set1_epi64x(key as i64),
                _mm256_set1_epi64x(mask as i64),
            );
            let equal = |v| {
                let equal = _mm256_cmpeq_epi64(_mm256_and_si256(v, mask), key);
                _mm256_movemask_pd(_mm256_castsi256_pd(equal)) as u32
            };
            let found = equal(_mm256_loadu_si256(at)) | equal(_mm256_loadu_si256(at.add(1))) << 4;
            (found | 1 << 8).trailing_zeros() as usize
        }
    }
}

impl Lanes for Avx512 {
    #[inline(always)]
    fn find(slots: &[u64; 8], key: u64, mask: u64) -> usize {
        // SAFETY: AVX-512 as above; the load is the eight words.
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
    fn unpack(packed: &[u64; 4], out: &mut [MaybeUninit<u32>; 16]) -> usize {
        const _: () = assert!(ID_BITS == 20 && THERE == 60);
        // For two numbers of a word, where the bytes of each begin.
        const FIRST: i64 = 0x2c24_1c14_1810_0800_u64 as i64;
        const LAST: i64 = 0x0000_0000_4038_3028;
        // SAFETY: AVX-512 as above; one store of the sixteen words of `out`.
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

    type Keys = __m512i;

    #[inline(always)]
    fn keys(keys: &[u32; 16]) -> __m512i {
        // SAFETY: AVX-512 as above; the load is the sixteen words.
        unsafe { _mm512_loadu_si512(keys.as_ptr().cast()) }
    }

    #[inline(always)]
    fn least(keys: __m512i) -> u32 {
        // SAFETY: AVX-512 as above.
        unsafe { _mm512_reduce_min_epu32(keys) }
    }

    #[inline(always)]
    fn set(keys: __m512i, place: u16, key: u32) -> __m512i {
        // SAFETY: AVX-512 as above.
        unsafe { _mm512_mask_set1_epi32(keys, place, key as i32) }
    }
}
