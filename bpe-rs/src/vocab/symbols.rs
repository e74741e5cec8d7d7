//! The symbols of a text before merging, where they are not bytes.
//!
//! A character-level vocabulary starts from characters, each with its own token; from `<0xNN>`
//! tokens for the bytes of characters that have none; and from the unknown token. Each of them has
//! a merge number, like a byte in a byte-level vocabulary, and everything from there on is the same.
//!
//! Such a vocabulary often comes without a pattern that cuts text into pieces, so a whole text is
//! one piece. [`Symbols::cut`] cuts it where no merge can cross: between two symbols that are not
//! neighbours in any token. What lies between two such places merges as it would alone, so that
//! caches of pieces are exact here, too, and time is linear.

use std::ops::Range;

use crate::error::{quoted, Error, Result};

/// "No symbol": no merge number is so large.
const NONE: u32 = u32::MAX;
/// The characters of one page of a [`CharTable`].
const PAGE: usize = 256;

/// The merge number of each character, in pages that exist only where a character has one.
#[derive(Clone, Debug)]
pub(super) struct CharTable {
    /// By the high bits of a character: its page, 0 for the empty page.
    pages: Vec<u16>,
    numbers: Vec<[u32; PAGE]>,
}

impl CharTable {
    pub(super) fn new() -> Self {
        Self {
            pages: vec![0; char::MAX as usize / PAGE + 1],
            numbers: vec![[NONE; PAGE]],
        }
    }

    pub(super) fn insert(&mut self, character: char, number: u32) {
        let (page, at) = (character as usize / PAGE, character as usize % PAGE);
        if self.pages[page] == 0 {
            self.pages[page] = self.numbers.len() as u16;
            self.numbers.push([NONE; PAGE]);
        }
        self.numbers[usize::from(self.pages[page])][at] = number;
    }

    /// The number of a character, or [`NONE`].
    #[inline(always)]
    fn get(&self, character: char) -> u32 {
        let page = usize::from(self.pages[character as usize / PAGE]);
        self.numbers[page][character as usize % PAGE]
    }
}

/// What becomes of a character that has neither a token nor tokens for its bytes.
#[derive(Clone, Debug)]
pub(super) enum Unknown {
    /// It is left out.
    Dropped,
    /// It is this symbol.
    Symbol(u32),
    /// An error: this token is not in the vocabulary.
    Missing(String),
}

/// Pairs of symbols that are neighbours in a token, as bits under hashes of the pairs: a bit that is
/// not set tells for sure that a pair is in no token.
#[derive(Clone, Debug)]
pub(super) struct Neighbours {
    bits: Vec<u64>,
    shift: u32,
}

impl Neighbours {
    /// None, with room for about `count`.
    pub(super) fn new(count: usize) -> Self {
        let bits = (16 * count).next_power_of_two().max(1 << 12);
        Self {
            bits: vec![0; bits / 64],
            shift: 64 - bits.trailing_zeros(),
        }
    }

    #[inline(always)]
    fn place(&self, left: u32, right: u32) -> usize {
        let key = u64::from(left) << 32 | u64::from(right);
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    pub(super) fn insert(&mut self, left: u32, right: u32) {
        let place = self.place(left, right);
        self.bits[place / 64] |= 1 << (place % 64);
    }

    /// False if `left` is certainly not before `right` in any token.
    #[inline(always)]
    fn may_have(&self, left: u32, right: u32) -> bool {
        let place = self.place(left, right);
        self.bits[place / 64] >> (place % 64) & 1 != 0
    }
}

/// The symbols of pieces.
#[derive(Clone, Debug)]
pub(crate) struct Symbols {
    /// The tables of characters at the four places in a piece ([`place`]); tables that are the same
    /// are there once.
    pub(super) tables: Vec<CharTable>,
    pub(super) table_of_place: [usize; 4],
    /// The merge numbers of the tokens for bytes, [`NONE`] for a byte without one; `None` where
    /// bytes never stand for a character.
    pub(super) bytes: Option<Box<[u32; 256]>>,
    pub(super) unknown: Unknown,
    /// Whether neighbouring unknown characters are one symbol.
    pub(super) fuse_unknown: bool,
    pub(super) neighbours: Neighbours,
    /// Whether [`Symbols::cut`] may cut pieces.
    pub(super) may_cut: bool,
}

/// Where a character stands in its piece: 1 if it is the last, and 2 more if it is the first.
pub(super) fn place(is_first: bool, is_last: bool) -> usize {
    usize::from(is_first) << 1 | usize::from(is_last)
}

impl Symbols {
    /// Call `emit` with the merge number of every symbol of `piece` and the bytes that it stands for.
    ///
    /// # Errors
    /// `Invalid` for a character that needs the unknown token where the vocabulary has none.
    #[inline]
    pub(crate) fn each(&self, piece: &str, mut emit: impl FnMut(u32, usize)) -> Result<()> {
        // The bytes of the unknown symbol that is not emitted yet: it waits for the next character
        // that is known, which may join it.
        let mut waiting = 0;
        for (at, character) in piece.char_indices() {
            let len = character.len_utf8();
            let place = place(at == 0, at + len == piece.len());
            let number = self.tables[self.table_of_place[place]].get(character);
            if number != NONE {
                self.emit_unknown(&mut waiting, &mut emit);
                emit(number, len);
                continue;
            }
            if let Some(bytes) = &self.bytes {
                let mut utf8 = [0; 4];
                let utf8 = character.encode_utf8(&mut utf8).bytes();
                let numbers = utf8.map(|byte| bytes[usize::from(byte)]);
                // Hugging Face's engine puts them before an unknown symbol that waits.
                if numbers.clone().all(|number| number != NONE) {
                    numbers.for_each(|number| emit(number, 1));
                    continue;
                }
            }
            match &self.unknown {
                Unknown::Dropped => {}
                Unknown::Symbol(_) => {
                    if !self.fuse_unknown {
                        self.emit_unknown(&mut waiting, &mut emit);
                    }
                    waiting += len;
                }
                Unknown::Missing(token) => {
                    return Err(Error::invalid(format!(
                        "{character:?} has no token in this vocabulary: expected its unk_token \
                         {token} among the tokens",
                        token = quoted(token)
                    )))
                }
            }
        }
        self.emit_unknown(&mut waiting, &mut emit);
        Ok(())
    }

    #[inline(always)]
    fn emit_unknown(&self, waiting: &mut usize, emit: &mut impl FnMut(u32, usize)) {
        if let (Unknown::Symbol(number), 1..) = (&self.unknown, *waiting) {
            emit(*number, *waiting);
            *waiting = 0;
        }
    }

    /// Append to `ends` the ends of parts of `text[piece]` whose symbols merge independently, until the
    /// piece ends or there are more than `most`; returns the last end.
    #[inline]
    pub(crate) fn cut(
        &self,
        text: &str,
        piece: Range<usize>,
        most: usize,
        ends: &mut Vec<u32>,
    ) -> usize {
        if self.may_cut {
            let table = &self.tables[self.table_of_place[0]];
            let mut before = NONE;
            for (at, character) in text[piece.clone()].char_indices() {
                let mut first = table.get(character);
                let mut last = first;
                if first == NONE {
                    (first, last) = self.byte_ends(character);
                }
                // Next to an unknown character nothing is cut, because it may be dropped or fused.
                if before != NONE && first != NONE && !self.neighbours.may_have(before, first) {
                    ends.push((piece.start + at) as u32);
                    if ends.len() > most {
                        return piece.start + at;
                    }
                }
                before = last;
            }
        }
        ends.push(piece.end as u32);
        piece.end
    }

    /// The symbols of the first and the last byte of a character that is no symbol itself.
    #[cold]
    fn byte_ends(&self, character: char) -> (u32, u32) {
        let Some(bytes) = &self.bytes else {
            return (NONE, NONE);
        };
        let mut utf8 = [0; 4];
        let utf8 = character.encode_utf8(&mut utf8).as_bytes();
        let number = |byte: Option<&u8>| byte.map_or(NONE, |&byte| bytes[usize::from(byte)]);
        (number(utf8.first()), number(utf8.last()))
    }
}
