//! Special tokens: strings such as `<|endoftext|>` that are tokens only where the caller says so.

mod policy;
mod tokens;

pub use policy::{FinderCache, SpecialPolicy, SpecialSelection};
pub use tokens::{Finder, SpecialTokens};
