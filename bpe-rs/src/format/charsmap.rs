//! SentencePiece's character maps: a table of replacements and a trie of what they replace.
//!
//! A map is the size of the trie in bytes, the trie as 32-bit units (a double array over UTF-8 bytes,
//! all numbers little-endian) and the replacements, each followed by a zero.

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;

use crate::error::{Error, Result};

/// A character map.
#[derive(Clone, Debug)]
pub(crate) struct CharacterMap {
    units: Vec<u32>,
    replacements: String,
}

/// One unit of the trie.
#[derive(Clone, Copy)]
struct Unit(u32);

impl Unit {
    /// The byte that leads here; no byte where the unit is a value.
    fn label(self) -> u32 {
        self.0 & (1 << 31 | 0xff)
    }

    /// How far away the children are.
    fn offset(self) -> usize {
        ((self.0 >> 10) << ((self.0 & 1 << 9) >> 6)) as usize
    }

    /// Whether a key ends here, so that a child is its value.
    fn has_value(self) -> bool {
        self.0 >> 8 & 1 == 1
    }

    fn value(self) -> usize {
        (self.0 & !(1 << 31)) as usize
    }
}

impl CharacterMap {
    /// Reads a map.
    ///
    /// # Errors
    /// `Invalid` where the bytes are none.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self> {
        let invalid = |problem: &str| Error::invalid(format!("precompiled_charsmap: {problem}"));
        let (size, rest) = bytes
            .split_first_chunk()
            .ok_or_else(|| invalid("expected a map, got too few bytes"))?;
        let size = u32::from_le_bytes(*size) as usize / 4 * 4;
        let (trie, replacements) = rest
            .split_at_checked(size)
            .ok_or_else(|| invalid("its trie is cut off"))?;
        let units = trie.chunks_exact(4);
        let units = units.filter_map(|unit| unit.first_chunk().copied().map(u32::from_le_bytes));
        let replacements = String::from_utf8(replacements.to_vec());
        Ok(Self {
            units: units.collect(),
            replacements: replacements.map_err(|_| invalid("its replacements are not UTF-8"))?,
        })
    }

    /// Reads a map that is written in base64.
    ///
    /// # Errors
    /// As [`CharacterMap::new`].
    pub(crate) fn from_base64(text: &str) -> Result<Self> {
        let bytes = STANDARD.decode(text).map_err(|error| {
            Error::invalid(format!(
                "precompiled_charsmap: expected base64, got {error}"
            ))
        })?;
        Self::new(&bytes)
    }

    /// A map in base64.
    pub(crate) fn to_base64(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }

    /// The keys that `text` begins with, the shortest first: their lengths and replacements.
    fn prefixes<'a, 'b>(
        &'a self,
        text: &'b [u8],
    ) -> impl Iterator<Item = (usize, &'a str)> + use<'a, 'b> {
        let unit = |at: usize| self.units.get(at).copied().map(Unit);
        // Without a root there are no children either.
        let mut at = unit(0).map_or(usize::MAX, Unit::offset);
        let step = move |(byte, len): (&u8, usize)| {
            at ^= usize::from(*byte);
            let found = unit(at).filter(|unit| unit.label() == u32::from(*byte))?;
            at ^= found.offset();
            Some((len, found.has_value().then_some(at)))
        };
        let steps = text.iter().zip(1..).map_while(step);
        steps.filter_map(move |(len, value)| {
            let start = unit(value?)?.value();
            let replacement = self.replacements.get(start..)?;
            let end = replacement.find('\0').unwrap_or(replacement.len());
            Some((len, &replacement[..end]))
        })
    }

    /// What Hugging Face's engine replaces `part` by: the replacement of the shortest key that it
    /// begins with. There, a zero ends the search.
    pub(crate) fn of_part(&self, part: &str) -> Option<&str> {
        let end = part.find('\0').unwrap_or(part.len());
        let found = self.prefixes(&part.as_bytes()[..end]).next();
        found.map(|(_, replacement)| replacement)
    }

    /// What SentencePiece replaces at the start of `text`, in bytes, and by what: the longest key.
    pub(crate) fn longest(&self, text: &str) -> Option<(usize, &str)> {
        self.prefixes(text.as_bytes()).last()
    }
}
