//! File formats: `tokenizer.json`, `vocab.json` + `merges.txt`, `.tiktoken`, `tekken.json`, id files.
//!
//! [`convert`] makes encodings of them; the other modules turn text into checked, plain data and
//! back, and know nothing of encoding.

pub mod byte_level;
pub(crate) mod charsmap;
pub mod components;
pub mod convert;
pub mod id_file;
mod model;
mod protobuf;
pub(crate) mod regex;
mod regex_classes;
mod regex_fold;
mod regex_tokens;
mod regex_translate;
pub mod sentencepiece;
pub mod tekken;
pub mod tiktoken;
mod tokenizer_json;
pub mod vocab_merges;

pub use convert::{load, save, Format, LoadOptions};
pub use model::BpeModel;
pub use tokenizer_json::{AddedToken, TokenizerJson};
