//! Ids with the positions of their tokens in the text, and counting ids up to a limit.

use crate::encode::PieceEncoder;
use crate::encoding::Encoding;
use crate::error::Result;
use crate::special::Finder;

/// The ids of a text and, for each, the characters it covers: the index of the first, and the index
/// after the last. A character that several tokens share belongs to each of them.
pub type IdsWithOffsets = (Vec<u32>, Vec<(usize, usize)>);

impl Encoding {
    /// [`Encoding::encode`] with the position of each token, in characters.
    ///
    /// # Errors
    ///
    /// As [`Encoding::encode`].
    pub fn encode_with_offsets(
        &self,
        text: &str,
        allowed: Option<&Finder>,
    ) -> Result<IdsWithOffsets> {
        let mut encoder = OffsetEncoder {
            ids: Vec::new(),
            bytes: Vec::new(),
            pieces: PieceEncoder::default(),
        };
        let mut from = 0;
        let next = |from| self.special().find(allowed?, text, from);
        while let Some((start, end, id)) = next(from) {
            encoder.add_text(self, &text[from..start], from)?;
            encoder.ids.push(id);
            encoder.bytes.push((start, end));
            from = end;
        }
        encoder.add_text(self, &text[from..], from)?;
        let characters = Characters::new(text, &encoder.bytes).collect();
        Ok((encoder.ids, characters))
    }

    /// The number of ids that [`Encoding::encode`] gives; `None` as soon as there are more than
    /// `limit`.
    ///
    /// # Errors
    ///
    /// As [`Encoding::encode`].
    pub fn count_with_special(
        &self,
        text: &str,
        allowed: Option<&Finder>,
        limit: usize,
    ) -> Result<Option<usize>> {
        let (mut from, mut total) = (0, 0);
        let next = |from| self.special().find(allowed?, text, from);
        while let Some((start, end, _)) = next(from) {
            match self.count(&text[from..start], limit - total)? {
                Some(count) if total + count < limit => total += count + 1,
                _ => return Ok(None),
            }
            from = end;
        }
        Ok(self
            .count(&text[from..], limit - total)?
            .map(|count| total + count))
    }
}

/// Collects ids with the byte ranges of their tokens.
struct OffsetEncoder {
    ids: Vec<u32>,
    /// Start and end of each token, in bytes of the text.
    bytes: Vec<(usize, usize)>,
    pieces: PieceEncoder,
}

impl OffsetEncoder {
    /// Add a part of the text that begins at byte `base` and holds no special tokens.
    fn add_text(&mut self, encoding: &Encoding, text: &str, base: usize) -> Result<()> {
        let mut failed = Ok(());
        encoding.pattern().pieces(text, &mut |piece| {
            if failed.is_ok() {
                failed = self.add_piece(
                    encoding,
                    &text.as_bytes()[piece.clone()],
                    base + piece.start,
                );
            }
        })?;
        failed
    }

    fn add_piece(&mut self, encoding: &Encoding, piece: &[u8], start: usize) -> Result<()> {
        let first = self.ids.len();
        self.pieces.encode(encoding.vocab(), piece, &mut self.ids)?;
        let mut at = start;
        for &id in &self.ids[first..] {
            // An id that stands for a missing byte covers one byte.
            let len = encoding.vocab().tokens().get(id).map_or(1, <[u8]>::len);
            self.bytes.push((at, (at + len).min(start + piece.len())));
            at += len;
        }
        Ok(())
    }
}

/// Turns byte ranges with ascending starts into ranges of characters, in one pass over the text.
struct Characters<'a> {
    text: &'a [u8],
    ranges: std::slice::Iter<'a, (usize, usize)>,
    /// How many characters begin before byte `at`.
    index: usize,
    at: usize,
}

impl<'a> Characters<'a> {
    fn new(text: &'a str, ranges: &'a [(usize, usize)]) -> Self {
        Self {
            text: text.as_bytes(),
            ranges: ranges.iter(),
            at: 0,
            index: 0,
        }
    }
}

impl Iterator for Characters<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let &(start, end) = self.ranges.next()?;
        let begins = |byte: &u8| byte & 0xC0 != 0x80;
        self.index += self.text[self.at..start]
            .iter()
            .filter(|b| begins(b))
            .count();
        self.at = start;
        // If `start` is inside a character, that one is the last of those counted.
        let is_inside = self.text.get(start).is_some_and(|byte| !begins(byte));
        let first = self.index - usize::from(is_inside);
        let within = self.text[start..end].iter().filter(|b| begins(b)).count();
        Some((first, self.index + within))
    }
}
