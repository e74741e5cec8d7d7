//! The size of a part of a text, and where a part may end.

/// Bytes of a part. It and its ids fit into the second-level cache.
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

/// Cuts after newlines, for JSON lines.
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
