//! Reading texts by the format that a file's name tells, writing files whole or not at all, and the
//! progress callback.

mod cuts;
mod file;
#[cfg(feature = "files")]
mod part;
#[cfg(feature = "files")]
mod reader;
#[cfg(feature = "files")]
mod stream;
#[cfg(all(test, feature = "files", not(miri)))]
mod tests;
#[cfg(feature = "files")]
mod zstd;

pub(crate) use cuts::{Cuts, PART};
pub(crate) use file::AtomicFile;
pub use file::{read_text, write_atomic};
#[cfg(feature = "files")]
pub(crate) use part::{Chunk, Part};
#[cfg(feature = "files")]
pub(crate) use reader::Reader;

use crate::error::Result;

/// The callback by which a caller follows long work and can stop it.
///
/// Called on the caller's thread, several times a second, with the work done so far: bytes or
/// merges. An error ends the work and is what the call returns.
pub type Progress<'a> = dyn FnMut(u64) -> Result<()> + 'a;
