//! The size of a part of a text, and where a part may end.

/// Bytes of a part. It and its ids fit into the second-level cache.
pub(crate) const PART: usize = 1 << 18;

/// Where a text may be cut into parts.
pub(crate) trait Cuts {
    /// Whether any text can be cut.
    fn exist(&self) -> bool {
        true
    }

    /// How many bytes before a place decide whether it is a cut.
    fn context(&self) -> usize {
        0
    }

    /// The last place in `from + 1..=text.len()` where `text` may be cut, however it goes on.
    /// `from` may lie inside a character.
    fn last_cut(&self, text: &[u8], from: usize) -> Option<usize>;

    /// The parts of `text` with their offsets: of at most `size` bytes, or longer where no cut is
    /// near.
    fn parts<'t>(&self, text: &'t str, size: usize) -> impl Iterator<Item = (usize, &'t str)> {
        let mut rest = Some(0);
        std::iter::from_fn(move || {
            let from = rest.take()?;
            let mut searched = from;
            while text.len() - from > size {
                let end = (searched + size).min(text.len());
                match self.last_cut(&text.as_bytes()[..end], searched) {
                    Some(cut) => {
                        rest = Some(cut).filter(|&cut| cut < text.len());
                        return Some((from, &text[from..cut]));
                    }
                    None if end == text.len() => break,
                    None => searched = end - 1,
                }
            }
            Some((from, &text[from..]))
        })
    }
}

/// Cuts after newlines, for JSON lines.
pub(super) struct Lines;

impl Cuts for Lines {
    fn last_cut(&self, text: &[u8], from: usize) -> Option<usize> {
        memchr::memrchr(b'\n', &text[from..]).map(|at| from + at + 1)
    }
}
