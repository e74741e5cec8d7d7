//! Vocabularies: tokens, the order of merges, the pair table.
//!
//! Inside, every token has a *merge number*: bytes are 0..=255 by value, merged tokens follow in
//! the order in which they merge. So "which pair merges first" is "whose number is smaller", for
//! tiktoken's ranks and for Hugging Face's merge lists alike, and ids (which may be anything) only
//! appear when results are written.
//!
//! Why one pair per token is enough: restrict the merging of a longer text to a stretch that ends
//! up as one token. While no merge crosses the stretch's borders, what happens inside is what
//! would happen to the stretch alone, step for step. Alone, it passes exactly one state of two
//! parts. So of all ways to cut a token in two, only that one is ever seen, and a token that does
//! not come out of its own bytes never comes out of merging at all (only of whole-piece look-up).

mod build;
mod merge;
mod pairs;
mod tokens;

use std::collections::HashMap;
use std::sync::OnceLock;

pub use build::MergeRule;
pub use merge::Merger;
pub use pairs::{PairTable, NONE};
pub use tokens::TokenBytes;

/// What to do with a byte that is no token of its own and part of no merge in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingByte {
    /// Report an error that names the byte.
    #[default]
    Error,
    /// Leave it out (Hugging Face without an unknown token).
    Skip,
    /// Write this id (Hugging Face's unknown token).
    Id(u32),
}

/// Tokens and how they merge. Built by [`Vocab::from_ranks`] or [`Vocab::from_merges`].
#[derive(Clone)]
pub struct Vocab {
    tokens: TokenBytes,
    /// Id of each merge number; `None` for a byte without a token.
    ids: Vec<Option<u32>>,
    pairs: PairTable,
    /// Merge number of every pair of bytes: most look-ups of a fresh piece are these.
    byte_pairs: OnceLock<Box<[u32]>>,
    /// Tokens that merging never makes. They encode only where they are a whole piece.
    unreachable: HashMap<Box<[u8]>, u32>,
    /// Whether a piece that is a token becomes that token whatever the merges say.
    whole_pieces: bool,
    missing: MissingByte,
    by_bytes: OnceLock<HashMap<Box<[u8]>, u32>>,
}

impl std::fmt::Debug for Vocab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vocab({} tokens)", self.tokens.len())
    }
}

impl Vocab {
    /// Bytes by id.
    pub fn tokens(&self) -> &TokenBytes {
        &self.tokens
    }

    /// The id of the token with exactly these bytes.
    pub fn id_of(&self, token: &[u8]) -> Option<u32> {
        let by_bytes = self.by_bytes.get_or_init(|| {
            self.tokens
                .iter()
                .map(|(id, bytes)| (bytes.into(), id))
                .collect()
        });
        by_bytes.get(token).copied()
    }

    /// The merges in order, as ids: `(left, right, merged)`. Enough, with the tokens, to write
    /// any file format.
    pub fn merges(&self) -> Vec<(u32, u32, u32)> {
        let mut merges: Vec<_> = self.pairs.iter().collect();
        merges.sort_unstable_by_key(|&(_, _, merged)| merged);
        let id = |number: u32| self.ids[number as usize];
        merges
            .iter()
            .filter_map(|&(l, r, m)| Some((id(l)?, id(r)?, id(m)?)))
            .collect()
    }

    /// Whether whole pieces are looked up before merging (tiktoken, Llama 3) and there are tokens
    /// for which that makes a difference.
    pub fn whole_piece(&self, piece: &[u8]) -> Option<u32> {
        if !self.whole_pieces || self.unreachable.is_empty() {
            return None;
        }
        self.unreachable.get(piece).copied()
    }

    /// The pair table, on merge numbers.
    pub fn pairs(&self) -> &PairTable {
        &self.pairs
    }

    /// The id of a merge number; `None` for a byte that has no token.
    #[inline(always)]
    pub fn id(&self, number: u32) -> Option<u32> {
        self.ids[number as usize]
    }

    /// What happens to a byte without a token.
    pub fn missing_byte(&self) -> MissingByte {
        self.missing
    }

    /// Set what happens to a byte without a token.
    #[must_use]
    pub fn with_missing_byte(mut self, missing: MissingByte) -> Self {
        self.missing = missing;
        self
    }

    /// Merge numbers of pairs of bytes, indexed by `first << 8 | second`.
    pub fn byte_pairs(&self) -> &[u32] {
        self.byte_pairs.get_or_init(|| {
            let mut table = vec![NONE; 1 << 16].into_boxed_slice();
            for (left, right, merged) in self.pairs.iter().filter(|p| p.0 < 256 && p.1 < 256) {
                table[(left << 8 | right) as usize] = merged;
            }
            table
        })
    }
}
