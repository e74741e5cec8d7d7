//! Exact and fast byte-pair encoding: trainer and encoder.
//!
//! # Text to ids
//!
//! The published encodings are part of the crate; nothing is downloaded.
//!
//! ```
//! let encoding = bpe_rs::get_encoding("o200k_base")?;
//! let mut ids = Vec::new();
//! encoding.encode_ordinary("hello world", &mut ids)?;
//! assert_eq!(ids, [24912, 2375]);
//!
//! let mut bytes = Vec::new();
//! encoding.decode(&ids, &mut bytes)?;
//! assert_eq!(bytes, b"hello world");
//! # Ok::<(), bpe_rs::Error>(())
//! ```
//!
//! Special tokens are text unless the caller says which of them count:
//!
//! ```
//! let encoding = bpe_rs::get_encoding("gpt2")?;
//! let (mut special, mut plain) = (Vec::new(), Vec::new());
//! encoding.encode("<|endoftext|>", encoding.special().finder(), &mut special)?;
//! encoding.encode_ordinary("<|endoftext|>", &mut plain)?;
//! assert_eq!((special.len(), plain.len()), (1, 7));
//! # Ok::<(), bpe_rs::Error>(())
//! ```
//!
//! # One's own vocabulary
//!
//! ```
//! use bpe_rs::{Encoding, Pretokenizer, SpecialTokens, Vocab};
//!
//! let bytes: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
//! let ranks = (0u32..).zip(&bytes).map(|(rank, byte)| (&byte[..], rank));
//! let encoding = Encoding::new(
//!     "mine",
//!     Vocab::from_ranks(ranks.chain([(&b"ab"[..], 256)]))?,
//!     Pretokenizer::new(r"\w+|\s+")?,
//!     SpecialTokens::new([("<end>".to_string(), 257)])?,
//! );
//! let mut ids = Vec::new();
//! encoding.encode("abba<end>", encoding.special().finder(), &mut ids)?;
//! assert_eq!(ids, [256, 98, 97, 257]);
//! # Ok::<(), bpe_rs::Error>(())
//! ```
//!
//! [`mod@format`] reads and writes the files of other tools, [`train`] learns vocabularies, [`hf`] is
//! Hugging Face's pipeline, and word-level and character tokenizers are in [`mod@words`].
//! `examples/encode.rs` is a whole program.
//!
//! # Features
//!
//! All but `python` are on by default.
//!
//! | feature | what |
//! |---|---|
//! | `files` | [`encode_files`], and counting the words of files; text or JSON lines, `.gz` and `.zst` too |
//! | `hf` | [`hf`]: normalizers, added tokens, post-processors, offsets |
//! | `train` | [`train`] |
//! | `vocabularies` | [`get_encoding`]: the published vocabularies, 1.2 MB |
//! | `words` | [`mod@words`] |
//! | `python` | the extension module of the Python package; without it there is no Python anywhere in the dependency tree |

// An item that is `pub` in a private module is for the rest of the crate; what is public is listed
// below.
#![allow(unreachable_pub)]
// Without some features, parts of the modules below have no caller.
#![cfg_attr(
    not(all(
        feature = "files",
        feature = "hf",
        feature = "train",
        feature = "vocabularies",
        feature = "words",
        any(feature = "internals", feature = "python"),
    )),
    allow(dead_code, unused_imports)
)]

mod decode;
mod encode;
mod encoding;
mod error;
#[cfg(feature = "files")]
mod files;
pub mod format;
#[cfg(feature = "hf")]
pub mod hf;
mod io;
mod memory;
mod offsets;
mod pretokenize;
#[cfg(feature = "python")]
mod python;
#[cfg(feature = "vocabularies")]
mod registry;
mod simd;
mod special;
#[cfg(test)]
mod testing;
mod threads;
#[cfg(feature = "train")]
pub mod train;
mod unstable;
mod vocab;
#[cfg(feature = "words")]
pub mod words;

pub use encode::Rows;
pub use encoding::Encoding;
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "files")]
pub use files::{encode_documents, encode_files, FileOptions, IdWriter};
pub use io::Progress;
pub use offsets::IdsWithOffsets;
pub use pretokenize::{Pretokenizer, RegexEngine};
#[cfg(feature = "vocabularies")]
pub use registry::{encoding_names, get_encoding};
pub use special::{Finder, FinderCache, SpecialPolicy, SpecialSelection, SpecialTokens};
pub use threads::{available_threads, requested_threads, set_interrupt_check, stop_idle_threads};
pub use vocab::{MergeRule, MissingByte, TokenBytes, Vocab};

/// What the tests and the fuzzer of this repository look at; no part of the interface.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub use crate::encode::{count, encode_into, PieceEncoder, Scratch};
    pub use crate::pretokenize::NAMED;
    pub use crate::simd::Level;
}
