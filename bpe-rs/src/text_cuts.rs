//! Where a text may be cut into parts that are handled independently: the pieces of the parts are
//! those of the whole, and no special token is split.

use crate::io::Cuts;
use crate::pretokenize::Pretokenizer;

/// The places where one pattern and a set of special tokens allow a cut.
pub(crate) struct TextCuts<'a> {
    pattern: &'a Pretokenizer,
    /// In byte order.
    special: Vec<&'a [u8]>,
    /// Length of the longest special token.
    longest: usize,
}

impl<'a> TextCuts<'a> {
    pub(crate) fn new(
        pattern: &'a Pretokenizer,
        special: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut special: Vec<&[u8]> = special.into_iter().map(str::as_bytes).collect();
        special.sort_unstable();
        Self {
            pattern,
            longest: special.iter().map(|token| token.len()).max().unwrap_or(0),
            special,
        }
    }

    /// The start of a special token that begins before `cut` and ends after it, or that would if `text`
    /// were longer: of such a token only the beginning is in `text`.
    fn special_across(&self, text: &[u8], cut: usize) -> Option<usize> {
        let first = cut.saturating_sub(self.longest.saturating_sub(1));
        (first..cut).find(|&start| {
            // A token across the cut begins with the bytes from `start` to one beyond the cut.
            let begin = &text[start..text.len().min(cut + 1)];
            let from = self.special.partition_point(|special| *special < begin);
            let alike = self.special[from..].iter();
            let mut alike = alike.take_while(|special| special.starts_with(begin));
            alike.any(|special| {
                let seen = special.len().min(text.len() - start);
                start + special.len() > cut && text[start..start + seen] == special[..seen]
            })
        })
    }

    /// The parts of `text` with their offsets: of at most `size` bytes, or longer where no cut is near.
    pub(crate) fn parts<'t>(&self, text: &'t str, size: usize) -> Vec<(usize, &'t str)> {
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

impl Cuts for TextCuts<'_> {
    fn exist(&self) -> bool {
        self.pattern.rules().is_some()
    }

    fn context(&self) -> usize {
        self.longest
    }

    fn last_cut(&self, text: &[u8], from: usize) -> Option<usize> {
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
}
