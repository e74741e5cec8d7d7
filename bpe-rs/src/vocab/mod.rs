//! Vocabularies: tokens, the order of merges, the pair table.
//!
//! Inside the crate every token has a *merge number*: a byte's is its value, 0..=255, and merged
//! tokens follow from 256 on, in the order of their priority. So the pair that merges first is the
//! one with the smallest number, for tiktoken's ranks and for Hugging Face's merge lists alike.
//! Ids, which can be any numbers, are looked up only when results are written.
//!
//! A vocabulary whose texts are not bytes before merging has the numbers of its symbols (characters,
//! `<0xNN>` tokens, the unknown token) in place of those of the bytes, and merged tokens follow.

mod ascii_cuts;
mod build;
mod build_stages;
mod build_symbols;
mod char_starts;
mod ids;
mod merge;
mod pairs;
mod published;
mod small;
mod stages;
mod symbols;
#[cfg(test)]
mod tests;
mod tokens;
mod vocabulary;

pub use build::{MergeRule, MAX_MERGES};
pub use build_symbols::CharacterModel;
pub(crate) use char_starts::{CharStarts, MOST_PARTS};
pub(crate) use merge::{Merger, MAX_KEPT_PARTS};
pub(crate) use pairs::PairTable;
pub(crate) use small::SmallMerge;
pub(crate) use stages::Stages;
pub(crate) use symbols::Symbols;
pub use tokens::TokenBytes;
pub use vocabulary::{MissingByte, Vocab};
