//! The parts of a `tokenizer.json` around the model, read strictly: a component or a setting that
//! this crate would not reproduce exactly is refused by name, never skipped.

mod byte_level;
mod decoder;
mod normalizer;
mod post_processor;
mod pre_tokenizer;

pub use byte_level::ByteLevel;
pub use decoder::Decoder;
pub use normalizer::Normalizer;
pub use post_processor::{PostProcessor, TemplateItem, TemplateToken};
pub use pre_tokenizer::{Behavior, PreTokenizer, SplitPattern};
