//! The two things that a merge does to a word, once for every kind of processor, and the one
//! place where the kind is chosen.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::apply::{self, Merge, Neighbourhood};
use super::records::Layout;
pub(super) use crate::simd::prefetch_at as prefetch;
use crate::simd::Level;

/// Vector instructions that find a pair in a record and close the gap that its merge leaves.
pub(super) trait Isa<L: Layout> {
    /// Longest word, in tokens, that [`Isa::find`] and [`Isa::close`] take (at most 32).
    const WINDOW: usize;

    /// Bit `i` is set if tokens `i` and `i + 1` are `left` and `right`.
    ///
    /// # Safety
    /// `record` is the start of a record of `2 <= len <= WINDOW` tokens with one more unit
    /// readable behind it; the processor has these instructions.
    unsafe fn find(record: *const L::Token, len: usize, left: L::Token, right: L::Token) -> u32;

    /// Write `new` over token `i` and move the tokens after `i + 1` one to the left. The header
    /// is left as it is.
    ///
    /// # Safety
    /// As for [`Isa::find`], and `i + 1` is less than the record's length.
    unsafe fn close(record: *mut L::Token, i: usize, new: L::Token);
}

/// The kinds of processor that have their own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Kind {
    /// Every kind that this processor can run, the slowest first.
    pub(super) fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
        let mut kinds = vec![
            Self::Portable,
            #[cfg(target_arch = "aarch64")]
            Self::Neon,
        ];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            kinds.push(Self::Avx2);
            // All that the functions in `x86` are compiled for: a virtual machine may hide some.
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("popcnt")
                && is_x86_feature_detected!("lzcnt")
            {
                kinds.push(Self::Avx512);
            }
        }
        kinds
    }

    /// The fastest that the level in use allows (`BPE_RS_SIMD` can ask for less).
    pub(super) fn fastest() -> Self {
        let available = Self::available();
        let allowed = |kind: &Self| match Level::current() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => *kind != Self::Avx512,
            #[cfg(target_arch = "aarch64")]
            Level::Neon => true,
            _ => *kind == Self::Portable,
        };
        available
            .into_iter()
            .rfind(allowed)
            .unwrap_or(Self::Portable)
    }
}

/// A layout that every kind of processor can work on.
pub(super) trait Vectorized: Layout {
    /// [`apply::apply`] with the instructions of `kind`.
    ///
    /// # Safety
    /// As for [`apply::apply`]; `kind` is one of [`Kind::available`].
    unsafe fn apply(
        kind: Kind,
        base: *mut Self::Token,
        places: &[u32],
        merge: Merge,
        hood: &mut Neighbourhood,
    );
}

macro_rules! vectorized {
    ($($layout:ty),*) => {$(
        impl Vectorized for $layout {
            unsafe fn apply(
                kind: Kind,
                base: *mut Self::Token,
                places: &[u32],
                merge: Merge,
                hood: &mut Neighbourhood,
            ) {
                // SAFETY: the caller's promises are those of `apply`.
                unsafe {
                    match kind {
                        #[cfg(target_arch = "x86_64")]
                        Kind::Avx512 => x86::apply_avx512::<Self>(base, places, merge, hood),
                        #[cfg(target_arch = "x86_64")]
                        Kind::Avx2 => x86::apply_avx2::<Self>(base, places, merge, hood),
                        #[cfg(target_arch = "aarch64")]
                        Kind::Neon => apply::apply::<Self, neon::Neon>(base, places, merge, hood),
                        Kind::Portable => {
                            apply::apply::<Self, portable::Portable>(base, places, merge, hood)
                        }
                    }
                }
            }
        }
    )*};
}
vectorized!(super::records::Narrow, super::records::Wide);
