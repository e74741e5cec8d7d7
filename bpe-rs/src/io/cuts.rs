//! Parts of texts: how large they are, and where one may end.

/// Bytes of a part: it and what is made of it stay in the second-level cache.
pub(crate) const PART: usize = 1 << 18;

/// Where a text may be cut into parts.
pub(crate) trait Cuts {
    /// Whether any text can be cut.
    fn exist(&self) -> bool;

    /// How many bytes before a place decide whether it is a cut.
    fn context(&self) -> usize;

    /// The last place in `from + 1..=text.len()` where `text` may be cut, however it goes on.
    /// `from` may lie inside a character.
    fn last_cut(&self, text: &[u8], from: usize) -> Option<usize>;
}

/// A place behind a line's end: the cuts of JSON lines.
pub(super) struct Lines;

impl Cuts for Lines {
    fn exist(&self) -> bool {
        true
    }

    fn context(&self) -> usize {
        0
    }

    fn last_cut(&self, text: &[u8], from: usize) -> Option<usize> {
        memchr::memrchr(b'\n', &text[from..]).map(|at| from + at + 1)
    }
}
