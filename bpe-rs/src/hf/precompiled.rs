//! Normalisation by SentencePiece's character maps, as Hugging Face's engine does it and as
//! SentencePiece does.

use unicode_segmentation::UnicodeSegmentation;

use super::aligned::AlignedText;
use crate::format::charsmap::CharacterMap;

/// Grapheme clusters of so many bytes are looked up character by character only.
const LONG_CLUSTER: usize = 6;

/// What stands for a space.
const MARK: &str = "\u{2581}";

/// `Precompiled`: every grapheme cluster by the map, else each of its characters.
#[derive(Debug)]
pub(super) struct Precompiled {
    map: CharacterMap,
    /// Which characters of ASCII surely stay, whatever is beside them that is ASCII.
    kept: [bool; 128],
}

impl Precompiled {
    pub(super) fn new(map: CharacterMap) -> Self {
        let kept = std::array::from_fn(|byte| {
            let mut utf8 = [0; 4];
            let text = char::from(byte as u8).encode_utf8(&mut utf8);
            byte as u8 != b'\r' && map.of_part(text).is_none()
        });
        Self { map, kept }
    }

    fn keeps(&self, byte: u8) -> bool {
        self.kept.get(usize::from(byte)).copied().unwrap_or(false)
    }

    /// A quick test that implies that `text` stays as it is.
    pub(super) fn surely_keeps(&self, text: &str) -> bool {
        text.bytes().all(|byte| self.keeps(byte))
    }

    pub(super) fn apply(&self, text: &mut AlignedText<'_>) {
        let changes = self.changes(&text.text);
        if let Some(changes) = changes {
            text.change(|_, take| changes.iter().for_each(|&(c, number)| take(c, number)));
        }
    }

    /// The characters of the normalised text, each with a number as [`AlignedText::change`] takes
    /// them; `None` where nothing is replaced.
    fn changes(&self, text: &str) -> Option<Vec<(char, isize)>> {
        let mut changes = Vec::with_capacity(text.len());
        let mut is_changed = false;
        let mut at = 0;
        while at < text.len() {
            // Between two characters of ASCII there is a boundary of clusters. The last one may be the
            // base of marks.
            let run = text.as_bytes()[at..].iter();
            let run = run.take_while(|byte| self.keeps(**byte)).count();
            let alone = match at + run == text.len() {
                true => run,
                false => run.saturating_sub(1),
            };
            changes.extend(text[at..at + alone].chars().map(|character| (character, 0)));
            at += alone;
            for cluster in text[at..].graphemes(true) {
                is_changed |= self.push_cluster(cluster, &mut changes);
                at += cluster.len();
                let next = &text.as_bytes()[at..];
                if cluster.is_ascii() && next.iter().take(2).all(|byte| self.keeps(*byte)) {
                    break;
                }
            }
        }
        is_changed.then_some(changes)
    }

    /// Append what a cluster becomes; whether something is replaced.
    fn push_cluster(&self, cluster: &str, changes: &mut Vec<(char, isize)>) -> bool {
        if cluster.len() < LONG_CLUSTER {
            if let Some(replacement) = self.map.of_part(cluster) {
                push_replacement(cluster, replacement, changes);
                return true;
            }
        }
        let mut is_changed = false;
        for (at, character) in cluster.char_indices() {
            let part = &cluster[at..at + character.len_utf8()];
            match self.map.of_part(part) {
                Some(replacement) => {
                    push_replacement(part, replacement, changes);
                    is_changed = true;
                }
                None => changes.push((character, 0)),
            }
        }
        is_changed
    }
}

/// Append `to`, which takes the place of `from`: characters that are too many count as added, those
/// that are too few are taken by the last character that is there.
fn push_replacement(from: &str, to: &str, changes: &mut Vec<(char, isize)>) {
    let (before, after) = (from.chars().count(), to.chars().count());
    changes.extend(to.chars().map(|character| (character, 0)));
    let added = after.saturating_sub(before);
    let start = changes.len() - added;
    changes[start..]
        .iter_mut()
        .for_each(|(_, change)| *change = 1);
    if let Some((_, change)) = changes.last_mut().filter(|_| before > after) {
        *change -= (before - after) as isize;
    }
}

/// What SentencePiece does to a text before it encodes it.
#[derive(Debug)]
pub(super) struct SentencePiece {
    pub(super) map: CharacterMap,
    /// Whether a space is added at the start.
    pub(super) add_dummy_prefix: bool,
    /// Whether spaces at the ends, and all but one of those that follow each other, are left out.
    pub(super) remove_extra_whitespaces: bool,
}

impl SentencePiece {
    /// What the text begins with, in bytes, and what that becomes.
    fn prefix<'a>(&'a self, text: &'a str) -> (usize, &'a str) {
        self.map.longest(text).unwrap_or_else(|| {
            let len = text.chars().next().map_or(0, char::len_utf8);
            (len, &text[..len])
        })
    }

    pub(super) fn apply(&self, text: &mut AlignedText<'_>) {
        let all = text.text.len();
        let mut start = 0;
        while self.remove_extra_whitespaces && start < all {
            let (len, becomes) = self.prefix(&text.text[start..]);
            if becomes != " " {
                break;
            }
            start += len;
        }
        let mut out = text.emptied(all - start + MARK.len());
        if start < all && self.add_dummy_prefix {
            out.push_for(MARK, text, start..start);
        }
        let mut is_after_space = self.remove_extra_whitespaces;
        let mut at = start;
        while at < all {
            let (len, becomes) = self.prefix(&text.text[at..]);
            let becomes = match is_after_space {
                true => becomes.trim_start_matches(' '),
                false => becomes,
            };
            for part in becomes.split_inclusive(' ') {
                let word = part.strip_suffix(' ').unwrap_or(part);
                out.push_for(word, text, at..at + len);
                if word.len() < part.len() {
                    out.push_for(MARK, text, at..at + len);
                }
            }
            if !becomes.is_empty() {
                is_after_space = self.remove_extra_whitespaces && becomes.ends_with(' ');
            }
            at += len;
        }
        if self.remove_extra_whitespaces {
            let end = out.text.trim_end_matches(MARK).len();
            out.keep(0..end);
        }
        *text = out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rounds, Random};

    /// A map of one-byte keys without children: a root and, for each key, a node and its value.
    fn map_of(rules: &[(u8, &str)]) -> CharacterMap {
        // The node of `byte` stands at `0x100 ^ byte`, its value beyond all nodes.
        let mut units = vec![1u32 << 31; 0x400];
        units[0] = 0x100 << 10;
        let mut replacements = String::new();
        for &(byte, becomes) in rules {
            let (node, value) = (0x100 ^ usize::from(byte), 0x200 | usize::from(byte) << 1);
            units[node] = ((node ^ value) as u32) << 10 | 1 << 8 | u32::from(byte);
            units[value] = replacements.len() as u32 | 1 << 31;
            replacements += becomes;
            replacements.push('\0');
        }
        let size = (units.len() * 4) as u32;
        let numbers = std::iter::once(size).chain(units);
        let mut bytes: Vec<u8> = numbers.flat_map(u32::to_le_bytes).collect();
        bytes.extend(replacements.bytes());
        CharacterMap::new(&bytes).unwrap()
    }

    #[test]
    fn short_cuts_change_nothing() {
        let precompiled = Precompiled::new(map_of(&[(b'x', "yy"), (b'\n', " "), (b'd', "")]));
        let mut random = Random(11);
        for _ in 0..rounds(20_000, 100) {
            let len = random.below(9);
            let text: String = random.picks(
                &[
                    'a', 'b', 'x', 'd', '\r', '\n', '\u{301}', 'é', '\u{600}', '\u{200d}', '🎉',
                ],
                len,
            );
            let (mut expected, mut is_changed) = (Vec::new(), false);
            for cluster in text.graphemes(true) {
                is_changed |= precompiled.push_cluster(cluster, &mut expected);
            }
            let expected = is_changed.then_some(expected);
            assert_eq!(precompiled.changes(&text), expected, "{text:?}");
            assert!(!precompiled.surely_keeps(&text) || !is_changed);
        }
    }

    #[test]
    fn damaged_maps_replace_nothing_or_are_refused() {
        assert!(CharacterMap::new(&[1, 0, 0]).is_err());
        assert!(CharacterMap::new(&[4, 0, 0, 0, 1]).is_err());
        assert!(CharacterMap::new(&[0, 0, 0, 0, 0xff]).is_err());
        assert_eq!(CharacterMap::new(&[0; 4]).unwrap().of_part("a"), None);
        let mut random = Random(12);
        for _ in 0..rounds(2000, 50) {
            let mut bytes = vec![64, 0, 0, 0];
            bytes.extend((0..64).map(|_| random.below(256) as u8));
            bytes.extend(*b"a\0\xc3\xa9\0");
            let map = CharacterMap::new(&bytes).unwrap();
            for text in ["a", "é", "\0", "中"] {
                let _ = (map.of_part(text), map.longest(text));
            }
        }
    }
}
