//! Word counts as a file.
//!
//! The file, numbers little-endian: the magic `bpewords`, the version 1 (`u32`); the pattern's
//! regular expression, the number of special tokens (`u32`) and each of them, strings with their
//! length before them (`u32`); the bytes of text counted and the number of words (`u64`); for each
//! word, in byte order, the length of the prefix that it shares with the word before it, the length
//! of the rest, the rest, and the count, numbers in LEB128; last the SHA-256 of all that. Equal
//! counts make equal files.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::table::WordTable;
use super::word_counts::{Splitter, WordCounts, MAGIC, VERSION};
use crate::error::{Error, Result};
use crate::io::AtomicFile;

impl WordCounts {
    /// Writes the bytes of a file to `out`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let mut out = Hashing {
            inner: BufWriter::with_capacity(1 << 16, out),
            hash: Sha256::new(),
        };
        out.write_all(&self.header())?;
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

    /// Reads a file that [`WordCounts::save`] wrote.
    ///
    /// # Errors
    /// `Io` where it cannot be read, `Invalid` where it is damaged or another file.
    pub fn load(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        Self::read(&mut file, &path.display().to_string())
    }

    /// Reads the bytes of a file; `name` is for messages.
    ///
    /// # Errors
    /// As [`WordCounts::load`].
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

/// Appends a LEB128 number.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Hashes what is written through it.
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

/// Reads and hashes the fields of a file.
struct Input<'a> {
    source: &'a mut dyn Read,
    hash: Sha256,
    name: &'a str,
}

impl Input<'_> {
    fn wrong(&self, problem: &str) -> Error {
        Error::invalid(format!("{}: {problem}", self.name))
    }

    /// Appends the next `len` bytes to `out`.
    fn bytes(&mut self, len: u64, out: &mut Vec<u8>) -> Result<()> {
        let had = out.len();
        // `take` reserves no memory: a damaged length must not allocate more than the file holds.
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

    /// A string with its length before it.
    fn string(&mut self) -> Result<String> {
        let len = self.u32()? as u64;
        let mut bytes = Vec::new();
        self.bytes(len, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| self.wrong("it is damaged: a text is not UTF-8"))
    }

    /// A LEB128 number.
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
