//! Character classes: of one code point, a bit for each `\p{...}` of the patterns; and of a window,
//! for each class a mask of one bit per byte, which is the first pass of the vector scanner.
//!
//! In the masks every byte of a character has the character's class, so that adjacent characters
//! have adjacent bits.

use crate::simd::Bytes64;

/// `\p{L}`.
pub(super) const LETTER: u8 = 1;
/// `\p{N}`.
pub(super) const NUMBER: u8 = 2;
/// `\s`.
pub(super) const SPACE: u8 = 4;
/// `\p{Lu}` or `\p{Lt}`.
pub(super) const UPPER: u8 = 8;
/// `\p{Ll}`.
pub(super) const LOWER: u8 = 16;
/// `\p{Lm}`, `\p{Lo}` or `\p{M}`: letters without case and marks, which o200k takes on both sides
/// of a change of case.
pub(super) const BOTH: u8 = 32;
/// Any of the three that o200k's words consist of.
pub(super) const WORD: u8 = UPPER | LOWER | BOTH;

/// Written by `examples/pack_classes.rs`, which describes the layout.
static TABLE: &[u8] = include_bytes!("../../data/classes.bin");
/// Blocks of 256 code points.
const TABLE_BLOCKS: usize = 0x11_0000 / 256;

/// The class bits of a code point; 0 for punctuation, symbols, controls and the unassigned.
#[inline(always)]
pub(super) fn class(code_point: u32) -> u8 {
    let block = TABLE[(code_point >> 8) as usize];
    TABLE[TABLE_BLOCKS + (usize::from(block) << 8) + (code_point & 255) as usize]
}

/// The code point that starts at `text[at]` and its length in bytes. `text` is UTF-8 and `at` the
/// first byte of a character.
#[inline(always)]
pub(super) fn decode(text: &[u8], at: usize) -> (u32, usize) {
    let first = text[at];
    let low = |i: usize| u32::from(text[at + i] & 0x3F);
    match first {
        0..=0x7F => (first.into(), 1),
        0x80..=0xDF => (u32::from(first & 0x1F) << 6 | low(1), 2),
        0xE0..=0xEF => (u32::from(first & 0x0F) << 12 | low(1) << 6 | low(2), 3),
        _ => (
            u32::from(first & 0x07) << 18 | low(1) << 12 | low(2) << 6 | low(3),
            4,
        ),
    }
}

/// Class bits and length of the character at `text[at]`.
#[inline(always)]
pub(super) fn class_at(text: &[u8], at: usize) -> (u8, usize) {
    let (code_point, len) = decode(text, at);
    (class(code_point), len)
}

/// [`class_at`] of a character of two bytes or more. Two and three bytes take the same path: a
/// branch would be mispredicted where scripts mix.
#[inline(always)]
pub(super) fn wide_class_at(text: &[u8], at: usize) -> u8 {
    match text.get(at..at + 3) {
        Some(&[first, second, third]) if first < 0xF0 => {
            let low = |byte: u8| u32::from(byte & 0x3F);
            let three = u32::from(first & 0x1F) << 12 | low(second) << 6 | low(third);
            class(three >> (6 * u32::from(first < 0xE0)))
        }
        _ => class_at(text, at).0,
    }
}

/// Bytes of a window, few enough that its masks stay in the first-level cache.
pub(super) const WINDOW: usize = 8192;
const BLOCKS: usize = WINDOW / 64;

/// One bit for every byte of a window, and one block more for what stands after it.
pub(super) type Mask = [u64; BLOCKS + 1];

/// The classes of a window's bytes.
pub(super) struct Masks {
    pub(super) letter: Mask,
    pub(super) number: Mask,
    /// `\s`; all ones after the end of the text, so that no run of white space ends there.
    pub(super) space: Mask,
    /// The one character ' '.
    pub(super) blank: Mask,
    /// Line feed and carriage return.
    pub(super) newline: Mask,
    pub(super) slash: Mask,
    pub(super) apostrophe: Mask,
    /// Bytes of a character other than its first.
    pub(super) inner: Mask,
    /// The classes of o200k's words; other patterns neither write nor read them.
    pub(super) upper: Mask,
    pub(super) lower: Mask,
    pub(super) both: Mask,
    firsts: Firsts,
}

impl Masks {
    pub(super) fn new() -> Box<Self> {
        let zero = [0; BLOCKS + 1];
        Box::new(Self {
            letter: zero,
            number: zero,
            space: zero,
            blank: zero,
            newline: zero,
            slash: zero,
            apostrophe: zero,
            inner: zero,
            upper: zero,
            lower: zero,
            both: zero,
            firsts: Firsts([0; 64]),
        })
    }

    /// Classify `text[from..to]`: at most [`WINDOW`] bytes, from the first byte of a character to
    /// the end of a block or of the text. `CASES` also fills the masks for o200k. Returns the
    /// number of blocks, and the position of the first number that is not ASCII, if there is one.
    #[inline(always)]
    pub(super) fn fill<S: Bytes64, const CASES: bool>(
        &mut self,
        text: &[u8],
        from: usize,
        to: usize,
    ) -> (usize, Option<usize>) {
        let blocks = (to - from).div_ceil(64);
        let mut spill = Classes::default();
        let mut wide_number = None;
        for k in 0..blocks {
            let at = from + 64 * k;
            let rest = &text[at..];
            // SAFETY: `S` comes from `dispatch!`.
            let v = unsafe {
                match rest.first_chunk() {
                    Some(bytes) => S::load(bytes),
                    None => S::load_few(rest),
                }
            };
            let blank = v.eq(b' ');
            let mut all = Classes {
                letter: v.letters(),
                number: v.range(b'0', b'9'),
                space: v.range(b'\t', b'\r') | blank,
                ..Classes::default()
            };
            if CASES {
                all.upper = v.range(b'A', b'Z');
                all.lower = all.letter & !all.upper;
                self.slash[k] = v.eq(b'/');
            }
            self.blank[k] = blank;
            self.newline[k] = v.eq(b'\n') | v.eq(b'\r');
            self.apostrophe[k] = v.eq(b'\'');
            let high = v.high();
            self.inner[k] = 0;
            if high != 0 {
                self.inner[k] = v.range(0x80, 0xBF);
                let ascii_numbers = all.number;
                all.or(std::mem::take(&mut spill));
                spill = all.add_wide::<S, CASES>(v, text, at, &mut self.firsts);
                if wide_number.is_none() && all.number != ascii_numbers {
                    let first = (all.number & !ascii_numbers).trailing_zeros() as usize;
                    wide_number = Some(at + first);
                }
            }
            self.letter[k] = all.letter;
            self.number[k] = all.number;
            self.space[k] = all.space;
            if CASES {
                self.upper[k] = all.upper;
                self.lower[k] = all.lower;
                self.both[k] = all.both;
            }
        }
        // After the end of the text there is white space and nothing else.
        let at_end = to == text.len();
        let tail = (to - from) % 64;
        if tail != 0 {
            self.space[blocks - 1] |= u64::MAX << tail;
        }
        self.space[blocks] = if at_end { u64::MAX } else { 0 };
        for mask in [&mut self.upper, &mut self.lower, &mut self.both] {
            mask[blocks] = 0;
        }
        (blocks, wide_number)
    }
}

/// The classes of 64 bytes.
#[derive(Clone, Copy, Default)]
struct Classes {
    letter: u64,
    number: u64,
    space: u64,
    upper: u64,
    lower: u64,
    both: u64,
}

impl Classes {
    #[inline(always)]
    fn or(&mut self, other: Self) {
        self.letter |= other.letter;
        self.number |= other.number;
        self.space |= other.space;
        self.upper |= other.upper;
        self.lower |= other.lower;
        self.both |= other.both;
    }

    /// Add the characters of two bytes and more that start in the block `v`, which is at
    /// `text[at..]`; returns the part of their bytes that is in the next block.
    #[inline(always)]
    fn add_wide<S: Bytes64, const CASES: bool>(
        &mut self,
        v: S,
        text: &[u8],
        at: usize,
        firsts: &mut Firsts,
    ) -> Self {
        // These first bytes stand for letters without case only, and need no look-up:
        // U+5000..=U+9FFF and U+B000..=U+CFFF (ideographs, Hangul).
        let uniform = v.range(0xE5, 0xE9) | v.range(0xEB, 0xEC);
        firsts.add(LETTER | BOTH, uniform);
        let mut leads = v.range(0xC2, 0xF4) & !uniform;
        while leads != 0 {
            let i = leads.trailing_zeros();
            leads &= leads - 1;
            firsts.add(wide_class_at(text, at + i as usize), 1 << i);
        }
        let (long, longest) = (v.range(0xE0, 0xF4), v.range(0xF0, 0xF4));
        let mut spill = Self::default();
        // All bytes of the characters that begin at `first`, here and in the next block.
        let spread = |first: u64, here: &mut u64, over: &mut u64| {
            let (third, fourth) = (first & long, first & longest);
            *here |= first | first << 1 | third << 2 | fourth << 3;
            *over |= first >> 63 | third >> 62 | fourth >> 61;
        };
        let [upper, lower, caseless, marks, number, space] = firsts.take();
        let letter = upper | lower | caseless;
        spread(letter, &mut self.letter, &mut spill.letter);
        if CASES {
            spread(upper, &mut self.upper, &mut spill.upper);
            spread(lower, &mut self.lower, &mut spill.lower);
            spread(caseless | marks, &mut self.both, &mut spill.both);
        }
        if number | space != 0 {
            spread(number, &mut self.number, &mut spill.number);
            spread(space, &mut self.space, &mut spill.space);
        }
        spill
    }
}

/// Every combination of class bits that a character has, in the order of [`Firsts::take`].
const COMBINATIONS: [u8; 6] = [
    LETTER | UPPER,
    LETTER | LOWER,
    LETTER | BOTH,
    BOTH,
    NUMBER,
    SPACE,
];

/// For each combination of class bits, the bytes of a block that begin such a character. Indexed by
/// class, because branches on the class would mispredict. Slot 0, of characters without a class, is
/// never read; all others are zero between blocks.
struct Firsts([u64; 64]);

impl Firsts {
    #[inline(always)]
    fn add(&mut self, class: u8, bytes: u64) {
        self.0[usize::from(class) % 64] |= bytes;
    }

    #[inline(always)]
    fn take(&mut self) -> [u64; 6] {
        COMBINATIONS.map(|class| std::mem::take(&mut self.0[usize::from(class)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fancy_regex::Regex;

    #[test]
    fn every_scalar_has_the_classes_of_the_regex_engine() {
        let classes = [
            (LETTER, r"\p{L}"),
            (NUMBER, r"\p{N}"),
            (SPACE, r"\s"),
            (UPPER, r"[\p{Lu}\p{Lt}]"),
            (LOWER, r"\p{Ll}"),
            (BOTH, r"[\p{Lm}\p{Lo}\p{M}]"),
        ];
        let every: String = ('\0'..=char::MAX).collect();
        for (bit, pattern) in classes {
            let regex = Regex::new(pattern).unwrap();
            let mut found = regex
                .find_iter(every.as_str())
                .map(|m| m.unwrap().start())
                .peekable();
            for (at, c) in every.char_indices() {
                let theirs = found.next_if_eq(&at).is_some();
                assert_eq!(
                    class(c.into()) & bit != 0,
                    theirs,
                    "{pattern} of {:#x}",
                    c as u32
                );
                assert_eq!(decode(every.as_bytes(), at), (c.into(), c.len_utf8()));
                if !c.is_ascii() {
                    let alone = &every.as_bytes()[..at + c.len_utf8()];
                    assert_eq!(wide_class_at(every.as_bytes(), at), class(c.into()));
                    assert_eq!(wide_class_at(alone, at), class(c.into()));
                }
            }
        }
    }

    #[test]
    fn characters_have_no_other_combinations() {
        let classes: std::collections::BTreeSet<u8> =
            ('\0'..=char::MAX).map(|c| class(c.into())).collect();
        let known: std::collections::BTreeSet<u8> = COMBINATIONS.into_iter().chain([0]).collect();
        assert_eq!(classes, known);
    }
}
