//! Character classes: what a pattern's `\p{...}` says about a code point, as bits.

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
const BLOCKS: usize = 0x11_0000 / 256;

/// The class bits of a code point; 0 for punctuation, symbols, controls and the unassigned.
#[inline(always)]
pub(super) fn class(code_point: u32) -> u8 {
    let block = TABLE[(code_point >> 8) as usize];
    TABLE[BLOCKS + (usize::from(block) << 8) + (code_point & 255) as usize]
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
}
