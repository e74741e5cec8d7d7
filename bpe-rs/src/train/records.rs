//! The distinct words of the corpus as records, in the order in which they were given.

use std::marker::PhantomData;

use super::layout::{in_chunk, Links, Record, RecordLayout, Room, Wide, NONE};
use super::pair_counts::Pair;
use crate::error::{Error, Result};
use crate::memory::{LargeVec, Zeroable};
use crate::simd::{prefetch, BLOCK};

/// Memory of one block: a record takes one or more of them.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Block([u64; 4]);

// SAFETY: numbers, aligned to 32 bytes.
unsafe impl Zeroable for Block {}

const _: () = assert!(size_of::<Block>() == BLOCK && align_of::<Block>() == BLOCK);

/// All words with at least two tokens, in the order in which they were given.
pub(super) struct Records<L: RecordLayout> {
    blocks: LargeVec<Block>,
    /// First block of every record, ascending.
    starts: LargeVec<u32>,
    /// Tokens in all records when they were filled or last compacted. There are hardly more postings.
    tokens: usize,
    layout: PhantomData<L>,
}

/// The memory that words take in a layout.
pub(super) struct Size<L: RecordLayout> {
    blocks: usize,
    records: usize,
    layout: PhantomData<L>,
}

impl<L: RecordLayout> Size<L> {
    pub(super) fn zero() -> Self {
        Self {
            blocks: 0,
            records: 0,
            layout: PhantomData,
        }
    }

    /// Add a word of `len` tokens.
    #[inline(always)]
    pub(super) fn add(&mut self, len: usize) {
        if len > 1 {
            let room = Room::of::<L>(len);
            self.blocks += room.records * room.blocks;
            self.records += room.records;
        }
    }
}

/// A record as it is now: a word, or one chunk of a long one.
#[derive(Clone, Copy)]
pub(super) struct Word<'a, L: RecordLayout> {
    record: Record<L>,
    records: &'a Records<L>,
}

impl<L: RecordLayout> Word<'_, L> {
    /// How often the word occurs.
    #[inline(always)]
    pub(super) fn count(self) -> u64 {
        self.record.count
    }

    /// Where its first token begins: 0 for a word; for a chunk in bytes from where it began at
    /// first.
    #[inline(always)]
    pub(super) fn offset(self) -> u32 {
        // SAFETY: as in `any_pair`.
        unsafe { self.record.links().lost }
    }

    /// Call `visit` with its pairs of neighbours until it returns `true`; whether it did.
    #[inline(always)]
    pub(super) fn any_pair(self, mut visit: impl FnMut(Pair) -> bool) -> bool {
        // SAFETY: records are written by `write`, lie inside `blocks`, only get shorter, and are
        // not changed while `records` is borrowed.
        let tokens = unsafe { self.record.tokens() };
        for two in tokens.windows(2) {
            if visit(Pair::new(two[0].into(), two[1].into())) {
                return true;
            }
        }
        self.record.is_chunk && self.pair_across_end().is_some_and(visit)
    }

    /// The last token of a chunk and the first one behind it.
    #[cold]
    fn pair_across_end(self) -> Option<Pair> {
        // SAFETY: as in `any_pair`; a chunk that another one links has tokens.
        unsafe {
            let behind = self.record.links().behind;
            let last = *self.record.tokens().last()?;
            let first = match behind {
                NONE => None,
                _ => self.records.record(behind).tokens().first(),
            };
            Some(Pair::new(last.into(), (*first?).into()))
        }
    }
}

impl<L: RecordLayout> Records<L> {
    /// Empty, with room for words of this size.
    pub(super) fn with_room_for(size: Size<L>) -> Self {
        // One block more than the records take: a vector load one token past a record's start
        // reads into the block behind it.
        let mut blocks = LargeVec::with_capacity(size.blocks + 1);
        blocks.push(Block([0; 4]));
        Self {
            blocks,
            starts: LargeVec::with_capacity(size.records),
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
    /// When the word is too frequent for the layout.
    pub(super) fn push(&mut self, tokens: &[u32], count: u64) -> Result<()> {
        if tokens.len() < 2 {
            return Ok(());
        }
        assert!(count <= L::MAX_COUNT, "the word does not fit its layout");
        self.tokens += tokens.len();
        if self.tokens > u32::MAX as usize {
            return Err(Error::invalid(format!(
                "too many distinct words to train on: the first {} hold more than 2^32 tokens; \
                 drop rare words first (WordCounts.prune)",
                self.starts.len()
            )));
        }
        let (start, room) = (self.blocks.len() - 1, Room::of::<L>(tokens.len()));
        self.blocks
            .resize(start + room.records * room.blocks + 1, Block([0; 4]));
        // A word takes at most one block a token, so the indices of blocks fit too.
        for i in 0..room.records {
            self.starts.push((start + i * room.blocks) as u32);
        }
        self.write(start, tokens, count);
        Ok(())
    }

    /// Write a word of at least two tokens into the blocks from `start` on, which are there.
    fn write(&mut self, start: usize, tokens: &[u32], count: u64) {
        let room = Room::of::<L>(tokens.len());
        assert!(start + room.records * room.blocks < self.blocks.len());
        let record = |i: usize| (start + i * room.blocks) as u32;
        if room.records == 1 {
            // SAFETY: the blocks are there (asserted above), and the count fits (checked by `push`).
            unsafe { Record::<L>::write(self.at_mut(record(0)), count, tokens, None) }
            return;
        }
        for (i, chunk) in tokens.chunks(in_chunk::<L>()).enumerate() {
            let links = Links {
                before: if i > 0 { record(i - 1) } else { NONE },
                behind: if i + 1 < room.records {
                    record(i + 1)
                } else {
                    NONE
                },
                lost: 0,
            };
            // SAFETY: as above.
            unsafe { Record::<L>::write(self.at_mut(record(i)), count, chunk, Some(links)) }
        }
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
        self.blocks[start as usize..].as_mut_ptr().cast()
    }

    #[inline(always)]
    fn record(&self, start: u32) -> Record<L> {
        let blocks = self.blocks[start as usize..].as_ptr();
        // SAFETY: `start` names a record that `write` has written; it is only read here.
        unsafe { Record::at(blocks.cast_mut().cast()) }
    }

    /// The record at `start` (one of [`Records::starts`]).
    #[inline(always)]
    pub(super) fn word(&self, start: u32) -> Word<'_, L> {
        Word {
            record: self.record(start),
            records: self,
        }
    }

    /// Prefetch the record at `start`.
    #[inline(always)]
    pub(super) fn prefetch(&self, start: u32) {
        prefetch(&self.blocks[start as usize]);
    }

    /// The number of records of the word whose first record is number `first`.
    fn records_of_word(&self, first: usize) -> usize {
        // SAFETY: as in `any_pair`. A chunk has one before it, or had one when it had tokens.
        let is_first = |&start: &u32| unsafe { self.record(start).links().before == NONE };
        let others = &self.starts[first + 1..];
        1 + others.iter().position(is_first).unwrap_or(others.len())
    }

    /// Put the tokens of the word whose first record is number `first` into `tokens`, and return
    /// its count.
    fn whole_word(&self, first: usize, tokens: &mut Vec<u32>) -> u64 {
        tokens.clear();
        let mut record = self.record(self.starts[first]);
        loop {
            // SAFETY: as in `any_pair`.
            let behind = unsafe {
                tokens.extend(record.tokens().iter().map(|&token| token.into()));
                record.links().behind
            };
            if behind == NONE {
                return record.count;
            }
            record = self.record(behind);
        }
    }

    /// Drop the words that have become one token, since they hold no pair any more, and close the
    /// gaps between the others, in their order. Every start may change.
    pub(super) fn compact(&mut self) {
        let (mut end, mut kept, mut from) = (0, 0, 0);
        self.tokens = 0;
        let mut tokens = Vec::new();
        while from < self.starts.len() {
            let start = self.starts[from];
            let record = self.record(start);
            // A word only gets shorter, so it is not written over words that come later.
            let (len, room) = if record.is_chunk {
                let count = self.whole_word(from, &mut tokens);
                from += self.records_of_word(from);
                let room = Room::of::<L>(tokens.len());
                if tokens.len() > 1 {
                    self.write(end, &tokens, count);
                }
                (tokens.len(), room)
            } else {
                from += 1;
                let room = Room::of::<L>(record.len);
                if record.len > 1 {
                    let start = start as usize;
                    self.blocks.copy_within(start..start + room.blocks, end);
                }
                (record.len, room)
            };
            if len < 2 {
                continue;
            }
            for i in 0..room.records {
                self.starts[kept + i] = (end + i * room.blocks) as u32;
            }
            self.tokens += len;
            kept += room.records;
            end += room.records * room.blocks;
        }
        self.starts.shorten(kept);
        // And the block behind the last record.
        self.blocks.shorten(end + 1);
    }

    /// The same words with wider tokens.
    pub(super) fn widen(&self) -> Result<Records<Wide>> {
        let (mut size, mut tokens) = (Size::zero(), Vec::new());
        self.each_whole_word(&mut tokens, |tokens, _| {
            size.add(tokens.len());
            Ok(())
        })?;
        let mut wide = Records::with_room_for(size);
        self.each_whole_word(&mut tokens, |tokens, count| wide.push(tokens, count))?;
        Ok(wide)
    }

    fn each_whole_word(
        &self,
        tokens: &mut Vec<u32>,
        mut visit: impl FnMut(&[u32], u64) -> Result<()>,
    ) -> Result<()> {
        let mut from = 0;
        while from < self.starts.len() {
            let count = self.whole_word(from, tokens);
            visit(tokens, count)?;
            from += self.records_of_word(from);
        }
        Ok(())
    }
}
