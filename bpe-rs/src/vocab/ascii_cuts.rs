//! Where text of ASCII and the mark for a space may be cut: 64 bytes at a time, by one bit for each
//! pair of characters.

use std::ops::Range;

/// What SentencePiece writes for a space.
const MARK: char = '\u{2581}';
const MARK_UTF8: [u8; 3] = [0xE2, 0x96, 0x81];
/// The code of each byte of [`MARK`]. DEL, whose code it would be, makes a block take the slow way.
const MARK_CODE: u8 = 0x7F;
/// Bytes of text for which [`AsciiCuts`] gives one mask.
pub(super) const BLOCK: usize = 64;

/// Where text of ASCII and [`MARK`] may be cut: one bit for each pair of characters.
#[derive(Clone, Debug)]
pub(super) struct AsciiCuts {
    /// Bit `before << 7 | after` of the codes of two characters: whether it may be cut between them.
    pairs: Box<[u64; 256]>,
}

impl AsciiCuts {
    /// No text may be cut.
    pub(super) fn none() -> Self {
        Self::new(|_, _| false)
    }

    pub(super) fn new(is_cut: impl Fn(char, char) -> bool) -> Self {
        let mut pairs = Box::new([0; 256]);
        let character = |code: u8| match code {
            MARK_CODE => MARK,
            ascii => char::from(ascii),
        };
        for before in 0..=MARK_CODE {
            for after in 0..=MARK_CODE {
                let pair = usize::from(before) << 7 | usize::from(after);
                // The bytes of a mark have one code, so it is not cut between marks either.
                let is_one_mark = before == MARK_CODE && after == MARK_CODE;
                let is_cut = !is_one_mark && is_cut(character(before), character(after));
                pairs[pair / 64] |= u64::from(is_cut) << (pair % 64);
            }
        }
        Self { pairs }
    }

    /// The places in the block of `text[piece]` from `at` on before which it may be cut, as bits; `None`
    /// where the block or the character before it is not of ASCII and marks.
    #[inline]
    pub(super) fn cuts(&self, text: &[u8], piece: Range<usize>, at: usize) -> Option<u64> {
        // Three bytes before the block and two after it, so that its first and last mark are whole.
        // Outside the piece there are zeros: it neither begins nor ends inside a mark.
        let mut bytes = [0; 3 + BLOCK + 2];
        let from = at.saturating_sub(3).max(piece.start);
        match text[from..piece.end].first_chunk() {
            Some(all) if from + 3 == at => bytes = *all,
            _ => {
                let first = from + 3 - at;
                let len = (piece.end - from).min(bytes.len() - first);
                bytes[first..first + len].copy_from_slice(&text[from..from + len]);
            }
        }
        let is_known = |at: usize| {
            let is_mark = |from: usize| {
                let [a, b, c] = MARK_UTF8;
                (bytes[from] == a) & (bytes[from + 1] == b) & (bytes[from + 2] == c)
            };
            (bytes[at] < MARK_CODE) | is_mark(at) | is_mark(at - 1) | is_mark(at - 2)
        };
        // Without a branch for each byte, so that the loop becomes vector instructions.
        let known = (2..3 + BLOCK).fold(true, |known, at| known & is_known(at));
        if !known {
            return None;
        }
        let mut cuts = 0;
        let code = |at: usize| usize::from(bytes[at].min(MARK_CODE));
        for offset in 0..BLOCK {
            let pair = code(offset + 2) << 7 | code(offset + 3);
            cuts |= (self.pairs[pair / 64] >> (pair % 64) & 1) << offset;
        }
        // Not at the start of the piece, and not behind its end.
        let left = piece.end - at;
        cuts &= u64::MAX >> (BLOCK - left.min(BLOCK));
        Some(if at == piece.start { cuts & !1 } else { cuts })
    }
}
