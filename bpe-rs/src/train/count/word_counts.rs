//! Word counts as a value, and what cuts texts into words.

use sha2::{Digest, Sha256};

use super::table::WordTable;
use crate::error::{Error, Result};
use crate::pretokenize::{Pretokenizer, TextCuts};
use crate::special::Finder;
use crate::train::corpus::WordSource;

/// First bytes of every file of word counts.
pub(super) const MAGIC: &[u8; 8] = b"bpewords";
/// The version of the file format.
pub(super) const VERSION: u32 = 1;

/// The distinct words of a text, how often each occurs, and what cut the text into words.
pub struct WordCounts {
    pub(super) splitter: Splitter,
    pub(super) table: WordTable,
    /// Bytes of text counted.
    pub(super) bytes: u64,
    /// Whether the order of first occurrence is known.
    pub(super) ordered: bool,
}

impl WordCounts {
    /// Number of distinct words.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no words.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of text counted.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of words, each counted as often as it occurs.
    pub fn total(&self) -> u128 {
        let mut total = 0;
        self.table.each(&mut |_, count, _| total += count as u128);
        total
    }

    /// How often `word` occurs.
    pub fn get(&self, word: &[u8]) -> u64 {
        self.table.get(word)
    }

    /// The regular expression that cut the text.
    pub fn regex(&self) -> &str {
        self.splitter.pattern.regex()
    }

    /// The name of the pattern, if it has one.
    pub fn pattern_name(&self) -> Option<&'static str> {
        self.splitter.pattern.name()
    }

    /// The special tokens that were cut out.
    pub fn special(&self) -> &[String] {
        &self.splitter.special
    }

    /// Whether the order of first occurrence is known, which a file does not keep.
    pub fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// A short hexadecimal hash of what decides how a text is cut: pattern and special tokens.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.header());
        hash.finalize()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Adds `other`, as if its text came after this one's.
    ///
    /// # Errors
    /// `Invalid` where the two were cut by different patterns or special tokens.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.header() != other.header() {
            let cut = |counts: &Self| {
                let pattern = counts.pattern_name().unwrap_or(counts.regex()).to_string();
                format!(
                    "pattern {pattern:?} and special tokens {:?}",
                    counts.special()
                )
            };
            return Err(Error::invalid(format!(
                "counts of different words cannot be merged: one has {}, the other {}",
                cut(self),
                cut(other)
            )));
        }
        self.table.absorb(&other.table, self.bytes);
        self.bytes += other.bytes;
        self.ordered &= other.ordered;
        Ok(())
    }

    /// A copy without the words that occur fewer than `min_count` times.
    ///
    /// # Errors
    /// `Invalid` never happens, since the pattern was accepted before.
    pub fn pruned(&self, min_count: u64) -> Result<Self> {
        let mut table = WordTable::new();
        self.table.each(&mut |word, count, first| {
            if count >= min_count {
                table.add(word, count, first);
            }
        });
        let splitter = Splitter::new(self.regex(), self.special())?;
        Ok(Self {
            splitter,
            table,
            bytes: self.bytes,
            ordered: self.ordered,
        })
    }

    /// All words with their counts, in byte order.
    pub fn sorted(&self) -> Vec<(Vec<u8>, u64)> {
        let mut words = Vec::with_capacity(self.len());
        self.table
            .each(&mut |word, count, _| words.push((word.to_vec(), count)));
        words.sort_unstable();
        words
    }

    /// All words with their counts, in the order of first occurrence.
    pub fn in_order(&self) -> Vec<(Vec<u8>, u64)> {
        let mut words = Vec::with_capacity(self.len());
        self.table
            .each(&mut |word, count, first| words.push((first, word.to_vec(), count)));
        words.sort_unstable();
        words
            .into_iter()
            .map(|(_, word, count)| (word, count))
            .collect()
    }

    /// Magic, version, pattern and special tokens: equal for counts that may be merged.
    pub(super) fn header(&self) -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        let string = |header: &mut Vec<u8>, text: &str| {
            header.extend((text.len() as u32).to_le_bytes());
            header.extend(text.as_bytes());
        };
        string(&mut header, self.regex());
        // The order in which special tokens were named makes no difference to the words.
        let mut special = self.special().to_vec();
        special.sort_unstable();
        header.extend((special.len() as u32).to_le_bytes());
        special.iter().for_each(|token| string(&mut header, token));
        header
    }
}

impl WordSource for WordCounts {
    fn each(&self, visit: &mut dyn FnMut(&[u8], u64)) {
        self.table.each(&mut |word, count, _| visit(word, count));
    }
}

/// Cuts text into words: by a pattern, after special tokens are cut out.
pub(super) struct Splitter {
    pub(super) pattern: Pretokenizer,
    pub(super) special: Vec<String>,
    finder: Finder,
}

impl Splitter {
    pub(super) fn new(pattern: &str, special: &[String]) -> Result<Self> {
        Ok(Self {
            pattern: Pretokenizer::new(pattern)?,
            finder: Finder::new(special.iter().map(String::as_str)),
            special: special.to_vec(),
        })
    }

    /// Counts the words of `text`, which stands at `origin` in the corpus.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up; `Invalid` for a text of 4 GiB or more.
    pub(super) fn count(&self, text: &str, origin: u64, table: &mut WordTable) -> Result<()> {
        let mut from = 0;
        while let Some((start, special)) = self.finder.find(text, from) {
            self.count_plain(&text[from..start], origin + from as u64, table)?;
            from = start + special.len();
        }
        self.count_plain(&text[from..], origin + from as u64, table)
    }

    fn count_plain(&self, text: &str, origin: u64, table: &mut WordTable) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.pattern.stretches(text, &mut |base, bounds| {
            table.add_pieces(text.as_bytes(), base, bounds, origin);
        })
    }

    /// Where a text may be cut so that the words of the parts are those of the whole.
    pub(super) fn cuts(&self) -> TextCuts<'_> {
        TextCuts::new(&self.pattern, self.special.iter().map(String::as_str))
    }
}
