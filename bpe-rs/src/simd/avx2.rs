//! AVX2.

use std::arch::x86_64::*;

use super::ops::{all_pairs, Bytes64, Lanes, RecordOps, HEADER, IN_BLOCK};

/// Two registers of 32 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256i, __m256i);

impl Avx2 {
    /// One bit per byte: its highest.
    ///
    /// # Safety
    /// The processor has AVX2.
    #[inline(always)]
    unsafe fn mask(low: __m256i, high: __m256i) -> u64 {
        // SAFETY: the caller's promise.
        let (low, high) = unsafe { (_mm256_movemask_epi8(low), _mm256_movemask_epi8(high)) };
        u64::from(low as u32) | u64::from(high as u32) << 32
    }
}

impl Bytes64 for Avx2 {
    #[inline(always)]
    unsafe fn load(bytes: &[u8; 64]) -> Self {
        let at: *const __m256i = bytes.as_ptr().cast();
        // SAFETY: both unaligned loads lie in the 64 bytes; the caller promises AVX2.
        unsafe { Self(_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))) }
    }

    #[inline(always)]
    fn eq(self, byte: u8) -> u64 {
        // SAFETY: the value shows that the processor has AVX2.
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
        // SAFETY: the value shows that the processor has AVX2.
        unsafe {
            // x - low <= high - low as unsigned bytes, which AVX2 cannot compare: the minimum of
            // both is the left one.
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
        // SAFETY: the value shows that the processor has AVX2.
        unsafe { Self::mask(self.0, self.1) }
    }

    #[inline(always)]
    fn letters(self) -> u64 {
        // SAFETY: the value shows that the processor has AVX2.
        let folded = unsafe {
            let fold = _mm256_set1_epi8(0x20);
            Self(_mm256_or_si256(self.0, fold), _mm256_or_si256(self.1, fold))
        };
        folded.range(b'a', b'z')
    }
}

impl Lanes for Avx2 {
    type Keys = [u32; 16];

    #[inline(always)]
    unsafe fn find(slots: &[u64; 8], key: u64, mask: u64) -> usize {
        let at: *const __m256i = slots.as_ptr().cast();
        // SAFETY: the caller promises AVX2; the two loads are the eight words.
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

// Records: the block is compared with `left`, and the block one token further on with `right`. The
// gap is closed by choosing, lane by lane, between the block and the block one token further on.

impl RecordOps<u16> for Avx2 {
    #[inline(always)]
    unsafe fn find_pair(record: *const u16, len: usize, left: u16, right: u16) -> u32 {
        // SAFETY: the record's blocks and one token behind them may be read; the caller promises
        // AVX2.
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
            let second = if len <= IN_BLOCK - HEADER {
                _mm256_setzero_si256()
            } else {
                equal(record.add(IN_BLOCK))
            };
            // Packing works on 128-bit halves; the permutation puts them back in order.
            let bytes =
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(first, second));
            (_mm256_movemask_epi8(bytes) as u32) >> HEADER & all_pairs(len)
        }
    }

    #[inline(always)]
    unsafe fn replace_pair(record: *mut u16, len: usize, i: usize, new: u16) {
        // SAFETY: as above; the stores write whole blocks of this record only.
        unsafe {
            let new = _mm256_set1_epi16(new as i16);
            let at = _mm256_set1_epi16((i + HEADER) as i16);
            let lanes = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let shut = |block: *mut u16, lanes: __m256i| {
                let here = _mm256_load_si256(block.cast());
                let next = _mm256_loadu_si256(block.add(1).cast());
                let moved = _mm256_blendv_epi8(here, next, _mm256_cmpgt_epi16(lanes, at));
                let done = _mm256_blendv_epi8(moved, new, _mm256_cmpeq_epi16(lanes, at));
                _mm256_store_si256(block.cast(), done);
            };
            shut(record, lanes);
            if len > IN_BLOCK - HEADER {
                let further = _mm256_add_epi16(lanes, _mm256_set1_epi16(IN_BLOCK as i16));
                shut(record.add(IN_BLOCK), further);
            }
        }
    }
}

// Past 65,535 ids words are a few tokens long: vectors would not pay.
impl RecordOps<u32> for Avx2 {}
