//! The vocabulary while merges are learned: the tokens there were at the start, and one more for
//! every merge.

use std::collections::HashSet;

use super::options::TrainOptions;
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
    /// The bytes of the tokens at the start.
    start: &'a [Vec<u8>],
    /// Make no token of more bytes.
    max_token_length: u32,
    /// As in the options.
    max_token_words: Option<u32>,
    /// What the tokens at the start spell, where they are more than single bytes.
    existing: Option<ExistingTokens<'a>>,
}

/// The tokens of a vocabulary that is extended: a pair that spells one of them is never merged.
///
/// No two learned tokens have one spelling: between two boundaries that no merge has crossed, a word
/// is segmented like that stretch alone, so at any time one spelling has one segmentation.
struct ExistingTokens<'a> {
    spellings: HashSet<&'a [u8]>,
    /// Bytes of the longest.
    longest: usize,
}

impl<'a> GrowingVocab<'a> {
    /// Starts with `tokens`, by id.
    pub(super) fn new(tokens: &'a [Vec<u8>], options: &TrainOptions) -> Self {
        let extends = tokens.iter().any(|token| token.len() > 1);
        let existing = || ExistingTokens {
            spellings: tokens.iter().map(Vec::as_slice).collect(),
            longest: tokens.iter().map(Vec::len).max().unwrap_or(0),
        };
        Self {
            lengths: tokens.iter().map(|token| token.len() as u32).collect(),
            learned: Vec::new(),
            start: tokens,
            max_token_length: options.max_token_length.unwrap_or(u32::MAX),
            max_token_words: options.max_token_words,
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

    /// Whether the token that `pair` would become must not be made: it was there at the start, or
    /// it is past the limit of words.
    pub(super) fn refuses(&self, pair: Pair) -> bool {
        let longest = self.existing.as_ref().map_or(0, |e| e.longest);
        let may_exist = self.merged_length(pair) as usize <= longest;
        if !may_exist && self.max_token_words.is_none() {
            return false;
        }
        let token = self.spelling(pair);
        let exists = |existing: &ExistingTokens<'_>| existing.spellings.contains(&token[..]);
        self.existing.as_ref().is_some_and(exists)
            || self
                .max_token_words
                .is_some_and(|most| words(&token) > most as usize || has_colon_and_space(&token))
    }

    /// The bytes of the token that `pair` would become.
    fn spelling(&self, pair: Pair) -> Vec<u8> {
        // Without recursion, because merges can be nested to any depth.
        let (mut spelling, mut left) = (Vec::new(), vec![pair.right(), pair.left()]);
        while let Some(id) = left.pop() {
            match self.start.get(id as usize) {
                Some(token) => spelling.extend_from_slice(token),
                None => {
                    let merge = self.learned[id as usize - self.start.len()];
                    left.extend([merge.right, merge.left]);
                }
            }
        }
        spelling
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

/// The number of stretches without a space in `token`.
fn words(token: &[u8]) -> usize {
    let stretches = token.split(|&byte| byte == b' ');
    stretches.filter(|stretch| !stretch.is_empty()).count()
}

fn has_colon_and_space(token: &[u8]) -> bool {
    token.windows(2).any(|two| two == b": ")
}
