//! The distinct words of the corpus as fixed records: a header (count, length) and the tokens.
//!
//! A record starts on a 32-byte boundary and takes whole blocks of 32 bytes, so that a vector
//! register loads it and stores it back without ever writing into its neighbour. There are two
//! layouts: [`Narrow`] (16-bit tokens, 12 in the first block) until ids pass 65,535, then [`Wide`]
//! (32-bit tokens), which also takes the words that are too long or too frequent for `Narrow`.

use std::marker::PhantomData;

use crate::error::{Error, Result};
use crate::memory::{LargeVec, Zeroable};
use crate::simd::{prefetch, BLOCK, HEADER};

/// Memory of one block: a record takes one or more of them.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Block([u64; 4]);

// SAFETY: numbers, aligned to 32 bytes.
unsafe impl Zeroable for Block {}

const _: () = assert!(size_of::<Block>() == BLOCK && align_of::<Block>() == BLOCK);

/// How the tokens and the header of a record lie in memory.
pub(super) trait RecordLayout: Copy + Sync + 'static {
    type Token: Copy + Eq + Into<u32> + Sync;
    /// The greatest token id that fits.
    const MAX_ID: u32;
    /// The greatest count of a word that fits.
    const MAX_COUNT: u64;
    /// The greatest number of tokens in a word that fits.
    const MAX_LEN: usize;
    /// Tokens in one block, the header's included.
    const BLOCK_TOKENS: usize = BLOCK / size_of::<Self::Token>();

    fn token(id: u32) -> Self::Token;

    /// (count, length) of the record at `record`.
    ///
    /// # Safety
    /// `record` is the start of a record that [`RecordLayout::set_header`] has written.
    unsafe fn header(record: *const Self::Token) -> (u64, usize);

    /// Write (count, length) of the record at `record`.
    ///
    /// # Safety
    /// `record` is the start of a block that may be written; `count <= MAX_COUNT` and
    /// `len <= MAX_LEN`.
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
    const MAX_LEN: usize = u16::MAX as usize;

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
        debug_assert!(count <= Self::MAX_COUNT && len <= Self::MAX_LEN);
        // SAFETY: as above; the caller may write the block.
        unsafe { *record.cast::<u64>() = count | (len as u64) << COUNT_BITS }
    }
}

impl RecordLayout for Wide {
    type Token = u32;
    const MAX_ID: u32 = u32::MAX - 1;
    const MAX_COUNT: u64 = u64::MAX;
    const MAX_LEN: usize = u32::MAX as usize;

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

/// All words with at least two tokens, in the order in which they were given.
pub(super) struct Records<L: RecordLayout> {
    blocks: LargeVec<Block>,
    /// First block of every record, ascending.
    starts: LargeVec<u32>,
    /// Tokens in all records when they were filled or compacted: postings cannot outnumber them
    /// by much.
    tokens: usize,
    layout: PhantomData<L>,
}

fn blocks_for<L: RecordLayout>(len: usize) -> usize {
    (HEADER + len).div_ceil(L::BLOCK_TOKENS)
}

/// The memory that words take in a layout.
pub(super) struct Room<L: RecordLayout> {
    blocks: usize,
    words: usize,
    layout: PhantomData<L>,
}

impl<L: RecordLayout> Room<L> {
    pub(super) fn none() -> Self {
        Self {
            blocks: 0,
            words: 0,
            layout: PhantomData,
        }
    }

    /// Add that of one more word of `len` tokens.
    #[inline(always)]
    pub(super) fn add(&mut self, len: usize) {
        if len > 1 {
            self.blocks += blocks_for::<L>(len);
            self.words += 1;
        }
    }
}

impl<L: RecordLayout> Records<L> {
    /// Empty, with room for so much.
    pub(super) fn with_room_for(room: Room<L>) -> Self {
        // One block more than the records take: a vector load one token past a record's start
        // reads into the block behind it.
        let mut blocks = LargeVec::with_capacity(room.blocks + 1);
        blocks.push(Block([0; 4]));
        Self {
            blocks,
            starts: LargeVec::with_capacity(room.words),
            tokens: 0,
            layout: PhantomData,
        }
    }

    /// Append a word. Words of fewer than two tokens hold no pair and are left out.
    ///
    /// # Errors
    /// When the words hold more than 2^32 tokens.
    ///
    /// # Panics
    /// When the word is too long or too frequent for the layout.
    pub(super) fn push(
        &mut self,
        tokens: impl ExactSizeIterator<Item = u32>,
        count: u64,
    ) -> Result<()> {
        let len = tokens.len();
        if len < 2 {
            return Ok(());
        }
        assert!(
            len <= L::MAX_LEN && count <= L::MAX_COUNT,
            "the word does not fit its layout"
        );
        let start = self.blocks.len() - 1;
        self.tokens += len;
        if self.tokens > u32::MAX as usize {
            return Err(Error::invalid(format!(
                "too many distinct words to train on: the first {} hold more than 2^32 tokens; \
                 drop rare words first (WordCounts.prune)",
                self.starts.len()
            )));
        }
        // A word takes at most one block a token, so the index fits too.
        let index = start as u32;
        self.starts.push(index);
        self.blocks
            .resize(start + blocks_for::<L>(len) + 1, Block([0; 4]));
        let record = self.at_mut(index);
        // SAFETY: the resize above made the record's blocks, `len` tokens fit behind the header,
        // and the assertion covers the header's limits.
        unsafe {
            L::set_header(record, count, len);
            for (i, id) in tokens.enumerate() {
                *record.add(HEADER + i) = L::token(id);
            }
        }
        Ok(())
    }

    pub(super) fn starts(&self) -> &[u32] {
        &self.starts
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Pointer to the first block; records lie at `start * L::BLOCK_TOKENS` tokens from it.
    pub(super) fn base_mut(&mut self) -> *mut L::Token {
        self.blocks.as_mut_ptr().cast()
    }

    fn at_mut(&mut self, start: u32) -> *mut L::Token {
        let block: *mut Block = &mut self.blocks[start as usize];
        block.cast()
    }

    /// The word at `start` (one of [`Records::starts`]): its count and its tokens now.
    #[inline(always)]
    pub(super) fn word(&self, start: u32) -> (u64, &[L::Token]) {
        let block: *const Block = &self.blocks[start as usize];
        let record: *const L::Token = block.cast();
        // SAFETY: `start` names a record written by `push`, whose length only shrinks, so its
        // tokens lie inside `blocks` and are initialised.
        unsafe {
            let (count, len) = L::header(record);
            (count, std::slice::from_raw_parts(record.add(HEADER), len))
        }
    }

    /// Prefetch the word at `start`.
    #[inline(always)]
    pub(super) fn prefetch(&self, start: u32) {
        prefetch(&self.blocks[start as usize]);
    }

    /// Drop the words that have become one token, since they hold no pair any more, and close the
    /// gaps between the others, in their order. Every start may change.
    pub(super) fn compact(&mut self) {
        let (mut end, mut kept) = (0, 0);
        self.tokens = 0;
        for i in 0..self.starts.len() {
            let start = self.starts[i] as usize;
            let len = self.word(self.starts[i]).1.len();
            if len < 2 {
                continue;
            }
            let blocks = blocks_for::<L>(len);
            self.blocks.copy_within(start..start + blocks, end);
            self.starts[kept] = end as u32;
            self.tokens += len;
            kept += 1;
            end += blocks;
        }
        self.starts.shorten(kept);
        // And the block behind the last record.
        self.blocks.shorten(end + 1);
    }

    /// The same words with wider tokens.
    ///
    /// # Errors
    /// As for [`Records::push`].
    pub(super) fn widen(&self) -> Result<Records<Wide>> {
        let mut room = Room::none();
        for &start in self.starts.iter() {
            room.add(self.word(start).1.len());
        }
        let mut wide = Records::<Wide>::with_room_for(room);
        for &start in self.starts.iter() {
            let (count, tokens) = self.word(start);
            wide.push(tokens.iter().map(|&token| token.into()), count)?;
        }
        Ok(wide)
    }
}
