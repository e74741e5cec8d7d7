//! [`Vocab`]: tokens, their ids, and which pairs merge.
//!
//! A published vocabulary is a packed table inside the library. Its pair table and its tokens'
//! bytes are built at first use, so that a process pays only for what it does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use super::char_starts::CharStarts;
use super::ids::Ids;
use super::pairs::{PairTable, NO_MERGE};
#[cfg(feature = "vocabularies")]
use super::published::packed;
use super::published::Packed;
use super::stages::Stages;
use super::symbols::Symbols;
use super::tokens::TokenBytes;
use crate::threads::ForkOnce;

/// What to do with a byte that has no token and takes part in no merge of a text.
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

/// Tokens and how they merge.
///
/// Built by [`Vocab::published`], [`Vocab::from_ranks`], [`Vocab::from_merges`],
/// [`Vocab::from_training`] or [`Vocab::from_characters`].
pub struct Vocab {
    pub(super) packed: Option<&'static Packed>,
    pub(super) tokens: ForkOnce<TokenBytes>,
    /// The id of each merge number, `None` for a byte without a token.
    pub(super) ids: Ids,
    pub(super) pairs: ForkOnce<PairTable>,
    /// The part of `pairs` for two single bytes, as a dense table: the bytes of a new piece are
    /// looked up here.
    pub(super) byte_pairs: ForkOnce<Box<[u32]>>,
    /// What characters become alone, where merging may start from that.
    pub(super) char_starts: ForkOnce<Option<CharStarts>>,
    /// How often that was wanted before it was there.
    pub(super) char_starts_wanted: AtomicU32,
    /// Tokens that merging never produces. They encode only where they are a whole piece.
    pub(super) unreachable: HashMap<Box<[u8]>, u32>,
    /// Whether a piece that is a token becomes that token whatever the merges say.
    pub(super) whole_pieces: bool,
    pub(super) missing: MissingByte,
    /// What texts consist of before merging, where that is not bytes.
    pub(super) symbols: Option<Box<Symbols>>,
    pub(super) by_bytes: ForkOnce<HashMap<Box<[u8]>, u32>>,
    pub(super) stages: ForkOnce<Option<Box<Stages<Vocab>>>>,
}

impl std::fmt::Debug for Vocab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vocab({} tokens)", self.len())
    }
}

impl Vocab {
    /// The published vocabulary `name`: "r50k_base", "p50k_base", "cl100k_base" or "o200k_base";
    /// `None` for any other name.
    #[cfg(feature = "vocabularies")]
    pub fn published(name: &str) -> Option<Self> {
        let packed = packed(name)?;
        let mut ids = vec![None; 256];
        for (rank, &byte) in (0..).zip(packed.byte_order()) {
            ids[usize::from(byte)] = Some(rank);
        }
        Some(Self {
            packed: Some(packed),
            ids: packed.ids(ids),
            whole_pieces: true,
            ..Self::empty()
        })
    }

    pub(super) fn empty() -> Self {
        Self {
            packed: None,
            tokens: ForkOnce::new(),
            ids: Ids::empty(),
            pairs: ForkOnce::new(),
            byte_pairs: ForkOnce::new(),
            char_starts: ForkOnce::new(),
            char_starts_wanted: AtomicU32::new(0),
            unreachable: HashMap::new(),
            whole_pieces: false,
            missing: MissingByte::Error,
            symbols: None,
            by_bytes: ForkOnce::new(),
            stages: ForkOnce::new(),
        }
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.packed
            .map_or_else(|| self.tokens().len(), |packed| 256 + packed.merges())
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The highest id, `None` without tokens.
    pub fn max_id(&self) -> Option<u32> {
        match self.packed {
            Some(packed) => Some(packed.id(255 + packed.merges() as u32)),
            None => self.tokens().max_id(),
        }
    }

    /// The bytes of every token, by id.
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

    /// The merges in order of priority, as ids: `(left, right, merged)`. Together with the tokens
    /// they are enough to write any file format.
    pub fn merges(&self) -> Vec<(u32, u32, u32)> {
        let mut merges: Vec<_> = self.pairs().iter().collect();
        merges.sort_unstable_by_key(|&(_, _, merged)| merged);
        let id = |number| self.id(number);
        merges
            .iter()
            .filter_map(|&(l, r, m)| Some((id(l)?, id(r)?, id(m)?)))
            .collect()
    }

    /// The id of `piece` if it is a token that merging does not produce and that whole pieces
    /// nevertheless become.
    #[inline]
    pub fn whole_piece(&self, piece: &[u8]) -> Option<u32> {
        if !self.whole_pieces || self.unreachable.is_empty() {
            return None;
        }
        self.unreachable.get(piece).copied()
    }

    /// The ids of all tokens that [`Self::whole_piece`] knows, ascending.
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

    /// Whether whole pieces are looked up before merging (tiktoken's rule, HF's `ignore_merges`).
    pub fn whole_pieces(&self) -> bool {
        self.whole_pieces
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

    /// What texts consist of before merging; `None` for bytes.
    #[inline(always)]
    pub(crate) fn symbols(&self) -> Option<&Symbols> {
        self.symbols.as_deref()
    }

    /// The pair table, on merge numbers.
    pub(crate) fn pairs(&self) -> &PairTable {
        self.pairs.get_or_init(|| match self.packed {
            Some(packed) => packed.pair_table(),
            None => PairTable::with_capacity(0),
        })
    }

    /// The merge numbers of all pairs of bytes, indexed by `first << 8 | second`; [`NO_MERGE`]
    /// for two bytes that do not merge.
    pub(crate) fn byte_pairs(&self) -> &[u32] {
        self.byte_pairs.get_or_init(|| {
            let mut table = vec![NO_MERGE; 1 << 16].into_boxed_slice();
            for (left, right, merged) in self.pairs().iter().filter(|p| p.0 < 256 && p.1 < 256) {
                table[(left << 8 | right) as usize] = merged;
            }
            table
        })
    }

    /// What characters become alone; `None` where merging has to start from bytes. Of a vocabulary of
    /// bytes.
    pub(crate) fn char_starts(&self) -> Option<&CharStarts> {
        let make = || CharStarts::new(self.pairs());
        self.char_starts.get_or_init(make).as_ref()
    }

    /// [`Self::char_starts`] once it has been wanted for so many pieces that it pays: making it takes as
    /// long as merging some hundred pieces from bytes. Both ways to start give the same ids. `pieces` tells
    /// for how many it is wanted now, of which about half are equal to others.
    #[inline]
    pub(crate) fn char_starts_if_worth(
        &self,
        pieces: impl FnOnce() -> usize,
    ) -> Option<&CharStarts> {
        const WORTH: u32 = 1024;
        if let Some(starts) = self.char_starts.get() {
            return starts.as_ref();
        }
        let before = self
            .char_starts_wanted
            .fetch_add(pieces() as u32, Ordering::Relaxed);
        if before < WORTH {
            return None;
        }
        self.char_starts()
    }

    /// The id of a merge number that merging with this vocabulary produced; `None` for a byte
    /// without a token.
    #[inline]
    pub(crate) fn id(&self, number: u32) -> Option<u32> {
        self.ids.get(number)
    }
}
