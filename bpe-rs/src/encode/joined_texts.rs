//! Short texts one behind the other, cut into pieces.

use crate::pretokenize::{Rules, Scanner};

/// So many bytes have about a thousand pieces.
const FULL_BYTES: usize = 4 << 10;
/// Bounds the memory for empty texts.
const FULL_TEXTS: usize = 1 << 10;

/// Texts one behind the other, and their pieces.
pub(super) struct JoinedTexts {
    pub(super) bytes: Vec<u8>,
    /// Piece `i` is `bytes[bounds[i]..bounds[i + 1]]`.
    pub(super) bounds: Vec<u32>,
    /// The number of pieces up to the end of each text.
    pub(super) pieces: Vec<usize>,
    /// Where the ids of each text end.
    pub(super) ends: Vec<usize>,
}

impl JoinedTexts {
    /// No texts.
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            bounds: vec![0],
            pieces: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Drop all texts.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bounds.truncate(1);
        self.pieces.clear();
        self.ends.clear();
    }

    /// Whether more texts would not make it faster.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES || self.pieces.len() >= FULL_TEXTS
    }

    /// Add a text, cut by `rules`.
    pub(super) fn add(&mut self, scanner: &mut Scanner, rules: Rules, text: &str) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text.as_bytes());
        scanner.reset();
        let mut at = 0;
        while at < text.len() {
            let end = scanner.next(rules, text, at);
            let base = (start + at) as u32;
            let ends = &scanner.bounds()[1..];
            self.bounds.extend(ends.iter().map(|end| base + end));
            at = end;
        }
        self.pieces.push(self.bounds.len() - 1);
    }
}
