//! Texts into parts that can be counted apart, and parts into words.

use crate::error::Result;
use crate::pretokenize::Pretokenizer;
use crate::special::Finder;

use super::table::WordTable;

/// What turns text into words: the pattern, and the special tokens that no word may touch.
pub(super) struct Splitter {
    pub(super) pattern: Pretokenizer,
    pub(super) special: Vec<String>,
    finder: Finder,
    longest_special: usize,
}

impl Splitter {
    pub(super) fn new(pattern: &str, special: &[String]) -> Result<Self> {
        Ok(Self {
            pattern: Pretokenizer::new(pattern)?,
            finder: Finder::new(special.iter().map(String::as_str)),
            longest_special: special.iter().map(String::len).max().unwrap_or(0),
            special: special.to_vec(),
        })
    }

    /// Count the words of `text`, which is at `origin` in the corpus.
    pub(super) fn count(&self, text: &str, origin: u64, table: &mut WordTable) -> Result<()> {
        let mut from = 0;
        while let Some((start, special)) = self.finder.find(text, from) {
            self.count_plain(&text[from..start], origin + from as u64, table)?;
            from = start + special.len();
        }
        self.count_plain(&text[from..], origin + from as u64, table)
    }

    fn count_plain(&self, text: &str, origin: u64, table: &mut WordTable) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.pattern.stretches(text, &mut |base, bounds| {
            table.add_pieces(text.as_bytes(), base, bounds, origin);
        })
    }

    /// The last place in `from + 1..text.len()` where `text` may be cut: the words of the parts
    /// are those of the whole, however it goes on.
    pub(super) fn last_cut(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut near = text.len();
        loop {
            let cut = self.pattern.safe_cut(text, from, near)?;
            match self.special_across(text, cut) {
                None => return Some(cut),
                Some(start) if start > from => near = start,
                Some(_) => return None,
            }
        }
    }

    /// The start of a special token that begins before `cut` and may end behind it.
    fn special_across(&self, text: &[u8], cut: usize) -> Option<usize> {
        let first = cut.saturating_sub(self.longest_special.saturating_sub(1));
        (first..cut).find(|&start| {
            self.special.iter().any(|special| {
                let special = special.as_bytes();
                let seen = special.len().min(text.len() - start);
                start + special.len() > cut && text[start..start + seen] == special[..seen]
            })
        })
    }

    /// Parts of at most about `size` bytes, as (offset, text), that can be counted apart.
    pub(super) fn parts<'a>(&self, text: &'a str, size: usize) -> Vec<(usize, &'a str)> {
        let mut parts = Vec::new();
        let (mut from, mut searched) = (0, 0);
        while text.len() - from > size {
            let end = (searched.max(from) + size).min(text.len());
            match self.last_cut(&text.as_bytes()[..end], searched.max(from)) {
                Some(cut) => {
                    parts.push((from, &text[from..cut]));
                    from = cut;
                }
                None if end == text.len() => break,
                None => searched = end - 1,
            }
        }
        parts.push((from, &text[from..]));
        parts
    }
}
