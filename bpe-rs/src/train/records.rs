//! The distinct words of the corpus as fixed records: a header (count, length) and the tokens.
//!
//! A record starts on a 32-byte boundary and takes whole units of 32 bytes, so that a vector
//! register loads it and stores it back without ever writing into its neighbour. Two layouts:
//! [`Narrow`] (16-bit tokens, 12 in the first unit) carries a training run until its ids pass
//! 65,535, [`Wide`] (32-bit tokens) goes on from there and takes what is too big for `Narrow`.

use std::marker::PhantomData;

use crate::error::{Error, Result};
use crate::memory::{LargeVec, Zeroable};
use crate::simd::{prefetch, BLOCK, HEADER};

/// A 32-byte aligned block: a record takes one or more of them.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Unit([u64; 4]);

// SAFETY: numbers, aligned to 32 bytes.
unsafe impl Zeroable for Unit {}

const _: () = assert!(size_of::<Unit>() == BLOCK && align_of::<Unit>() == BLOCK);

/// How the tokens and the header of a record lie in memory.
pub(super) trait Layout: Copy + Sync + 'static {
    type Token: Copy + Eq + Into<u32> + Sync;
    /// The greatest token id that fits.
    const MAX_ID: u32;
    /// The greatest count of a word that fits.
    const MAX_COUNT: u64;
    /// The greatest number of tokens in a word that fits.
    const MAX_LEN: usize;
    /// Tokens in one unit, the header's included.
    const LANES: usize = BLOCK / size_of::<Self::Token>();

    fn token(id: u32) -> Self::Token;

    /// (count, length) of the record at `record`.
    ///
    /// # Safety
    /// `record` is the start of a record that [`Layout::set_header`] has written.
    unsafe fn header(record: *const Self::Token) -> (u64, usize);

    /// # Safety
    /// `record` is the start of a unit that may be written; `count <= MAX_COUNT` and
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

impl Layout for Narrow {
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
        // SAFETY: as above; the caller may write the unit.
        unsafe { *record.cast::<u64>() = count | (len as u64) << COUNT_BITS }
    }
}

impl Layout for Wide {
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
        // SAFETY: as above; the caller may write the unit.
        unsafe {
            *words = count;
            *words.add(1) = len as u64;
        }
    }
}

/// All words with at least two tokens, in the order in which they were given.
pub(super) struct Records<L: Layout> {
    units: LargeVec<Unit>,
    /// First unit of every record, ascending.
    starts: LargeVec<u32>,
    /// Tokens in all records when they were built or moved together: what postings can never
    /// outnumber by much.
    tokens: usize,
    layout: PhantomData<L>,
}

fn units_for<L: Layout>(len: usize) -> usize {
    (HEADER + len).div_ceil(L::LANES)
}

/// How much room words take in a layout.
pub(super) struct Room<L: Layout> {
    units: usize,
    words: usize,
    layout: PhantomData<L>,
}

impl<L: Layout> Room<L> {
    pub(super) fn none() -> Self {
        Self {
            units: 0,
            words: 0,
            layout: PhantomData,
        }
    }

    /// And that of one more word of `len` tokens.
    #[inline(always)]
    pub(super) fn add(&mut self, len: usize) {
        if len > 1 {
            self.units += units_for::<L>(len);
            self.words += 1;
        }
    }
}

impl<L: Layout> Records<L> {
    /// Empty, with room for so much.
    pub(super) fn with_room_for(room: Room<L>) -> Self {
        // One unit more than the records take: a vector load one token past a record's start
        // reads into the unit behind it.
        let mut units = LargeVec::with_capacity(room.units + 1);
        units.push(Unit([0; 4]));
        Self {
            units,
            starts: LargeVec::with_capacity(room.words),
            tokens: 0,
            layout: PhantomData,
        }
    }

    /// Append a word. Words of fewer than two tokens hold no pair and are left out.
    ///
    /// # Errors
    /// When the words hold more than 2^32 tokens.
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
        let start = self.units.len() - 1;
        self.tokens += len;
        if self.tokens > u32::MAX as usize {
            return Err(Error::invalid(format!(
                "too many distinct words to train on: the first {} hold more than 2^32 tokens; \
                 drop rare words first (WordCounts.prune)",
                self.starts.len()
            )));
        }
        // A unit per token is the most that a word takes, so the index fits too.
        let index = start as u32;
        self.starts.push(index);
        self.units
            .resize(start + units_for::<L>(len) + 1, Unit([0; 4]));
        let record = self.at_mut(index);
        // SAFETY: the resize above made the record's units, `len` tokens fit behind the header,
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

    /// Pointer to the first unit; records lie at `start * L::LANES` tokens from it.
    pub(super) fn base_mut(&mut self) -> *mut L::Token {
        self.units.as_mut_ptr().cast()
    }

    fn at_mut(&mut self, start: u32) -> *mut L::Token {
        let unit: *mut Unit = &mut self.units[start as usize];
        unit.cast()
    }

    /// The word at `start` (one of [`Records::starts`]): its count and its tokens now.
    #[inline(always)]
    pub(super) fn word(&self, start: u32) -> (u64, &[L::Token]) {
        let unit: *const Unit = &self.units[start as usize];
        let record: *const L::Token = unit.cast();
        // SAFETY: `start` names a record written by `push`, whose length only shrinks, so its
        // tokens lie inside `units` and are initialised.
        unsafe {
            let (count, len) = L::header(record);
            (count, std::slice::from_raw_parts(record.add(HEADER), len))
        }
    }

    /// Ask for the word at `start` ahead of a look at it.
    #[inline(always)]
    pub(super) fn prefetch(&self, start: u32) {
        prefetch(&self.units[start as usize]);
    }

    /// Forget the words that have become one token, since they hold no pair any more, and move the
    /// others together, in their order. Every start may change.
    pub(super) fn compact(&mut self) {
        let (mut end, mut kept) = (0, 0);
        self.tokens = 0;
        for i in 0..self.starts.len() {
            let start = self.starts[i] as usize;
            let len = self.word(self.starts[i]).1.len();
            if len < 2 {
                continue;
            }
            let units = units_for::<L>(len);
            self.units.copy_within(start..start + units, end);
            self.starts[kept] = end as u32;
            self.tokens += len;
            kept += 1;
            end += units;
        }
        self.starts.shorten(kept);
        // And the unit behind the last record.
        self.units.shorten(end + 1);
    }

    /// The same words with wider tokens.
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
