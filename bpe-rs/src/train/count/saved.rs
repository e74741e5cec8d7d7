//! Word counts as a value and as a file.
//!
//! The file, all numbers little-endian: the magic `bpewords`, a `u32` version (1); then as
//! length-prefixed (`u32`) strings the pattern's regular expression and, after their number, the
//! special tokens; the bytes of text counted and the number of words (`u64`); for each word, in
//! byte order, as LEB128 numbers the length of the prefix shared with the word before it and of
//! the rest, the rest's bytes, the count; last the SHA-256 of all that. Equal counts make equal
//! files, however they came about.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::table::WordTable;
use super::text::Splitter;
use crate::error::{Error, Result};
use crate::io::AtomicFile;
use crate::train::word_source::WordSource;

const MAGIC: &[u8; 8] = b"bpewords";
const VERSION: u32 = 1;

/// Distinct words of a text, how often each occurs, and what cut the text into words.
pub struct WordCounts {
    splitter: Splitter,
    table: WordTable,
    bytes: u64,
    /// Words are known by first occurrence, not only by count.
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

    /// No words at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of text counted.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of words, every one as often as it occurs.
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

    /// The order of first occurrence is known: not after loading from a file.
    pub fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// What decides how a text is cut, as a short hexadecimal number.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(header_of(self));
        hash.finalize()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Add `other`, as if its text came after this one's.
    ///
    /// # Errors
    /// When the two were cut by different patterns or special tokens.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if header_of(self) != header_of(other) {
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

    /// Write the file's bytes to `out`.
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let mut out = Hashing {
            inner: BufWriter::with_capacity(1 << 16, out),
            hash: Sha256::new(),
        };
        out.write_all(&header_of(self))?;
        out.write_all(&self.bytes.to_le_bytes())?;
        out.write_all(&(self.len() as u64).to_le_bytes())?;
        let mut before: Vec<u8> = Vec::new();
        let mut buffer = Vec::new();
        for (word, count) in self.sorted() {
            let shared = before.iter().zip(&word).take_while(|(a, b)| a == b).count();
            buffer.clear();
            push_number(&mut buffer, shared as u64);
            push_number(&mut buffer, (word.len() - shared) as u64);
            buffer.extend_from_slice(&word[shared..]);
            push_number(&mut buffer, count);
            out.write_all(&buffer)?;
            before = word;
        }
        let digest = out.hash.finalize();
        out.inner.write_all(&digest)?;
        out.inner.flush()
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// `Io` when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut file = AtomicFile::create(path)?;
        self.write(&mut file)
            .map_err(|error| Error::io(path, error))?;
        file.commit()
    }

    /// Read a file that [`WordCounts::save`] wrote.
    ///
    /// # Errors
    /// When it cannot be read, is damaged or is something else.
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
        let mut input = Input {
            source,
            hash: Sha256::new(),
            name,
        };
        if &input.array::<8>()? != MAGIC {
            return Err(input.wrong("it does not start like a file of word counts"));
        }
        let version = input.u32()?;
        if version != VERSION {
            let problem = format!("expected version {VERSION}, got {version}; use a newer bpe-rs");
            return Err(input.wrong(&problem));
        }
        let pattern = input.string()?;
        let special = (0..input.u32()?)
            .map(|_| input.string())
            .collect::<Result<Vec<_>>>()?;
        let bytes = u64::from_le_bytes(input.array()?);
        let words = u64::from_le_bytes(input.array()?);
        let mut table = WordTable::new();
        let mut word: Vec<u8> = Vec::new();
        for i in 0..words {
            let (shared, rest) = (input.number()? as usize, input.number()?);
            if shared > word.len() {
                return Err(input.wrong("it is damaged: a word shares more than there is"));
            }
            let before = word.clone();
            word.truncate(shared);
            input.bytes(rest, &mut word)?;
            if i > 0 && word <= before {
                return Err(input.wrong("it is damaged: the words are not in order"));
            }
            let count = input.number()?;
            table.add(&word, count, i);
        }
        let expected = input.hash.clone().finalize();
        if input.array::<32>()? != expected.as_slice() {
            return Err(input.wrong("it is damaged: the checksum does not match its contents"));
        }
        let splitter = Splitter::new(&pattern, &special)?;
        Ok(Self {
            splitter,
            table,
            bytes,
            ordered: false,
        })
    }
}

impl WordSource for WordCounts {
    fn each(&self, visit: &mut dyn FnMut(&[u8], u64)) {
        self.table.each(&mut |word, count, _| visit(word, count));
    }
}

/// Magic, version, pattern and special tokens: equal for counts that may be merged.
fn header_of(counts: &WordCounts) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    let string = |header: &mut Vec<u8>, text: &str| {
        header.extend((text.len() as u32).to_le_bytes());
        header.extend(text.as_bytes());
    };
    string(&mut header, counts.regex());
    // The order in which special tokens were named makes no difference to the words.
    let mut special = counts.special().to_vec();
    special.sort_unstable();
    header.extend((special.len() as u32).to_le_bytes());
    special.iter().for_each(|token| string(&mut header, token));
    header
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

struct Input<'a> {
    source: &'a mut dyn Read,
    hash: Sha256,
    name: &'a str,
}

impl Input<'_> {
    fn wrong(&self, problem: &str) -> Error {
        Error::invalid(format!("{}: {problem}", self.name))
    }

    fn bytes(&mut self, len: u64, out: &mut Vec<u8>) -> Result<()> {
        let had = out.len();
        // By `take`, so that a damaged length cannot ask for memory that the file does not fill.
        let read = self.source.take(len).read_to_end(out);
        match read {
            Ok(n) if n as u64 == len => {
                self.hash.update(&out[had..]);
                Ok(())
            }
            Ok(_) => Err(self.wrong("it is cut short")),
            Err(error) => Err(Error::io(self.name, error)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        match self.source.read_exact(&mut array) {
            Ok(()) => {
                self.hash.update(array);
                Ok(array)
            }
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(self.wrong("it is cut short"))
            }
            Err(error) => Err(Error::io(self.name, error)),
        }
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn string(&mut self) -> Result<String> {
        let len = self.u32()? as u64;
        let mut bytes = Vec::new();
        self.bytes(len, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| self.wrong("it is damaged: a text is not UTF-8"))
    }

    fn number(&mut self) -> Result<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.wrong("it is damaged: a number is too long"))
    }
}
