//! The callback by which a caller follows long work and can stop it.

use crate::error::Result;

/// Called on the caller's thread, several times a second, with the work done so far: bytes or
/// merges. An error ends the work and is what the call returns.
pub type Progress<'a> = dyn FnMut(u64) -> Result<()> + 'a;
