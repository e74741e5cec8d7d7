//! Training: words and their counts in, merges out.
//!
//! [`Corpus`] holds the distinct words of the training text as tokens; [`Corpus::learn`] merges
//! the most frequent pair again and again. The result is exactly that of counting all pairs anew
//! before every merge, which is what `naive` in the tests does.
//!
//! How it is fast: words are fixed records that vector instructions search (`records`,
//! `apply`); every pair lists its words once, when the merge that creates its younger part runs,
//! and counts only fall afterwards, so that a lazy queue is exact (`merge`, `births`, `ties`); rare pairs
//! are not watched until they matter (`watch`, `tally`).

mod apply;
mod births;
pub mod count;
mod job;
mod merge;
mod pairs;
mod queue;
mod records;
mod tally;
mod ties;
mod vocabulary;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::error::{Error, Result};
use job::{Job, Taken};
use merge::{merge_narrow, merge_wide};
use records::{Layout, Narrow, Records, Room, Wide};

pub use job::Learned;
pub use ties::TieBreak;
pub use vocabulary::{LearnedMerges, StartTokens};

/// Distinct words and how often each occurs.
pub trait Words {
    /// Call `visit` with every word and its count, in the order that decides between pairs by
    /// first occurrence. Visits the same words in the same order every time.
    fn each(&self, visit: &mut dyn FnMut(&[u8], u64));
}

impl<W: AsRef<[u8]>> Words for [(W, u64)] {
    fn each(&self, visit: &mut dyn FnMut(&[u8], u64)) {
        for (word, count) in self {
            visit(word.as_ref(), *count);
        }
    }
}

/// Splits a word into ids of an existing vocabulary, appending them to the second argument.
pub type Segment<'a> = dyn Fn(&[u8], &mut Vec<u32>) -> Result<()> + 'a;

/// Told the number of merges made so far, several times a second; an error stops the training.
pub type Tick<'a> = dyn FnMut(u32) -> Result<()> + 'a;

/// What may be merged, and how far.
#[derive(Clone, Debug)]
pub struct Options {
    /// Merge until there are so many tokens, those at the start included.
    pub vocab_size: u32,
    /// Which of the equally frequent pairs comes first.
    pub tie_break: TieBreak,
    /// Stop at pairs that occur less often. Zero is like one.
    pub min_frequency: u64,
    /// Make no token of more bytes than this.
    pub max_token_length: Option<u32>,
    /// Threads; they make no difference to the result. Merging itself runs on one.
    pub threads: usize,
}

/// The distinct words of a training text, as tokens of the vocabulary that training starts from.
pub struct Corpus {
    /// The vocabulary at the start, by id.
    tokens: Vec<Vec<u8>>,
    words: Segmented,
}

enum Segmented {
    Narrow(Records<Narrow>),
    Wide(Records<Wide>),
}

impl Corpus {
    /// Words as single bytes, `alphabet[id]` being the byte with that id.
    ///
    /// # Errors
    /// When `alphabet` names a byte twice or a word has a byte that it lacks; when the words are
    /// too many (2^32 tokens) or their counts add up to 2^64 or more; and what `tick` returns.
    pub fn from_bytes(
        words: &(impl Words + ?Sized),
        alphabet: &[u8],
        tick: &mut Tick<'_>,
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
        // With all 256 bytes there is nothing to look for.
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
        Self::build(tokens, words, measure, segment, tick)
    }

    /// Words as tokens of an existing vocabulary, which learning goes on from. `tokens[id]` are
    /// the bytes of token `id`.
    ///
    /// # Errors
    /// What `segment` returns, and as for [`Corpus::from_bytes`].
    pub fn from_vocabulary(
        words: &(impl Words + ?Sized),
        tokens: Vec<Vec<u8>>,
        segment: &Segment<'_>,
        tick: &mut Tick<'_>,
    ) -> Result<Self> {
        let measure = |word: &[u8]| {
            let mut ids = Vec::new();
            segment(word, &mut ids).map(|()| ids.len())
        };
        Self::build(tokens, words, measure, segment, tick)
    }

    fn build(
        tokens: Vec<Vec<u8>>,
        words: &(impl Words + ?Sized),
        measure: impl Fn(&[u8]) -> Result<usize>,
        segment: impl Fn(&[u8], &mut Vec<u32>) -> Result<()>,
        tick: &mut Tick<'_>,
    ) -> Result<Self> {
        // Two passes: the first finds the sizes, so that the records are allocated once.
        let (mut narrow_room, mut wide_room) = (Room::none(), Room::none());
        let (mut longest, mut greatest, mut pairs) = (0, 0, 0u128);
        each_word(words, tick, |word, count| {
            let len = measure(word)?;
            longest = longest.max(len);
            greatest = greatest.max(count);
            pairs += count as u128 * len.saturating_sub(1) as u128;
            narrow_room.add(len);
            wide_room.add(len);
            Ok(())
        })?;
        if pairs > u64::MAX as u128 {
            return Err(Error::invalid(format!(
                "the counts are too large: {pairs} pairs in all, at most 2^64 - 1 can be counted"
            )));
        }
        if longest > Wide::MAX_LEN {
            return Err(Error::invalid(format!(
                "a word of {longest} tokens is too long"
            )));
        }
        let narrow = longest <= Narrow::MAX_LEN
            && greatest <= Narrow::MAX_COUNT
            && tokens.len() <= Narrow::MAX_ID as usize + 1;
        let words = if narrow {
            Segmented::Narrow(fill(
                Records::with_room_for(narrow_room),
                words,
                segment,
                tick,
            )?)
        } else {
            Segmented::Wide(fill(
                Records::with_room_for(wide_room),
                words,
                segment,
                tick,
            )?)
        };
        Ok(Self { tokens, words })
    }

    /// Learn merges until the vocabulary is full or no pair is left.
    ///
    /// # Errors
    /// What `tick` returns; when `vocab_size` is smaller than the vocabulary at the start.
    pub fn learn(self, options: &Options, tick: &mut Tick<'_>) -> Result<Vec<Learned>> {
        self.learn_with(options, None, tick)
    }

    fn learn_with(
        self,
        options: &Options,
        max_postings: Option<usize>,
        tick: &mut Tick<'_>,
    ) -> Result<Vec<Learned>> {
        let Self { tokens, words } = self;
        if (options.vocab_size as usize) < tokens.len() {
            return Err(Error::invalid(format!(
                "vocab_size {} is smaller than the vocabulary to start from, {} tokens",
                options.vocab_size,
                tokens.len()
            )));
        }
        let job = Job {
            lengths: tokens.iter().map(|token| token.len() as u32).collect(),
            ids: options.vocab_size,
            min_frequency: options.min_frequency.max(1),
            max_token_length: options.max_token_length.unwrap_or(u32::MAX),
            taken: tokens.iter().any(|token| token.len() > 1).then(|| Taken {
                tokens: &tokens,
                spellings: tokens.iter().map(Vec::as_slice).collect::<HashSet<_>>(),
            }),
            threads: options.threads.max(1),
            max_postings,
            tick,
        };
        match words {
            Segmented::Narrow(records) => merge_narrow(records, options.tie_break, job),
            Segmented::Wide(records) => merge_wide(records, options.tie_break, job),
        }
    }
}

fn fill<L: Layout>(
    mut records: Records<L>,
    words: &(impl Words + ?Sized),
    segment: impl Fn(&[u8], &mut Vec<u32>) -> Result<()>,
    tick: &mut Tick<'_>,
) -> Result<Records<L>> {
    let mut ids = Vec::new();
    each_word(words, tick, |word, count| {
        ids.clear();
        segment(word, &mut ids)?;
        records.push(ids.iter().copied(), count)
    })?;
    Ok(records)
}

/// Call `visit` with all words that occur, until the first error.
fn each_word(
    words: &(impl Words + ?Sized),
    tick: &mut Tick<'_>,
    mut visit: impl FnMut(&[u8], u64) -> Result<()>,
) -> Result<()> {
    /// Words between two looks at the clock.
    const STRIDE: usize = 1 << 16;
    let (mut outcome, mut visited) = (Ok(()), 0usize);
    words.each(&mut |word, count| {
        if outcome.is_err() || count == 0 {
            return;
        }
        visited += 1;
        if visited.is_multiple_of(STRIDE) {
            outcome = tick(0);
        }
        if outcome.is_ok() {
            outcome = visit(word, count);
        }
    });
    outcome
}
