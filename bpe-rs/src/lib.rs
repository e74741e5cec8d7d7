//! Exact and fast byte-pair encoding: trainer and encoder.

pub mod decode;
pub mod encode;
pub mod error;
pub mod pretokenize;
pub mod train;
pub mod vocab;
pub mod words;

#[cfg(feature = "python")]
mod python;
