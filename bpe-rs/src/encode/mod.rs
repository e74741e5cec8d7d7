//! Pieces to ids.
//!
//! Most pieces of a text have been seen before, so their ids come from a cache; only the others are
//! merged. Pieces are taken 512 at a time, in one loop for each step: while the steps of one batch
//! run, the memory that the next steps need is prefetched.

mod abreast;
mod batch;
mod cache;
mod each_text;
mod joined_texts;
mod lookup;
mod memo;
mod merge;
mod parallel;
mod piece;
mod scratch;
#[cfg(test)]
mod stage_tests;
mod stages;
mod starts;
#[cfg(test)]
mod symbol_tests;
mod symbols;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod value;

pub use each_text::EncodeText;
pub use memo::Tag;
pub use parallel::{encode_texts, Rows};
pub use piece::PieceEncoder;
pub use scratch::{Lease, Scratch, ScratchPool};
pub use text::{count, encode_into, encode_pieces};

use crate::error::{Error, Result};

/// Pieces in a batch.
const BATCH: usize = 512;
/// Most ids of a row that is padded: many times the longest context of any model.
pub const MAX_ROW_LENGTH: usize = 1 << 24;

/// Check the length `length` to which a row of ids is to be padded; `argument` is its name.
///
/// # Errors
/// `Invalid` for more than [`MAX_ROW_LENGTH`].
pub fn check_row_length(argument: &str, length: usize) -> Result<()> {
    if length > MAX_ROW_LENGTH {
        return Err(Error::invalid(format!(
            "expected {argument} of at most {MAX_ROW_LENGTH}, got {length}"
        )));
    }
    Ok(())
}
