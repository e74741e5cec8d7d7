//! Word counts as a value.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::counts_file;
use super::table::WordTable;
use super::text::Splitter;
use crate::error::{Error, Result};
use crate::io::AtomicFile;
use crate::train::word_source::WordSource;

/// Distinct words of a text, how often each occurs, and how the text was cut into words.
pub struct WordCounts {
    splitter: Splitter,
    table: WordTable,
    bytes: u64,
    /// The table knows where each word occurred first.
    ordered: bool,
}

impl WordCounts {
    pub(super) fn new(splitter: Splitter, table: WordTable, bytes: u64) -> Self {
        Self {
            splitter,
            table,
            bytes,
            ordered: true,
        }
    }

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

    /// Number of words in the text: the sum of all counts.
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

    /// A hash of what decides how a text is cut, in 16 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.header());
        hash.finalize()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Add `other`, as if its text came after this one's.
    ///
    /// # Errors
    /// `Invalid` when the two were cut by different patterns or special tokens.
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

    /// The same without the words that occur less than `min_count` times.
    ///
    /// # Errors
    /// None in practice: the pattern is one that worked before.
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

    /// Write the bytes of a file of these counts to `out`. Equal counts make equal files, however
    /// they came about.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        counts_file::write(&self.header(), self.bytes, &self.sorted(), out)
    }

    /// Write the file, whole or not at all.
    ///
    /// # Errors
    /// `Io` when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut file = AtomicFile::create(path)?;
        self.write(&mut file)
            .map_err(|error| Error::io(path, error))?;
        file.commit()
    }

    /// Read a file that [`WordCounts::save`] wrote. The order of first occurrence is not in it.
    ///
    /// # Errors
    /// `Io` when it cannot be read; `Invalid` when it is damaged or something else.
    pub fn load(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        Self::read(&mut file, &path.display().to_string())
    }

    /// Read the bytes of a file; `name` is for messages.
    ///
    /// # Errors
    /// As for [`WordCounts::load`].
    pub fn read(source: &mut dyn Read, name: &str) -> Result<Self> {
        let contents = counts_file::read(source, name)?;
        Ok(Self {
            splitter: Splitter::new(&contents.regex, &contents.special)?,
            table: contents.table,
            bytes: contents.bytes,
            ordered: false,
        })
    }

    /// Equal for counts that may be merged.
    fn header(&self) -> Vec<u8> {
        counts_file::header(self.regex(), self.special())
    }
}

impl WordSource for WordCounts {
    fn each(&self, visit: &mut dyn FnMut(&[u8], u64)) {
        self.table.each(&mut |word, count, _| visit(word, count));
    }
}
