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
#[cfg(test)]
mod checks;
mod merge;
mod pairs;
mod published;
mod small;
mod tokens;

use std::collections::HashMap;
use std::sync::OnceLock;

pub use build::MergeRule;
pub use merge::Merger;
pub(crate) use merge::KEPT;
pub use pairs::{PairTable, NONE};
use published::{packed, Packed};
pub(crate) use small::SmallMerge;
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

/// Tokens and how they merge. Built by [`Vocab::from_ranks`], [`Vocab::from_merges`] or
/// [`Vocab::published`].
pub struct Vocab {
    packed: Option<&'static Packed>,
    /// Built when first decoding, for a published vocabulary.
    tokens: OnceLock<TokenBytes>,
    /// Id of each merge number; `None` for a byte without a token. The first 256 only, for a
    /// published vocabulary, whose other ids follow from the number.
    ids: Vec<Option<u32>>,
    /// Built when first encoding, for a published vocabulary.
    pairs: OnceLock<PairTable>,
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
        write!(f, "Vocab({} tokens)", self.len())
    }
}

impl Vocab {
    /// A published vocabulary: "r50k_base", "p50k_base", "cl100k_base" or "o200k_base".
    pub fn published(name: &str) -> Option<Self> {
        let packed = packed(name)?;
        let mut ids = vec![None; 256];
        for (rank, &byte) in (0..).zip(packed.byte_order()) {
            ids[usize::from(byte)] = Some(rank);
        }
        Some(Self {
            packed: Some(packed),
            ids,
            whole_pieces: true,
            ..Self::empty()
        })
    }

    fn empty() -> Self {
        Self {
            packed: None,
            tokens: OnceLock::new(),
            ids: Vec::new(),
            pairs: OnceLock::new(),
            byte_pairs: OnceLock::new(),
            unreachable: HashMap::new(),
            whole_pieces: false,
            missing: MissingByte::Error,
            by_bytes: OnceLock::new(),
        }
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.packed
            .map_or_else(|| self.tokens().len(), |packed| 256 + packed.merges())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The highest id.
    pub fn max_id(&self) -> Option<u32> {
        match self.packed {
            Some(packed) => Some(packed.id(255 + packed.merges() as u32)),
            None => self.tokens().max_id(),
        }
    }

    /// Bytes by id.
    pub fn tokens(&self) -> &TokenBytes {
        self.tokens
            .get_or_init(|| self.packed.map_or_else(Default::default, Packed::tokens))
    }

    /// The id of the token with exactly these bytes.
    pub fn id_of(&self, token: &[u8]) -> Option<u32> {
        let by_bytes = self.by_bytes.get_or_init(|| {
            self.tokens()
                .iter()
                .map(|(id, bytes)| (bytes.into(), id))
                .collect()
        });
        by_bytes.get(token).copied()
    }

    /// The merges in order, as ids: `(left, right, merged)`. Enough, with the tokens, to write
    /// any file format.
    pub fn merges(&self) -> Vec<(u32, u32, u32)> {
        let mut merges: Vec<_> = self.pairs().iter().collect();
        merges.sort_unstable_by_key(|&(_, _, merged)| merged);
        let id = |number| self.id(number);
        merges
            .iter()
            .filter_map(|&(l, r, m)| Some((id(l)?, id(r)?, id(m)?)))
            .collect()
    }

    /// The id of `piece` where a whole piece becomes a token that merging would not make.
    #[inline]
    pub fn whole_piece(&self, piece: &[u8]) -> Option<u32> {
        if !self.whole_pieces || self.unreachable.is_empty() {
            return None;
        }
        self.unreachable.get(piece).copied()
    }

    /// The ids that only whole pieces become, ascending.
    pub fn whole_piece_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self
            .unreachable
            .values()
            .copied()
            .filter(|_| self.whole_pieces)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Whether this is what [`Vocab::from_ranks`] makes of the tokens: merges in the order of ids,
    /// all that can be made are made, and whole pieces are looked up where that matters.
    pub fn is_ranked(&self) -> bool {
        let ranked = Self::from_ranks(self.tokens().iter().map(|(id, bytes)| (bytes, id)));
        ranked.is_ok_and(|ranked| {
            ranked.merges() == self.merges() && ranked.whole_piece_ids() == self.whole_piece_ids()
        })
    }

    /// Whether whole pieces are looked up before merging (tiktoken's rule, HF's `ignore_merges`).
    pub fn whole_pieces(&self) -> bool {
        self.whole_pieces
    }

    /// The pair table, on merge numbers.
    pub fn pairs(&self) -> &PairTable {
        self.pairs.get_or_init(|| match self.packed {
            Some(packed) => packed.pair_table(),
            None => PairTable::with_capacity(0),
        })
    }

    /// The id of a merge number; `None` for a byte that has no token.
    #[inline]
    pub fn id(&self, number: u32) -> Option<u32> {
        match self.packed {
            Some(packed) if number >= 256 => Some(packed.id(number)),
            _ => self.ids[number as usize],
        }
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
            for (left, right, merged) in self.pairs().iter().filter(|p| p.0 < 256 && p.1 < 256) {
                table[(left << 8 | right) as usize] = merged;
            }
            table
        })
    }
}
