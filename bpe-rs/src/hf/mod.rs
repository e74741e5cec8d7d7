//! Hugging Face's tokenizer pipeline around BPE: added tokens, normalisers,
//! pre-tokenizers, post-processors, truncation, padding, offsets.
//!
//! A [`Tokenizer`] is immutable: adding tokens or setting a component returns a new one that
//! shares the vocabulary. So a result can keep the tokenizer that made it, and threads need no
//! locks.
//!
//! ```
//! use bpe_rs::format::TokenizerJson;
//! use bpe_rs::hf::{InputSequence, Tokenizer};
//!
//! let file = r#"{
//!     "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
//!     "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}
//! }"#;
//! let tokenizer = Tokenizer::new(TokenizerJson::parse(file)?)?;
//! let encoded = tokenizer.encode(&InputSequence::Text("abba"), None, true, None)?;
//! assert_eq!(encoded.ids(), [2, 1, 0]);
//! assert_eq!(encoded.offsets(), [(0, 2), (2, 3), (3, 4)]);
//! # Ok::<(), bpe_rs::Error>(())
//! ```

mod added_tokens;
mod aligned;
mod decode;
mod decoders;
mod dropout;
mod encode;
mod encode_ids;
mod encoded_input;
mod encoded_sequence;
mod flat_batch;
mod fragment;
mod layout;
mod lookup;
mod matcher;
mod model;
mod normalize;
mod post_process;
mod pre_tokenize;
mod precompiled;
mod reshape;
mod script_table;
mod scripts;
mod spaces;
mod split;
mod state;
mod tokenizer;
#[cfg(feature = "train")]
mod training;
mod unicode_form;

pub use added_tokens::AddedVocab;
pub use encode::{InputPair, InputSequence};
pub use encoded_input::EncodedInput;
pub use flat_batch::{Column, FlatBatch, Run};
pub use fragment::TokenColumns;
pub use layout::Layout;
pub use post_process::pad_batch;
pub use tokenizer::Tokenizer;
#[cfg(feature = "train")]
pub use training::{BpeTraining, ModelWords};
