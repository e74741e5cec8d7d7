//! Files: `tokenizer.json`, `vocab.json` + `merges.txt`, `.tiktoken`, id files.
//!
//! All but [`convert`] turn bytes into checked, plain data and back, and know nothing of encoding.

pub mod byte_level;
pub mod components;
pub mod convert;
mod fields;
pub mod idfile;
mod model;
pub mod params;
pub(crate) mod regex;
pub mod tiktoken;
mod tokenizer_json;
pub mod vocab_merges;

pub use convert::{load, save, Format, Options};
pub use model::BpeModel;
pub use tokenizer_json::{AddedToken, TokenizerJson};
