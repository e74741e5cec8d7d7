//! One id per character.

use std::collections::HashMap;

use super::symbol::unknown_id;
use crate::error::{quoted, Error, Result};
use crate::threads::check_interrupt;

/// Bytes of text between two checks whether the caller wants to stop.
const BYTES_PER_CHECK: usize = 1 << 22;

/// The characters that occur in texts.
#[derive(Clone, Debug, Default)]
pub struct DistinctCharacters {
    /// By code point, as far as the highest that was seen.
    seen: Vec<bool>,
}

impl DistinctCharacters {
    /// Adds those of one more text.
    ///
    /// # Errors
    /// `Interrupted` when the caller wants to stop.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let mut checked = 0;
        for (at, c) in text.char_indices() {
            if at - checked >= BYTES_PER_CHECK {
                check_interrupt()?;
                checked = at;
            }
            let point = c as usize;
            if point >= self.seen.len() {
                self.seen.resize(point + 1, false);
            }
            self.seen[point] = true;
        }
        Ok(())
    }

    /// The characters by code point.
    pub fn sorted(&self) -> Vec<char> {
        let points = (0..).zip(&self.seen).filter(|(_, &seen)| seen);
        points
            .filter_map(|(point, _)| char::from_u32(point))
            .collect()
    }
}

/// Every distinct character of a text is an id; ids follow the code points.
///
/// ```
/// let tokenizer = bpe_rs::words::CharTokenizer::train(&["hello"], None).unwrap();
/// assert_eq!(tokenizer.encode("hole").unwrap(), [1, 3, 2, 0]);
/// assert!(tokenizer.encode("help").is_err());
/// ```
#[derive(Clone, Debug)]
pub struct CharTokenizer {
    symbols: Vec<char>,
    /// The text that the id of unknown characters decodes to, which is the id after the last symbol.
    unknown: Option<String>,
    /// Ids of the characters below U+0100, which make up most of many texts: an array is faster than
    /// a map.
    low: [u32; 256],
    /// Ids of the other characters.
    high: HashMap<char, u32>,
}

/// In `low`: the character has no id.
const ABSENT: u32 = u32::MAX;

impl CharTokenizer {
    /// A tokenizer of the characters that occur in `texts`. With `unknown`, any other character
    /// gets one id more, which decodes to that text; without, it is an error.
    ///
    /// # Errors
    /// `Invalid` where no text holds a character; `Interrupted` when the caller wants to stop.
    pub fn train<T: AsRef<str>>(texts: &[T], unknown: Option<String>) -> Result<CharTokenizer> {
        let mut found = DistinctCharacters::default();
        texts.iter().try_for_each(|text| found.add(text.as_ref()))?;
        Self::from_symbols(found.sorted(), unknown)
    }

    /// A tokenizer with these characters as ids 0, 1, 2, ...
    ///
    /// # Errors
    /// `Invalid` where there are none, or one is listed twice.
    pub fn from_symbols(symbols: Vec<char>, unknown: Option<String>) -> Result<CharTokenizer> {
        if symbols.is_empty() {
            return Err(Error::invalid(
                "no characters: a character tokenizer needs at least one",
            ));
        }
        let mut low = [ABSENT; 256];
        let mut high = HashMap::new();
        for (&symbol, id) in symbols.iter().zip(0u32..) {
            let before = match low.get_mut(symbol as usize) {
                Some(slot) => std::mem::replace(slot, id),
                None => high.insert(symbol, id).unwrap_or(ABSENT),
            };
            if before != ABSENT {
                return Err(Error::invalid(format!(
                    "character {} is listed twice, as id {before} and as id {id}",
                    quoted(symbol.to_string())
                )));
            }
        }
        Ok(CharTokenizer {
            symbols,
            unknown,
            low,
            high,
        })
    }

    /// The id of every character.
    ///
    /// # Errors
    /// `Invalid` for a character that is not in the vocabulary, where there is no unknown token;
    /// `Interrupted` when the caller wants to stop.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let unknown = self.unknown.as_ref().map(|_| self.symbols.len() as u32);
        let mut ids = Vec::with_capacity(text.len());
        for (position, c) in text.chars().enumerate() {
            if position % BYTES_PER_CHECK == BYTES_PER_CHECK - 1 {
                check_interrupt()?;
            }
            let id = match self.low.get(c as usize) {
                Some(&id) => id,
                None => self.high.get(&c).copied().unwrap_or(ABSENT),
            };
            ids.push(match (id, unknown) {
                (ABSENT, Some(unknown)) => unknown,
                (ABSENT, None) => {
                    return Err(Error::invalid(format!(
                        "character {} (U+{:04X}) at position {position} is not one of the {} \
                         characters of this tokenizer; train it on a text that has it, or with an \
                         unknown token",
                        quoted(c.to_string()),
                        c as u32,
                        self.symbols.len()
                    )));
                }
                (id, _) => id,
            });
        }
        Ok(ids)
    }

    /// The text of `ids`.
    ///
    /// # Errors
    /// `Invalid` for an id outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut text = String::with_capacity(ids.len());
        for &id in ids {
            match (self.symbols.get(id as usize), &self.unknown) {
                (Some(&symbol), _) => text.push(symbol),
                (None, Some(unknown)) if id as usize == self.symbols.len() => {
                    text.push_str(unknown);
                }
                (None, _) => return Err(unknown_id(id, self.vocab_size())),
            }
        }
        Ok(text)
    }

    /// Number of ids, the unknown one included.
    pub fn vocab_size(&self) -> usize {
        self.symbols.len() + usize::from(self.unknown.is_some())
    }

    /// The characters in the order of their ids.
    pub fn symbols(&self) -> &[char] {
        &self.symbols
    }

    /// The text that the id of unknown characters decodes to, if there is such an id.
    pub fn unknown(&self) -> Option<&str> {
        self.unknown.as_deref()
    }
}
