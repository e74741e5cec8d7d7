//! Exact and fast byte-pair encoding: trainer and encoder.

#[cfg(feature = "python")]
mod python;
