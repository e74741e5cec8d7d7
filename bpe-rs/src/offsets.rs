//! Where each token lies in its text, and how many tokens fit a limit.

use crate::encode::PieceEncoder;
use crate::encoding::Encoding;
use crate::error::Result;
use crate::special::Finder;

/// The ids of a text and, for each, the characters it covers: the first to the one after its
/// last. A character cut by tokens belongs to each of them.
pub type WithOffsets = (Vec<u32>, Vec<(usize, usize)>);

impl Encoding {
    /// [`Encoding::encode`] with the place of each token, in characters.
    ///
    /// Errors: as there.
    pub fn encode_with_offsets(&self, text: &str, allowed: Option<&Finder>) -> Result<WithOffsets> {
        let mut work = Offsets {
            ids: Vec::new(),
            bytes: Vec::new(),
            pieces: PieceEncoder::default(),
        };
        let mut from = 0;
        let next = |from| self.special().find(allowed?, text, from);
        while let Some((start, end, id)) = next(from) {
            work.plain(self, &text[from..start], from)?;
            work.ids.push(id);
            work.bytes.push((start, end));
            from = end;
        }
        work.plain(self, &text[from..], from)?;
        let characters = Characters::new(text, &work.bytes).collect();
        Ok((work.ids, characters))
    }

    /// How many ids [`Encoding::encode`] gives; `None` as soon as there are more than `limit`.
    ///
    /// Errors: as there.
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

struct Offsets {
    ids: Vec<u32>,
    /// Start and end of each token in bytes.
    bytes: Vec<(usize, usize)>,
    pieces: PieceEncoder,
}

impl Offsets {
    /// Add `text`, which begins at byte `base`.
    fn plain(&mut self, encoding: &Encoding, text: &str, base: usize) -> Result<()> {
        let mut failed = Ok(());
        encoding.pattern().pieces(text, &mut |piece| {
            if failed.is_ok() {
                failed = self.piece(
                    encoding,
                    &text.as_bytes()[piece.clone()],
                    base + piece.start,
                );
            }
        })?;
        failed
    }

    fn piece(&mut self, encoding: &Encoding, piece: &[u8], start: usize) -> Result<()> {
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

/// Ascending byte ranges as ranges of characters.
struct Characters<'a> {
    text: &'a [u8],
    ranges: std::slice::Iter<'a, (usize, usize)>,
    /// Byte `at` is in character `index`.
    at: usize,
    index: usize,
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
        // `index` counts the characters that begin before `start`; one that goes on is the last.
        let goes_on = self.text.get(start).is_some_and(|byte| !begins(byte));
        let first = self.index - usize::from(goes_on);
        let within = self.text[start..end].iter().filter(|b| begins(b)).count();
        Some((first, self.index + within))
    }
}
