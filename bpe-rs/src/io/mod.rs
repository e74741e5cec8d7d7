//! Reading texts by the format that a file's name tells, writing files whole or not at all, and the
//! progress callback.

mod atomic;
#[cfg(feature = "files")]
mod chunk;
mod cuts;
mod open;
#[cfg(feature = "files")]
mod part;
#[cfg(feature = "files")]
mod plain;
mod progress;
#[cfg(feature = "files")]
mod reader;
#[cfg(feature = "files")]
mod stream;
#[cfg(all(test, feature = "files", not(miri)))]
mod tests;
#[cfg(feature = "files")]
mod text_format;
#[cfg(feature = "files")]
mod zstd;

pub use atomic::write_atomic;
pub(crate) use atomic::AtomicFile;
#[cfg(feature = "files")]
pub(crate) use chunk::Chunk;
pub(crate) use cuts::{Cuts, PART};
pub use open::read_text;
#[cfg(feature = "files")]
pub(crate) use part::Part;
pub use progress::Progress;
#[cfg(feature = "files")]
pub(crate) use reader::Reader;
