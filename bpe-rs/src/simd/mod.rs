//! The vector layer: hot loops are written once and compiled for every instruction set.
//!
//! Loops are generic over a level. The traits say what a level can do ([`Bytes64`] and [`Lanes`]
//! for encoding, [`RecordOps`] for training); `dispatch!` compiles a loop for each level and runs
//! it at [`Level::current`]. All levels give the same results.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod level;
#[cfg(target_arch = "aarch64")]
mod neon;
mod ops;
mod portable;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use level::dispatch;
pub use level::Level;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use ops::{Bytes64, Keys, Lanes, RecordOps, BLOCK, HEADER, ID_BITS, PRESENT};
pub(crate) use portable::Portable;

/// Prefetch the cache line at the start of `value`.
#[inline(always)]
pub(crate) fn prefetch<T: ?Sized>(value: &T) {
    prefetch_at(std::ptr::from_ref(value).cast::<u8>());
}

/// Prefetch the cache line at `address`, which need not be valid: it is a hint, never an access.
#[inline(always)]
pub(crate) fn prefetch_at<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        // SAFETY: a hint, whatever the address; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: a hint that changes nothing, whatever the address.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address.cast::<u8>(), options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", not(miri)))))]
    let _ = address;
}
