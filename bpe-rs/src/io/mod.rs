//! Reading and writing files: texts by the form that a file's name tells, files that appear whole
//! or not at all, and the callback for progress.

mod atomic;
mod chunk;
mod cuts;
mod open;
mod plain;
mod progress;
mod reader;
mod stream;
mod text_format;
mod zstd;

pub use atomic::write_atomic;
pub(crate) use atomic::AtomicFile;
pub(crate) use chunk::Chunk;
pub(crate) use cuts::{Cuts, PART};
pub use open::read_text;
pub use progress::Progress;
pub(crate) use reader::{Part, Reader};
