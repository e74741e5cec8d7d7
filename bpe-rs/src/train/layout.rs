//! How one record of the training corpus lies in memory.
//!
//! A record starts on a 32-byte boundary and takes whole blocks of 32 bytes, so that a vector
//! register loads it and stores it back without ever writing into its neighbour. There are two
//! layouts: [`Narrow`] (16-bit tokens, 12 in the first block) until ids pass 65,535, then [`Wide`]
//! (32-bit tokens), which also takes words that are too frequent for `Narrow`.
//!
//! A record is a word, or a *chunk*: one of the pieces of at most [`in_chunk`] tokens that a long
//! word is cut into. Merging a pair costs time by the length of the records that hold it, so
//! records must be short. The chunks of a word are linked in both directions; a pair of tokens
//! belongs to the chunk that holds the left one.

use crate::simd::{BLOCK, HEADER};

/// How the tokens and the header of a record lie in memory.
pub(super) trait RecordLayout: Copy + Sync + 'static {
    type Token: Copy + Eq + Into<u32> + Sync;
    /// The greatest token id that fits.
    const MAX_ID: u32;
    /// The greatest count of a word that fits.
    const MAX_COUNT: u64;
    /// Added to the length in the header of a chunk, which is thereby longer than every word.
    const CHUNK: usize;
    /// Tokens in one block, the header's included.
    const BLOCK_TOKENS: usize = BLOCK / size_of::<Self::Token>();

    fn token(id: u32) -> Self::Token;

    /// (count, length) of the record at `record`; the length of a chunk has [`Self::CHUNK`] added.
    ///
    /// # Safety
    /// `record` is the start of a record that [`RecordLayout::set_header`] has written.
    unsafe fn header(record: *const Self::Token) -> (u64, usize);

    /// Write (count, length) of the record at `record`.
    ///
    /// # Safety
    /// `record` is the start of a block that may be written; `count <= MAX_COUNT` and
    /// `len < 2 * CHUNK`.
    unsafe fn set_header(record: *mut Self::Token, count: u64, len: usize);
}

/// 16-bit tokens; the header is one `u64`: 48 bits of count, 16 bits of length.
#[derive(Clone, Copy)]
pub(super) struct Narrow;

/// 32-bit tokens; the header is a `u64` of count and a `u64` of length.
#[derive(Clone, Copy)]
pub(super) struct Wide;

const COUNT_BITS: u32 = 48;

impl RecordLayout for Narrow {
    type Token = u16;
    const MAX_ID: u32 = u16::MAX as u32;
    const MAX_COUNT: u64 = (1 << COUNT_BITS) - 1;
    const CHUNK: usize = 1 << 15;

    #[inline(always)]
    fn token(id: u32) -> u16 {
        debug_assert!(id <= Self::MAX_ID);
        id as u16
    }

    #[inline(always)]
    unsafe fn header(record: *const u16) -> (u64, usize) {
        // SAFETY: a record starts with its 8-byte header and is 32-byte aligned.
        let header = unsafe { *record.cast::<u64>() };
        (header & Self::MAX_COUNT, (header >> COUNT_BITS) as usize)
    }

    #[inline(always)]
    unsafe fn set_header(record: *mut u16, count: u64, len: usize) {
        debug_assert!(count <= Self::MAX_COUNT && len < 2 * Self::CHUNK);
        // SAFETY: as above; the caller may write the block.
        unsafe { *record.cast::<u64>() = count | (len as u64) << COUNT_BITS }
    }
}

impl RecordLayout for Wide {
    type Token = u32;
    const MAX_ID: u32 = u32::MAX - 1;
    const MAX_COUNT: u64 = u64::MAX;
    const CHUNK: usize = 1 << 15;

    #[inline(always)]
    fn token(id: u32) -> u32 {
        id
    }

    #[inline(always)]
    unsafe fn header(record: *const u32) -> (u64, usize) {
        let words = record.cast::<u64>();
        // SAFETY: a record starts with its 16-byte header and is 32-byte aligned.
        unsafe { (*words, *words.add(1) as usize) }
    }

    #[inline(always)]
    unsafe fn set_header(record: *mut u32, count: u64, len: usize) {
        let words = record.cast::<u64>();
        // SAFETY: as above; the caller may write the block.
        unsafe {
            *words = count;
            *words.add(1) = len as u64;
        }
    }
}

/// In place of the start of a chunk: there is none.
pub(super) const NONE: u32 = u32::MAX;

/// What a chunk has between its header and its tokens.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Links {
    /// The start of the chunk before it in the word, or [`NONE`].
    pub(super) before: u32,
    /// The start of the chunk behind it, or [`NONE`]. A chunk without tokens is no longer linked.
    pub(super) behind: u32,
    /// Bytes of text from its front that have become part of a token of the chunk before it.
    pub(super) lost: u32,
}

/// Blocks of a chunk. In tests few, so that words of all kinds are cut into many.
const CHUNK_BLOCKS: usize = if cfg!(test) { 1 } else { 4 };
/// Most blocks of a word that is not cut into chunks.
const WORD_BLOCKS: usize = if cfg!(test) { 2 } else { 4 };

/// Tokens whose room the links of a chunk take.
const fn link_tokens<L: RecordLayout>() -> usize {
    size_of::<Links>() / size_of::<L::Token>()
}

/// Most tokens of a chunk.
pub(super) const fn in_chunk<L: RecordLayout>() -> usize {
    CHUNK_BLOCKS * L::BLOCK_TOKENS - HEADER - link_tokens::<L>()
}

/// The room that the records of a word take.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) records: usize,
    /// Blocks of each record.
    pub(super) blocks: usize,
}

impl Room {
    /// That of a word of `len` tokens.
    #[inline(always)]
    pub(super) fn of<L: RecordLayout>(len: usize) -> Self {
        let blocks = (HEADER + len).div_ceil(L::BLOCK_TOKENS);
        if blocks <= WORD_BLOCKS {
            Self { records: 1, blocks }
        } else {
            Self {
                records: len.div_ceil(in_chunk::<L>()),
                blocks: CHUNK_BLOCKS,
            }
        }
    }
}

/// A record that was read.
#[derive(Clone, Copy)]
pub(super) struct Record<L: RecordLayout> {
    start: *mut L::Token,
    pub(super) count: u64,
    pub(super) len: usize,
    pub(super) is_chunk: bool,
}

impl<L: RecordLayout> Record<L> {
    /// Read the header of the record at `start`.
    ///
    /// # Safety
    /// `start` is the start of a record that was written. While the result is used the record is
    /// there, and whoever changes it is alone in using it.
    #[inline(always)]
    pub(super) unsafe fn at(start: *mut L::Token) -> Self {
        // SAFETY: the caller's promise.
        let (count, len) = unsafe { L::header(start) };
        Self {
            start,
            count,
            len: len & (L::CHUNK - 1),
            is_chunk: len & L::CHUNK != 0,
        }
    }

    /// Write a new record at `start`: a chunk if there are `links`.
    ///
    /// # Safety
    /// The blocks that [`Room`] counts for it may be written; the ids and `count` fit the layout.
    pub(super) unsafe fn write(
        start: *mut L::Token,
        count: u64,
        tokens: &[u32],
        links: Option<Links>,
    ) {
        let mut this = Self {
            start,
            count,
            len: tokens.len(),
            is_chunk: links.is_some(),
        };
        // SAFETY: the caller's promise; `Room` counts header, links and tokens.
        unsafe {
            if let Some(links) = links {
                *this.links_mut() = links;
            }
            for (i, &id) in tokens.iter().enumerate() {
                *this.first().add(i) = L::token(id);
            }
            this.set_len(tokens.len());
        }
    }

    #[inline(always)]
    fn links_mut(self) -> *mut Links {
        // Aligned to 4 bytes, as the header's end is.
        self.start.wrapping_add(HEADER).cast()
    }

    /// Where the first token is.
    #[inline(always)]
    fn first(self) -> *mut L::Token {
        let links = if self.is_chunk { link_tokens::<L>() } else { 0 };
        self.start.wrapping_add(HEADER + links)
    }

    /// Its tokens.
    ///
    /// # Safety
    /// As for [`Record::at`]; nobody changes the record while the result is used.
    #[inline(always)]
    pub(super) unsafe fn tokens<'a>(self) -> &'a [L::Token] {
        // SAFETY: `len` tokens were written, and a record only gets shorter.
        unsafe { std::slice::from_raw_parts(self.first(), self.len) }
    }

    /// Its links; those of a word lead nowhere.
    ///
    /// # Safety
    /// As for [`Record::at`].
    #[inline(always)]
    pub(super) unsafe fn links(self) -> Links {
        if self.is_chunk {
            // SAFETY: a chunk has links.
            unsafe { *self.links_mut() }
        } else {
            Links {
                before: NONE,
                behind: NONE,
                lost: 0,
            }
        }
    }

    /// Replace the links of a chunk.
    ///
    /// # Safety
    /// As for [`Record::at`].
    pub(super) unsafe fn set_links(self, links: Links) {
        debug_assert!(self.is_chunk);
        // SAFETY: a chunk has links.
        unsafe { *self.links_mut() = links }
    }

    /// Its tokens, to be changed.
    ///
    /// # Safety
    /// As for [`Record::at`]; nobody else uses the record while the result is used.
    #[inline(always)]
    pub(super) unsafe fn tokens_mut<'a>(self) -> &'a mut [L::Token] {
        // SAFETY: as in `tokens`, and the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.first(), self.len) }
    }

    /// Drop the first token.
    ///
    /// # Safety
    /// As for [`Record::at`]; there is one.
    pub(super) unsafe fn drop_first(&mut self) {
        // SAFETY: the caller's promise.
        unsafe {
            std::ptr::copy(self.first().add(1), self.first(), self.len - 1);
            self.set_len(self.len - 1);
        }
    }

    /// Make it `len` tokens long.
    ///
    /// # Safety
    /// As for [`Record::at`]; so many tokens have been written.
    pub(super) unsafe fn set_len(&mut self, len: usize) {
        self.len = len;
        let chunk = if self.is_chunk { L::CHUNK } else { 0 };
        // SAFETY: the caller's promise.
        unsafe { L::set_header(self.start, self.count, len + chunk) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a merge costs for each record that holds its pair is bounded.
    #[test]
    fn records_of_long_words_are_short() {
        fn check<L: RecordLayout>() {
            for len in [2, 5, 12, 13, 28, 29, 100, 1 << 20] {
                let room = Room::of::<L>(len);
                assert!(room.blocks <= WORD_BLOCKS.max(CHUNK_BLOCKS));
                let most = room.blocks * L::BLOCK_TOKENS - HEADER;
                assert!(most < L::CHUNK && len <= room.records * most);
                assert!(room.records == 1 || room.records == len.div_ceil(in_chunk::<L>()));
            }
        }
        check::<Narrow>();
        check::<Wide>();
    }
}
