//! The distinct words of a training text as tokens, and the merges that they give.

use super::apply::ApplyMerge;
use super::growing_vocab::{GrowingVocab, Learned};
use super::layout::{Narrow, RecordLayout, Wide};
use super::merge_loop::MergeLoop;
use super::options::{TieBreak, TrainOptions};
use super::queue::{BySmallestPair, ByTie, RankedPair};
use super::records::{Records, Size};
use crate::error::{Error, Result};
use crate::io::Progress;

/// Distinct words and how often each occurs.
pub trait WordSource {
    /// Call `visit` with every word and its count, in the order that decides between pairs by
    /// first occurrence. Visits the same words in the same order every time.
    fn each(&self, visit: &mut dyn FnMut(&[u8], u64));
}

impl<W: AsRef<[u8]>> WordSource for [(W, u64)] {
    fn each(&self, visit: &mut dyn FnMut(&[u8], u64)) {
        for (word, count) in self {
            visit(word.as_ref(), *count);
        }
    }
}

/// Appends the ids of a word, in an existing vocabulary, to the second argument.
pub type Segment<'a> = dyn Fn(&[u8], &mut Vec<u32>) -> Result<()> + 'a;

/// The distinct words of a training text and their counts, as tokens of the vocabulary that
/// training starts from.
pub struct Corpus {
    /// The vocabulary at the start, by id.
    tokens: Vec<Vec<u8>>,
    pub(super) words: Segmented,
}

/// The words as records of one layout.
pub(super) enum Segmented {
    Narrow(Records<Narrow>),
    Wide(Records<Wide>),
}

impl Corpus {
    /// Words as single bytes, `alphabet[id]` being the byte with that id.
    ///
    /// # Errors
    /// When `alphabet` names a byte twice or a word has a byte that it lacks; when the words are
    /// too many (2^32 tokens) or their counts add up to 2^64 or more; and what `progress` returns.
    pub fn from_bytes(
        words: &(impl WordSource + ?Sized),
        alphabet: &[u8],
        progress: &mut Progress<'_>,
    ) -> Result<Self> {
        const MISSING: u32 = u32::MAX;
        let mut id_of = [MISSING; 256];
        for (id, &byte) in alphabet.iter().enumerate() {
            if id_of[byte as usize] != MISSING {
                return Err(Error::invalid(format!(
                    "byte 0x{byte:02x} is in the alphabet twice"
                )));
            }
            id_of[byte as usize] = id as u32;
        }
        let tokens = alphabet.iter().map(|&byte| vec![byte]).collect();
        // Words need no check when the alphabet has all 256 bytes.
        let complete = alphabet.len() == id_of.len();
        let is_missing = |&&byte: &&u8| id_of[byte as usize] == MISSING;
        let measure = |word: &[u8]| {
            let missing = if complete {
                None
            } else {
                word.iter().find(is_missing)
            };
            match missing {
                None => Ok(word.len()),
                Some(byte) => Err(Error::invalid(format!(
                    "the words hold the byte 0x{byte:02x}, which is not in the alphabet"
                ))),
            }
        };
        let segment = |word: &[u8], ids: &mut Vec<u32>| {
            ids.extend(word.iter().map(|&byte| id_of[byte as usize]));
            Ok(())
        };
        Self::build(tokens, words, measure, segment, progress)
    }

    /// Words as tokens of an existing vocabulary, which training extends. `tokens[id]` are the
    /// bytes of token `id`, and `segment` gives a word's ids.
    ///
    /// # Errors
    /// What `segment` returns, and as for [`Corpus::from_bytes`].
    pub fn from_vocabulary(
        words: &(impl WordSource + ?Sized),
        tokens: Vec<Vec<u8>>,
        segment: &Segment<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<Self> {
        let measure = |word: &[u8]| {
            let mut ids = Vec::new();
            segment(word, &mut ids).map(|()| ids.len())
        };
        Self::build(tokens, words, measure, segment, progress)
    }

    fn build(
        tokens: Vec<Vec<u8>>,
        words: &(impl WordSource + ?Sized),
        measure: impl Fn(&[u8]) -> Result<usize>,
        segment: impl Fn(&[u8], &mut Vec<u32>) -> Result<()>,
        progress: &mut Progress<'_>,
    ) -> Result<Self> {
        // Two passes: the first finds the sizes, so that the records are allocated once.
        let (mut narrow_size, mut wide_size) = (Size::zero(), Size::zero());
        let (mut greatest, mut pairs) = (0, 0u128);
        each_word(words, progress, |word, count| {
            let len = measure(word)?;
            greatest = greatest.max(count);
            pairs += count as u128 * len.saturating_sub(1) as u128;
            narrow_size.add(len);
            wide_size.add(len);
            Ok(())
        })?;
        if pairs > u64::MAX as u128 {
            return Err(Error::invalid(format!(
                "the counts are too large: {pairs} pairs in all, at most 2^64 - 1 can be counted"
            )));
        }
        let narrow = greatest <= Narrow::MAX_COUNT && tokens.len() <= Narrow::MAX_ID as usize + 1;
        let words = if narrow {
            Segmented::Narrow(fill(
                Records::with_room_for(narrow_size),
                words,
                segment,
                progress,
            )?)
        } else {
            Segmented::Wide(fill(
                Records::with_room_for(wide_size),
                words,
                segment,
                progress,
            )?)
        };
        Ok(Self { tokens, words })
    }

    /// No more merges than this can be learned: each makes the words at least one token shorter.
    pub fn max_merges(&self) -> usize {
        match &self.words {
            Segmented::Narrow(records) => records.tokens(),
            Segmented::Wide(records) => records.tokens(),
        }
    }

    /// Learn merges until the vocabulary is full or no pair is left.
    ///
    /// # Errors
    /// What `progress` returns; when `vocab_size` is smaller than the vocabulary at the start.
    pub fn learn(
        self,
        options: &TrainOptions,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Learned>> {
        self.learn_with(options, None, progress)
    }

    /// [`Corpus::learn`]; `max_postings` replaces the usual limit after pairs have been counted.
    pub(super) fn learn_with(
        self,
        options: &TrainOptions,
        max_postings: Option<usize>,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Learned>> {
        if (options.vocab_size as usize) < self.tokens.len() {
            return Err(Error::invalid(format!(
                "vocab_size {} is smaller than the vocabulary to start from, {} tokens",
                options.vocab_size,
                self.tokens.len()
            )));
        }
        // Memory and thresholds depend on the size of the vocabulary.
        let reachable = self.tokens.len() + self.max_merges();
        let options = &TrainOptions {
            vocab_size: options
                .vocab_size
                .min(reachable.min(u32::MAX as usize) as u32),
            ..options.clone()
        };
        let Self { tokens, words } = self;
        let mut vocab = GrowingVocab::new(&tokens, options);
        let mut run = Run {
            options,
            vocab: &mut vocab,
            max_postings,
            progress,
        };
        match words {
            Segmented::Narrow(mut records) => {
                let ids = Narrow::MAX_ID + 1;
                if run.merge(&mut records, ids)? && ids < options.vocab_size {
                    // Both are in memory for a while.
                    records.compact();
                    let mut wide = records.widen()?;
                    drop(records);
                    run.merge(&mut wide, Wide::MAX_ID)?;
                }
            }
            Segmented::Wide(mut records) => {
                run.merge(&mut records, Wide::MAX_ID)?;
            }
        }
        Ok(vocab.into_learned())
    }
}

/// What the merge loops of one training run share.
struct Run<'a, 'v> {
    options: &'a TrainOptions,
    vocab: &'a mut GrowingVocab<'v>,
    max_postings: Option<usize>,
    progress: &'a mut Progress<'a>,
}

impl Run<'_, '_> {
    /// Merge until there are `end` tokens or as many as the options say; `false` if no pair was
    /// left before that.
    fn merge<L: ApplyMerge>(&mut self, records: &mut Records<L>, end: u32) -> Result<bool> {
        match self.options.tie_break {
            TieBreak::HuggingFace | TieBreak::Pair => {
                self.merge_by::<L, BySmallestPair>(records, end)
            }
            TieBreak::FirstSeen => self.merge_by::<L, ByTie<true>>(records, end),
            TieBreak::Longest => self.merge_by::<L, ByTie<false>>(records, end),
        }
    }

    fn merge_by<L: ApplyMerge, R: RankedPair>(
        &mut self,
        records: &mut Records<L>,
        end: u32,
    ) -> Result<bool> {
        MergeLoop::<L, R>::new(self.options, self.vocab, records).run(
            end,
            self.max_postings,
            self.progress,
        )
    }
}

fn fill<L: RecordLayout>(
    mut records: Records<L>,
    words: &(impl WordSource + ?Sized),
    segment: impl Fn(&[u8], &mut Vec<u32>) -> Result<()>,
    progress: &mut Progress<'_>,
) -> Result<Records<L>> {
    let mut ids = Vec::new();
    each_word(words, progress, |word, count| {
        ids.clear();
        segment(word, &mut ids)?;
        records.push(&ids, count)
    })?;
    Ok(records)
}

/// Call `visit` with all words that occur, until the first error.
fn each_word(
    words: &(impl WordSource + ?Sized),
    progress: &mut Progress<'_>,
    mut visit: impl FnMut(&[u8], u64) -> Result<()>,
) -> Result<()> {
    /// Words between two calls of `progress`.
    const WORDS_PER_CHECK: usize = 1 << 16;
    let (mut outcome, mut visited) = (Ok(()), 0usize);
    words.each(&mut |word, count| {
        if outcome.is_err() || count == 0 {
            return;
        }
        visited += 1;
        if visited.is_multiple_of(WORDS_PER_CHECK) {
            outcome = progress(0);
        }
        if outcome.is_ok() {
            outcome = visit(word, count);
        }
    });
    outcome
}
