//! Hugging Face's pipeline around the merging: added tokens, normalisers, pre-tokenizers,
//! post-processors, truncation, padding, offsets.
//!
//! A [`Tokenizer`] never changes: what adds tokens or sets a component returns a new one that
//! shares the vocabulary with the old. So an encoding can keep the tokenizer that made it, and
//! threads need no locks.

mod added;
mod decode;
mod encode;
mod encoding;
mod fragment;
mod model;
mod normalize;
mod post;
mod reshape;
mod source;
mod split;
mod tokenizer;

pub use added::AddedVocab;
pub use encode::Input;
pub use encoding::Encoding;
pub use fragment::Fixed;
pub use post::pad_batch;
pub use tokenizer::{NewToken, Tokenizer};
