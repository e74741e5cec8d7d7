//! Which of the equally frequent pairs is merged first.

use super::pair_counts::Pair;

/// The rule that decides between equally frequent pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TieBreak {
    /// The smallest (left id, right id), single bytes numbered in the order of Hugging Face's
    /// byte-level alphabet (which is also the order of GPT-2's vocabulary).
    HuggingFace,
    /// The smallest (left id, right id), single bytes numbered by their value (rustbpe, minbpe).
    Pair,
    /// The pair whose first occurrence comes first in the corpus as it is segmented now.
    FirstSeen,
    /// The pair that makes the longest token, in bytes; then the smallest (left id, right id)
    /// with bytes numbered by their value.
    Longest,
}

impl TieBreak {
    /// All rules with the names they go by.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("huggingface", Self::HuggingFace),
        ("pair", Self::Pair),
        ("first_seen", Self::FirstSeen),
        ("longest", Self::Longest),
    ];

    /// The rule called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|&(_, rule)| rule)
    }

    /// The 256 bytes in the order in which this rule numbers them.
    pub fn alphabet(self) -> [u8; 256] {
        let mut order: [u8; 256] = std::array::from_fn(|i| i as u8);
        if self == Self::HuggingFace {
            // GPT-2 writes printable bytes as themselves and the others as code points from 256
            // on, in byte order; its alphabet is sorted by code point. The sort is stable.
            order.sort_by_key(|byte| !matches!(byte, 33..=126 | 161..=172 | 174..=255));
        }
        order
    }
}

/// A pair and its rank at the time when it was queued; the greatest is merged next. Counts only
/// fall and first occurrences only move back, so an outdated rank is too high, never too low: it is
/// corrected when its pair is taken from the queue.
pub(super) trait RankedPair: Ord + Copy {
    /// The rank depends on where the pair occurs first.
    const POSITIONAL: bool;

    /// `length` is the merged token's, in bytes; `first` says where the pair occurs first (zero
    /// for rules that are not positional).
    fn new(count: u64, pair: Pair, length: u32, first: u64) -> Self;
    fn pair(self) -> Pair;
    fn count(self) -> u64;
}

/// [`TieBreak::HuggingFace`] and [`TieBreak::Pair`]: they differ in how bytes are numbered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BySmallestPair {
    count: u64,
    /// All bits flipped, so that the smallest is the greatest.
    inverted_pair: u64,
}

impl RankedPair for BySmallestPair {
    const POSITIONAL: bool = false;

    #[inline(always)]
    fn new(count: u64, pair: Pair, _length: u32, _first: u64) -> Self {
        Self {
            count,
            inverted_pair: !pair.key(),
        }
    }

    #[inline(always)]
    fn pair(self) -> Pair {
        Pair::from_key(!self.inverted_pair)
    }

    #[inline(always)]
    fn count(self) -> u64 {
        self.count
    }
}

/// [`TieBreak::FirstSeen`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByFirstOccurrence {
    count: u64,
    inverted_first: u64,
    pair: u64,
}

impl RankedPair for ByFirstOccurrence {
    const POSITIONAL: bool = true;

    fn new(count: u64, pair: Pair, _length: u32, first: u64) -> Self {
        Self {
            count,
            inverted_first: !first,
            pair: pair.key(),
        }
    }

    fn pair(self) -> Pair {
        Pair::from_key(self.pair)
    }

    #[inline(always)]
    fn count(self) -> u64 {
        self.count
    }
}

/// [`TieBreak::Longest`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByLength {
    count: u64,
    length: u32,
    inverted_pair: u64,
}

impl RankedPair for ByLength {
    const POSITIONAL: bool = false;

    fn new(count: u64, pair: Pair, length: u32, _first: u64) -> Self {
        Self {
            count,
            length,
            inverted_pair: !pair.key(),
        }
    }

    fn pair(self) -> Pair {
        Pair::from_key(!self.inverted_pair)
    }

    #[inline(always)]
    fn count(self) -> u64 {
        self.count
    }
}
