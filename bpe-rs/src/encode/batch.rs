//! The working memory of a batch: up to 256 pieces on their way through the caches.

use super::short_table::ShortEntry;
use super::value::Value;

/// Pieces in a batch.
pub(super) const BATCH: usize = 256;

/// Indices of pieces in the batch, and room for the 64 that are written at once.
pub(super) type Indices = [u32; BATCH + 64];

/// The pieces of a batch in their text: piece `j` is `text[bounds[j]..bounds[j + 1]]`.
#[derive(Clone, Copy)]
pub(super) struct Pieces<'a> {
    pub(super) text: &'a [u8],
    pub(super) bounds: &'a [u32],
}

impl<'a> Pieces<'a> {
    /// Where piece `j` starts, and its length.
    #[inline(always)]
    pub(super) fn place(self, j: usize) -> (usize, usize) {
        let start = self.bounds[j];
        (start as usize, (self.bounds[j + 1] - start) as usize)
    }

    #[inline(always)]
    pub(super) fn get(self, j: usize) -> &'a [u8] {
        let (start, len) = self.place(j);
        &self.text[start..start + len]
    }
}

/// What is known of each piece, by its index in the batch.
pub(super) struct Batch {
    /// Keys of short pieces; 0 for pieces that the first table cannot hold.
    pub(super) keys: [u64; BATCH],
    /// Their home slots in the first table.
    pub(super) slots: [u32; BATCH],
    /// The entries in these slots.
    pub(super) entries: [ShortEntry; BATCH],
    /// The result.
    pub(super) values: [Value; BATCH],
    /// 1 for each piece that the next step is about, else 0.
    pub(super) flags: [u8; BATCH],
    /// The pieces that the first table cannot hold, and those of them that the second cannot either.
    pub(super) longer: Indices,
    pub(super) long: Indices,
    /// The pieces that the tables lack, by how they are merged: of up to 15 bytes, of up to 32, and
    /// longer ones.
    pub(super) missing: [Indices; 3],
    /// Keys of medium pieces; for a longer piece the place of the bytes found under its hash, and 0.
    pub(super) wide_keys: [[u64; 2]; BATCH],
    /// Hashes of medium and long pieces.
    pub(super) hashes: [u64; BATCH],
}

impl Batch {
    pub(super) fn new() -> Box<Self> {
        const NONE: Indices = [0; BATCH + 64];
        Box::new(Self {
            keys: [0; BATCH],
            slots: [0; BATCH],
            entries: [ShortEntry::default(); BATCH],
            values: [Value::default(); BATCH],
            flags: [0; BATCH],
            longer: NONE,
            long: NONE,
            missing: [NONE; 3],
            wide_keys: [[0; 2]; BATCH],
            hashes: [0; BATCH],
        })
    }
}
