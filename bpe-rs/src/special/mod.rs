//! Special tokens: strings such as `<|endoftext|>` that are tokens only where the caller says so.

mod finder;
mod policy;
mod tokens;

pub use finder::Finder;
pub use policy::{FinderCache, SpecialPolicy, SpecialSelection};
pub use tokens::SpecialTokens;
