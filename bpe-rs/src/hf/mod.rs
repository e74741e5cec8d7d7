//! Hugging Face's tokenizer pipeline around byte-level BPE: added tokens, normalisers,
//! pre-tokenizers, post-processors, truncation, padding, offsets.
//!
//! A [`Tokenizer`] is immutable: adding tokens or setting a component returns a new one that
//! shares the vocabulary. So a result can keep the tokenizer that made it, and threads need no
//! locks.

mod added_tokens;
mod decode;
mod encode;
mod encode_ids;
mod encoded_input;
mod encoded_sequence;
mod fragment;
mod lookup;
mod model;
mod normalize;
mod post_process;
mod pre_tokenize;
mod reshape;
mod state;
mod tokenizer;

pub use added_tokens::AddedVocab;
pub use encode::InputSequence;
pub use encoded_input::EncodedInput;
pub use fragment::TokenColumns;
pub use post_process::pad_batch;
pub use tokenizer::{NewToken, Tokenizer};
