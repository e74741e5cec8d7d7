//! Ids with the positions of their tokens in the text, and counting ids up to a limit.

use std::ops::Range;

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
    /// As [`Encoding::encode`].
    pub fn encode_with_offsets(
        &self,
        text: &str,
        allowed: Option<&Finder>,
    ) -> Result<IdsWithOffsets> {
        // The ranges of the tokens in bytes.
        let (mut ids, mut ranges) = (Vec::new(), Vec::new());
        let mut pieces = PieceEncoder::default();
        for (plain, special) in self.special().split(allowed, text) {
            self.pattern().try_pieces(&text[plain.clone()], |piece| {
                let (mut at, end) = (plain.start + piece.start, plain.start + piece.end);
                let first = ids.len();
                pieces.encode(self.vocab(), &text.as_bytes()[at..end], &mut ids)?;
                for &id in &ids[first..] {
                    // An id that stands for a missing byte covers one byte.
                    let len = self.vocab().tokens().get(id).map_or(1, <[u8]>::len);
                    ranges.push(at..end.min(at + len));
                    at += len;
                }
                Ok(())
            })?;
            if let Some((end, id)) = special {
                ids.push(id);
                ranges.push(plain.end..end);
            }
        }
        Ok((ids, in_characters(text.as_bytes(), &ranges)))
    }

    /// The number of ids that [`Encoding::encode`] gives; `None` as soon as there are more than
    /// `limit`.
    ///
    /// # Errors
    /// As [`Encoding::encode`].
    pub fn count_with_special(
        &self,
        text: &str,
        allowed: Option<&Finder>,
        limit: usize,
    ) -> Result<Option<usize>> {
        let mut total = 0;
        for (plain, special) in self.special().split(allowed, text) {
            let Some(count) = self.count(&text[plain], limit - total)? else {
                return Ok(None);
            };
            total += count + usize::from(special.is_some());
            if total > limit {
                return Ok(None);
            }
        }
        Ok(Some(total))
    }
}

/// Ranges of bytes with ascending starts as ranges of characters, in one pass over the text.
fn in_characters(text: &[u8], ranges: &[Range<usize>]) -> Vec<(usize, usize)> {
    let begins = |byte: &u8| byte & 0xC0 != 0x80;
    let count = |bytes: &[u8]| bytes.iter().filter(|byte| begins(byte)).count();
    // How many characters begin before byte `at`.
    let (mut before, mut at) = (0, 0);
    let convert = |range: &Range<usize>| {
        before += count(&text[at..range.start]);
        at = range.start;
        // If the start is inside a character, that one is the last of those counted.
        let is_inside = text.get(at).is_some_and(|byte| !begins(byte));
        let first = before - usize::from(is_inside);
        (first, before + count(&text[range.clone()]))
    };
    ranges.iter().map(convert).collect()
}
