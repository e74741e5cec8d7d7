//! The vector layer: hot loops are written once and compiled for every instruction set.
//!
//! Loops are generic over a level. The traits say what a level can do ([`Bytes64`] and [`Lanes`]
//! for encoding, [`RecordOps`] for training); `dispatch!` compiles a loop for each level and runs
//! it at [`Level::current`]. All levels give the same results.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bytes64;
mod dispatch;
mod lanes;
mod level;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod prefetch;
mod records;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use bytes64::Bytes64;
pub(crate) use dispatch::dispatch;
pub(crate) use lanes::{Keys, Lanes, ID_BITS, PRESENT};
pub use level::Level;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;
pub(crate) use prefetch::{prefetch, prefetch_at};
pub(crate) use records::{RecordOps, BLOCK, HEADER};
