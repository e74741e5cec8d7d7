//! From counted words to a training corpus, and from learned merges to a vocabulary.

use std::cell::RefCell;

use super::corpus::{Corpus, WordSource};
use super::count::WordCounts;
use super::growing_vocab::Learned;
use super::options::TieBreak;
use crate::encode::PieceEncoder;
use crate::error::{Error, Result};
use crate::io::Progress;
use crate::vocab::{Vocab, MAX_MERGES};

/// The tokens that training starts from.
#[derive(Clone, Copy, Debug)]
pub enum StartTokens<'a> {
    /// These bytes, in the order of their ids.
    Bytes(&'a [u8]),
    /// The tokens of a vocabulary that training extends.
    Vocab(&'a Vocab),
}

impl StartTokens<'_> {
    /// The bytes of each token. Training numbers tokens without gaps, in the order of their ids.
    pub fn tokens(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Bytes(alphabet) => alphabet.iter().map(|&byte| vec![byte]).collect(),
            Self::Vocab(vocab) => {
                let tokens = vocab.tokens().iter();
                tokens.map(|(_, token)| token.to_vec()).collect()
            }
        }
    }

    /// The counted words, segmented into these tokens.
    ///
    /// # Errors
    /// `Invalid` where `tie_break` needs an order of words that `counts` does not have; and as
    /// [`Corpus::from_bytes`].
    pub fn corpus(
        &self,
        counts: &WordCounts,
        tie_break: TieBreak,
        progress: &mut Progress<'_>,
    ) -> Result<Corpus> {
        if tie_break != TieBreak::FirstSeen {
            return self.corpus_of(counts, progress);
        }
        if !counts.is_ordered() {
            return Err(Error::invalid(
                "tie_break=\"first_seen\" needs the order in which words occurred first, which a \
                 file of counts does not keep; count the text again or use another tie_break",
            ));
        }
        self.corpus_of(counts.in_order().as_slice(), progress)
    }

    /// Check that an encoding can hold what `corpus` may give: up to `vocab_size` tokens.
    ///
    /// # Errors
    /// `Invalid` where these may be more than [`MAX_MERGES`] allows.
    pub fn check_size(&self, corpus: &Corpus, vocab_size: u32) -> Result<()> {
        let (tokens, merged) = match self {
            Self::Bytes(alphabet) => (alphabet.len(), 0),
            Self::Vocab(vocab) => {
                let longer = vocab.tokens().iter().filter(|(_, token)| token.len() > 1);
                (vocab.len(), longer.count())
            }
        };
        let (wanted, most) = (vocab_size as usize - tokens, MAX_MERGES - merged);
        if wanted.min(corpus.max_merges()) > most {
            return Err(Error::invalid(format!(
                "expected a vocab_size of at most {most} merges, which is what an encoding \
                 {}holds, got one of {wanted}, and the text may have as many",
                if merged > 0 { "that extends base " } else { "" }
            )));
        }
        Ok(())
    }

    fn corpus_of(
        &self,
        words: &(impl WordSource + ?Sized),
        progress: &mut Progress<'_>,
    ) -> Result<Corpus> {
        let vocab = match self {
            Self::Bytes(alphabet) => return Corpus::from_bytes(words, alphabet, progress),
            Self::Vocab(vocab) => vocab,
        };
        let ids: Vec<u32> = vocab.tokens().iter().map(|(id, _)| id).collect();
        let encoder = RefCell::new(PieceEncoder::default());
        let segment = |word: &[u8], out: &mut Vec<u32>| {
            let from = out.len();
            encoder.borrow_mut().encode(vocab, word, out)?;
            for id in &mut out[from..] {
                // Ids may have gaps, where special tokens are; training numbers without gaps.
                let index = ids.binary_search(id);
                *id = index.map_err(|_| Error::invalid(format!("id {id} is no token")))? as u32;
            }
            Ok(())
        };
        Corpus::from_vocabulary(words, self.tokens(), &segment, progress)
    }
}

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
