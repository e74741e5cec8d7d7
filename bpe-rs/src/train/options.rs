//! What a training run is given besides the words.

/// What may be merged, and how far.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Merge until there are this many tokens, those at the start included.
    pub vocab_size: u32,
    /// Which of the equally frequent pairs comes first.
    pub tie_break: TieBreak,
    /// Stop at pairs that occur less often. Zero is like one.
    pub min_frequency: u64,
    /// Make no token of more bytes than this.
    pub max_token_length: Option<u32>,
    /// Make no token of more words than this (stretches without a space), and none with a colon
    /// before a space: the limits of SuperBPE's second stage.
    pub max_token_words: Option<u32>,
    /// Threads that count pairs; they make no difference to the result. Merging runs on one.
    pub threads: usize,
}

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
