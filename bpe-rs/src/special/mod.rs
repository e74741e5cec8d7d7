//! Special tokens: strings such as `<|endoftext|>` that are tokens only where the caller says so.

mod finder;
mod tokens;

pub use finder::Finder;
pub use tokens::SpecialTokens;
