//! Reading and writing files: texts by the form that a file's name tells, files that appear whole
//! or not at all, and the callback for progress.

mod atomic;
#[cfg(feature = "files")]
mod chunk;
mod cuts;
mod open;
#[cfg(feature = "files")]
mod plain;
mod progress;
#[cfg(feature = "files")]
mod reader;
#[cfg(feature = "files")]
mod stream;
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
pub use progress::Progress;
#[cfg(feature = "files")]
pub(crate) use reader::{Part, Reader};
