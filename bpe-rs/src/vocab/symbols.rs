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

use foldhash::HashSet;

use super::ascii_cuts::{AsciiCuts, BLOCK};
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
    pub(super) fn may_have(&self, left: u32, right: u32) -> bool {
        let place = self.place(left, right);
        self.bits[place / 64] >> (place % 64) & 1 != 0
    }
}

/// A piece of up to so many bytes is not cut.
const SHORT_PIECE: usize = 15;

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
    pub(super) ascii: AsciiCuts,
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
        // A short piece is one look-up in a cache anyway.
        if self.may_cut && piece.len() > SHORT_PIECE {
            let mut at = piece.start;
            while at < piece.end {
                at = match self.ascii.cuts(text.as_bytes(), piece.clone(), at) {
                    Some(mut cuts) => {
                        while cuts != 0 {
                            ends.push(at as u32 + cuts.trailing_zeros());
                            cuts &= cuts - 1;
                        }
                        at + BLOCK
                    }
                    None => self.cut_characters(text, piece.clone(), at, ends),
                };
                if ends.len() > most {
                    ends.truncate(most + 1);
                    return ends[most] as usize;
                }
            }
        }
        ends.push(piece.end as u32);
        piece.end
    }

    /// [`Self::cut`] of the characters that begin in the block from `at` on; returns where they end.
    fn cut_characters(
        &self,
        text: &str,
        piece: Range<usize>,
        at: usize,
        ends: &mut Vec<u32>,
    ) -> usize {
        // The block before may have ended inside a mark.
        let start = (at..).find(|&at| text.is_char_boundary(at)).unwrap_or(at);
        let before = text[piece.start..start].chars().next_back();
        let mut before = before.map_or(NONE, |character| self.ends_of(character).1);
        for (offset, character) in text[start..piece.end].char_indices() {
            if start + offset >= at + BLOCK {
                return start + offset;
            }
            let (first, last) = self.ends_of(character);
            if self.is_cut(before, first) {
                ends.push((start + offset) as u32);
            }
            before = last;
        }
        piece.end
    }

    /// Whether no merge crosses the place between two symbols. Next to an unknown character that is not
    /// said, because it may be dropped or fused.
    #[inline(always)]
    fn is_cut(&self, before: u32, after: u32) -> bool {
        before != NONE && after != NONE && !self.neighbours.may_have(before, after)
    }

    /// The first and the last symbol of a character inside a piece.
    #[inline(always)]
    fn ends_of(&self, character: char) -> (u32, u32) {
        let number = self.tables[self.table_of_place[0]].get(character);
        if number == NONE {
            return self.byte_ends(character);
        }
        (number, number)
    }

    /// Take `neighbours` as the pairs of symbols that are neighbours in a token.
    pub(super) fn set_neighbours(&mut self, neighbours: &HashSet<(u32, u32)>) {
        self.neighbours = Neighbours::new(neighbours.len());
        for &(left, right) in neighbours {
            self.neighbours.insert(left, right);
        }
        self.set_ascii_cuts();
    }

    fn set_ascii_cuts(&mut self) {
        self.ascii = AsciiCuts::new(|before, after| {
            self.is_cut(self.ends_of(before).1, self.ends_of(after).0)
        });
    }

    /// The symbols of texts in which a space stands for `mark`; `None` where that has no token, or where
    /// the symbol of a character depends on its place in the piece.
    pub(crate) fn with_space_as(&self, mark: char) -> Option<Self> {
        let [table] = &self.tables[..] else {
            return None;
        };
        let number = table.get(mark);
        let mut changed = self.clone();
        changed.tables[0].insert(' ', number);
        changed.set_ascii_cuts();
        (number != NONE).then_some(changed)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rounds, Random};
    use crate::vocab::{CharacterModel, Vocab};

    /// Some pairs of characters are neighbours in a token, all bytes are symbols.
    fn random_symbols(random: &mut Random) -> Symbols {
        let mut tokens: Vec<(String, u32)> = Vec::new();
        let mut add = |token: String| {
            let id = tokens.len() as u32;
            let known = tokens.iter().find(|(known, _)| *known == token);
            known.map(|(_, id)| *id).unwrap_or_else(|| {
                tokens.push((token, id));
                id
            })
        };
        for byte in 0..=255u8 {
            add(format!("<0x{byte:02X}>"));
        }
        let letters = ["a", "b", "c", ",", "▁", "é", "中"];
        letters.iter().for_each(|letter| _ = add((*letter).into()));
        let mut merges = Vec::new();
        for at in 0..=random.below(20) {
            // Two marks are neighbours in every model: the short way does not cut between them.
            let pair = (random.pick(&letters), random.pick(&letters));
            let (left, right) = if at == 0 { ("▁", "▁") } else { pair };
            let merge = (add(left.into()), add(right.into()));
            add(format!("{left}{right}"));
            if !merges.contains(&merge) {
                merges.push(merge);
            }
        }
        let model = CharacterModel {
            tokens: &tokens,
            merges: &merges,
            byte_fallback: true,
            ..CharacterModel::default()
        };
        let vocab = Vocab::from_characters(&model).unwrap();
        vocab.symbols().unwrap().clone()
    }

    #[test]
    fn cuts_are_where_symbols_are_no_neighbours() {
        let (mut random, mut cuts) = (Random(5), 0);
        for _ in 0..rounds(400, 4) {
            let symbols = random_symbols(&mut random);
            for letters in ["abc,▁", "aaabbbccc,,,▁▁▁é", "ab▁é中🎉\u{7f}z", "▁▁▄a"]
            {
                let letters: Vec<char> = letters.chars().collect();
                let len = random.below(300);
                let text: String = random.picks(&letters, len);
                let mut places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
                places.push(text.len());
                let (from, to) = (random.pick(&places), random.pick(&places));
                let piece = from.min(to)..from.max(to);
                let characters = || text[piece.clone()].char_indices();
                let mut want: Vec<u32> = characters()
                    .zip(characters().skip(1))
                    .filter(|&((_, before), (_, after))| {
                        let (before, after) = (symbols.ends_of(before).1, symbols.ends_of(after).0);
                        !symbols.neighbours.may_have(before, after)
                    })
                    .map(|(_, (at, _))| (piece.start + at) as u32)
                    .collect();
                want.push(piece.end as u32);
                let mut from = piece.start;
                while from < piece.end {
                    let most = random.pick(&[1, 3, 70, usize::MAX]);
                    let rest = want.iter().copied().filter(|&at| at as usize > from);
                    let rest: Vec<u32> = match piece.end - from {
                        0..=SHORT_PIECE => vec![piece.end as u32],
                        _ => rest.take(most.saturating_add(1)).collect(),
                    };
                    let mut ends = Vec::new();
                    from = symbols.cut(&text, from..piece.end, most, &mut ends);
                    assert_eq!(ends, rest, "{text:?} {piece:?}");
                    assert_eq!(ends.last(), Some(&(from as u32)));
                    cuts += ends.len() - 1;
                }
            }
        }
        assert!(cuts > 0);
    }
}
