//! What one thread needs to encode with one vocabulary, reusable.

use super::cached_encoder::CachedEncoder;
use super::piece_encoder::PieceEncoder;
use crate::pretokenize::Scanner;

/// More memory for ids than this is not kept from one call to the next.
const KEPT_IDS: usize = 1 << 18;

/// Buffers and caches of one thread and one vocabulary, reusable. With another vocabulary the caches
/// would give wrong ids.
pub struct Scratch {
    pub(super) scanner: Scanner,
    pub(super) encoder: CachedEncoder,
    /// Memory for ids that are copied elsewhere.
    pub(super) ids: Vec<u32>,
    /// The number of the thread that had it last.
    pub(super) thread: usize,
    cache_limit: usize,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scratch({} bytes)", self.cache_bytes())
    }
}

impl Scratch {
    /// Empty caches that may grow to about `cache_limit` bytes.
    pub fn new(cache_limit: usize) -> Self {
        Self {
            scanner: Scanner::new(),
            encoder: CachedEncoder::new(cache_limit),
            ids: Vec::new(),
            thread: 0,
            cache_limit,
        }
    }

    /// The number of pieces in the caches.
    pub(super) fn pieces(&self) -> usize {
        self.encoder.pieces()
    }

    /// Run `work` with an empty vector for ids whose memory is reused.
    pub fn with_ids<T>(&mut self, work: impl FnOnce(&mut Self, &mut Vec<u32>) -> T) -> T {
        let mut ids = std::mem::take(&mut self.ids);
        ids.clear();
        let result = work(self, &mut ids);
        self.ids = ids;
        result
    }

    /// Empty the memory for ids and free what is more than usual.
    pub(super) fn clear_ids(&mut self) {
        self.ids.clear();
        self.ids.shrink_to(KEPT_IDS);
    }

    /// The limit that [`Self::new`] was given.
    pub(super) fn cache_limit(&self) -> usize {
        self.cache_limit
    }

    /// The encoder of single pieces, which uses no caches.
    pub fn piece_encoder(&mut self) -> &mut PieceEncoder {
        self.encoder.piece_encoder()
    }

    /// Bytes that the caches take now.
    pub fn cache_bytes(&self) -> usize {
        self.encoder.cache_bytes()
    }
}
