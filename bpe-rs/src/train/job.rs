//! What is asked of the merge loop, and what it gives.

use std::collections::HashSet;

use crate::error::Result;

/// What the merges are learned from and how far.
pub(super) struct Job<'a> {
    /// Length in bytes of every token there is at the start, by id.
    pub(super) lengths: Vec<u32>,
    /// Merge until there are so many ids.
    pub(super) ids: u32,
    /// Leave pairs alone that occur less often (at least 1).
    pub(super) min_frequency: u64,
    /// Make no token of more bytes.
    pub(super) max_token_length: u32,
    /// Tokens that exist already, by their bytes, when that is more than the single bytes; a pair
    /// that spells one of them is never merged.
    pub(super) taken: Option<Taken<'a>>,
    /// For counting all pairs.
    pub(super) threads: usize,
    /// Postings that may be kept after all pairs have been counted, if not as many as is usual.
    pub(super) max_postings: Option<usize>,
    /// Told the number of merges made; an error stops the training.
    pub(super) tick: &'a mut dyn FnMut(u32) -> Result<()>,
}

/// Existing vocabulary of a tokenizer that is extended. Pairs learned later cannot spell one
/// another's tokens: between two boundaries that no merge has crossed, a word is segmented like
/// that stretch alone, so one spelling has one segmentation at any time.
pub(super) struct Taken<'a> {
    pub(super) tokens: &'a [Vec<u8>],
    pub(super) spellings: HashSet<&'a [u8]>,
}

impl Taken<'_> {
    /// Append the bytes of token `id`.
    pub(super) fn spell(&self, id: u32, learned: &[Learned], spelling: &mut Vec<u8>) {
        match self.tokens.get(id as usize) {
            Some(token) => spelling.extend_from_slice(token),
            None => {
                let merge = learned[id as usize - self.tokens.len()];
                self.spell(merge.left, learned, spelling);
                self.spell(merge.right, learned, spelling);
            }
        }
    }
}

/// A merge as it was learned: its id is the number of ids before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Id of the left part.
    pub left: u32,
    /// Id of the right part.
    pub right: u32,
    /// How often the pair occurred when it was merged.
    pub count: u64,
}
