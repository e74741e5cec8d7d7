//! The vocabulary while merges are learned: the tokens there were at the start, and one more for
//! every merge.

use std::collections::HashSet;

use super::pair_counts::Pair;

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

/// What is known of every token, and which pairs may become one.
pub(super) struct GrowingVocab<'a> {
    /// Length in bytes of every token, by id.
    lengths: Vec<u32>,
    learned: Vec<Learned>,
    /// Make no token of more bytes.
    max_token_length: u32,
    /// The tokens at the start, where they are more than single bytes.
    existing: Option<ExistingTokens<'a>>,
}

/// The tokens of a vocabulary that is extended: a pair that spells one of them is never merged.
///
/// No two learned tokens have one spelling: between two boundaries that no merge has crossed, a word
/// is segmented like that stretch alone, so at any time one spelling has one segmentation.
struct ExistingTokens<'a> {
    tokens: &'a [Vec<u8>],
    spellings: HashSet<&'a [u8]>,
    /// Bytes of the longest.
    longest: usize,
}

impl<'a> GrowingVocab<'a> {
    /// Starts with `tokens`, by id.
    pub(super) fn new(tokens: &'a [Vec<u8>], max_token_length: Option<u32>) -> Self {
        let extends = tokens.iter().any(|token| token.len() > 1);
        let existing = || ExistingTokens {
            tokens,
            spellings: tokens.iter().map(Vec::as_slice).collect(),
            longest: tokens.iter().map(Vec::len).max().unwrap_or(0),
        };
        Self {
            lengths: tokens.iter().map(|token| token.len() as u32).collect(),
            learned: Vec::new(),
            max_token_length: max_token_length.unwrap_or(u32::MAX),
            existing: extends.then(existing),
        }
    }

    /// Number of tokens, which is the next one's id.
    #[inline(always)]
    pub(super) fn len(&self) -> u32 {
        self.lengths.len() as u32
    }

    /// Length in bytes of token `id`.
    #[inline(always)]
    pub(super) fn length(&self, id: u32) -> u32 {
        self.lengths[id as usize]
    }

    /// Length in bytes of the token that `pair` would become.
    #[inline(always)]
    pub(super) fn merged_length(&self, pair: Pair) -> u32 {
        let (left, right) = (self.length(pair.left()), self.length(pair.right()));
        left.saturating_add(right)
    }

    /// Whether the token that `pair` would become is short enough.
    #[inline(always)]
    pub(super) fn allows(&self, pair: Pair) -> bool {
        self.merged_length(pair) <= self.max_token_length
    }

    /// Whether `pair` spells a token that was there at the start.
    pub(super) fn spells_existing_token(&self, pair: Pair) -> bool {
        let Some(existing) = &self.existing else {
            return false;
        };
        if self.merged_length(pair) as usize > existing.longest {
            return false;
        }
        // Without recursion, because merges can be nested to any depth.
        let (mut spelling, mut left) = (Vec::new(), vec![pair.right(), pair.left()]);
        while let Some(id) = left.pop() {
            match existing.tokens.get(id as usize) {
                Some(token) => spelling.extend_from_slice(token),
                None => {
                    let merge = self.learned[id as usize - existing.tokens.len()];
                    left.extend([merge.right, merge.left]);
                }
            }
        }
        existing.spellings.contains(spelling.as_slice())
    }

    /// Add the token that `pair`, which occurs `count` times, becomes.
    pub(super) fn add(&mut self, pair: Pair, count: u64) {
        self.lengths.push(self.merged_length(pair));
        self.learned.push(Learned {
            left: pair.left(),
            right: pair.right(),
            count,
        });
    }

    /// The merges so far.
    pub(super) fn learned(&self) -> &[Learned] {
        &self.learned
    }

    pub(super) fn into_learned(self) -> Vec<Learned> {
        self.learned
    }
}
