//! Exact and fast byte-pair encoding: trainer and encoder.
//!
//! # Text to ids
//!
//! The published encodings are part of the crate; nothing is downloaded.
//!
//! ```
//! let encoding = bpe_rs::registry::published("o200k_base")?;
//! let mut ids = Vec::new();
//! encoding.encode_ordinary("hello world", &mut ids)?;
//! assert_eq!(ids, [24912, 2375]);
//!
//! let mut bytes = Vec::new();
//! encoding.decode(&ids, &mut bytes)?;
//! assert_eq!(bytes, b"hello world");
//! # Ok::<(), bpe_rs::error::Error>(())
//! ```
//!
//! Special tokens are text unless the caller says which of them count:
//!
//! ```
//! let encoding = bpe_rs::registry::published("gpt2")?;
//! let (mut special, mut plain) = (Vec::new(), Vec::new());
//! encoding.encode("<|endoftext|>", encoding.special().finder(), &mut special)?;
//! encoding.encode_ordinary("<|endoftext|>", &mut plain)?;
//! assert_eq!((special.len(), plain.len()), (1, 7));
//! # Ok::<(), bpe_rs::error::Error>(())
//! ```
//!
//! # One's own vocabulary
//!
//! ```
//! use bpe_rs::{encoding::Encoding, pretokenize::Pretokenizer, special::SpecialTokens, vocab::Vocab};
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
//! # Ok::<(), bpe_rs::error::Error>(())
//! ```
//!
//! Files of other tools are read and written by [`format`], trained vocabularies come from
//! [`train`], word-level and character tokenizers are in [`mod@words`]. `examples/encode.rs` is a
//! whole program.
//!
//! # Features
//!
//! `python`: the extension module of the Python package. Without it, which is the default, there
//! is no Python anywhere in the dependency tree.

mod cuts;
pub mod decode;
pub mod encode;
pub mod encoding;
pub mod error;
pub mod files;
pub mod format;
pub mod hf;
pub mod io;
mod memory;
pub mod offsets;
pub mod pretokenize;
pub mod registry;
pub mod simd;
pub mod special;
pub mod threads;
pub mod train;
mod unstable;
pub mod vocab;
pub mod words;

#[cfg(feature = "python")]
mod python;
