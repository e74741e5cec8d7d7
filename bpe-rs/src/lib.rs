//! Exact and fast byte-pair encoding: trainer and encoder.

pub mod decode;
pub mod encode;
pub mod encoding;
pub mod error;
pub mod format;
pub mod hf;
pub mod pretokenize;
pub mod registry;
pub mod simd;
pub mod special;
pub mod train;
mod unstable;
pub mod vocab;
pub mod words;

#[cfg(feature = "python")]
mod python;
