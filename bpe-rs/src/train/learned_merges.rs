//! From learned merges to a vocabulary.

use super::growing_vocab::Learned;
use super::start_tokens::StartTokens;
use crate::error::{Error, Result};
use crate::vocab::Vocab;

/// Learned merges, with the tokens that they started from.
#[derive(Clone, Debug)]
pub struct LearnedMerges {
    /// The bytes that were the tokens at the start; `None` where a vocabulary was extended.
    alphabet: Option<Vec<u8>>,
    start: Vec<Vec<u8>>,
    merges: Vec<(u32, u32)>,
}

impl LearnedMerges {
    /// The merges that [`Corpus::learn`] returned for a corpus of `start`.
    pub fn new(start: StartTokens<'_>, learned: &[Learned]) -> Self {
        let alphabet = match start {
            StartTokens::Bytes(alphabet) => Some(alphabet.to_vec()),
            StartTokens::Vocab(_) => None,
        };
        Self {
            alphabet,
            start: start.tokens(),
            merges: learned
                .iter()
                .map(|merge| (merge.left, merge.right))
                .collect(),
        }
    }

    /// The number of merges.
    pub fn len(&self) -> usize {
        self.merges.len()
    }

    /// Whether nothing was learned.
    pub fn is_empty(&self) -> bool {
        self.merges.is_empty()
    }

    /// The bytes of the learned tokens, in the order in which they were learned.
    pub fn tokens(&self) -> Vec<Vec<u8>> {
        let mut tokens = self.start.clone();
        for &(left, right) in &self.merges {
            let token = [&tokens[left as usize][..], &tokens[right as usize]].concat();
            tokens.push(token);
        }
        tokens.split_off(self.start.len())
    }

    /// The vocabulary of the alphabet and the first `count` merges.
    ///
    /// # Errors
    /// `Invalid` where the merges extend another vocabulary.
    pub fn vocab(&self, count: usize) -> Result<Vocab> {
        let alphabet = self
            .alphabet
            .as_ref()
            .ok_or_else(|| Error::invalid("these merges extend an encoding"))?;
        Vocab::from_training(alphabet, &self.merges[..count.min(self.merges.len())])
    }
}
