//! What a training run is given besides the words.

use super::tie_break::TieBreak;

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
    /// Threads that count pairs; they make no difference to the result. Merging runs on one.
    pub threads: usize,
}
