//! What the trainer needs of a level: find a pair of tokens in a word, and replace it by one token.
//!
//! A word is a record in memory: [`HEADER`] tokens that mean nothing here, then its tokens, in
//! whole blocks of [`BLOCK`] bytes, aligned to them. So a vector register loads a block and stores
//! it back without ever writing into the next record.

/// Size and alignment of a block in bytes.
pub(crate) const BLOCK: usize = 32;
/// The header takes as much room as this many tokens.
pub(crate) const HEADER: usize = 4;

/// A level that works on records whose tokens are of type `T`.
pub(crate) trait RecordOps<T> {
    /// Longest word, in tokens, that the methods take (at most 32).
    const WINDOW: usize;

    /// Bit `i` is set if tokens `i` and `i + 1` are `left` and `right`.
    ///
    /// # Safety
    /// - `record` is the start of a record of `2 <= len <= WINDOW` tokens, and one more token
    ///   behind its blocks may be read.
    /// - The processor has the level's instructions, as for
    ///   [`Bytes64::load`](super::bytes64::Bytes64::load).
    unsafe fn find_pair(record: *const T, len: usize, left: T, right: T) -> u32;

    /// Write `new` over token `i` and move the tokens behind `i + 1` one to the left. The header
    /// stays as it is.
    ///
    /// # Safety
    /// As for [`RecordOps::find_pair`]; `i + 1 < len`; nobody else reads or writes the record.
    unsafe fn replace_pair(record: *mut T, len: usize, i: usize, new: T);
}

/// Tokens of type `T` in a block.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) const fn in_block<T>() -> usize {
    BLOCK / size_of::<T>()
}

/// Tokens of a word that lie in its record's first block.
#[cfg(target_arch = "x86_64")]
pub(super) const fn in_first_block<T>() -> usize {
    in_block::<T>() - HEADER
}

/// A bit for each pair of neighbours in a word of `len` tokens.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(super) fn all_pairs(len: usize) -> u32 {
    (1 << (len - 1)) - 1
}
