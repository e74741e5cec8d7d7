//! Merging that starts from whole characters, where that gives the same as starting from bytes.
//!
//! A character of three bytes costs two merges before anything differs from text to text. What its
//! bytes become alone is looked up here instead, so that only merges between characters are left.
//! This is exact, for the following reasons.
//!
//! Let `c` be a character of a text of UTF-8. Until some merge crosses an end of `c`, its bytes merge
//! as they would alone. Consider the first merge that crosses an end, say the left one: it joins
//! `left`, which ends before `c`, and `right`, which begins with `c`. The right end is the mirror image.
//!
//! 1. If `right` is only the head of `c`, it is a part that `c` alone has at some time, and the table
//!    has the pair (`left`, `right`). That pair can come first only if its number is smaller than that
//!    of the merge in which `c` alone uses `right` up, or if `c` alone never does.
//! 2. If no such pair fits the text, `c` is *closed* at its left end: no merge ever joins a head of it
//!    to something before it. What crosses that end takes all of `c`, as one part.
//!
//! Step 1 needs that every merge has a larger number than those that make its parts, so that the
//! numbers of the merges of `c` alone ascend. This is so in trained vocabularies; one of which it is
//! not true has no [`CharStarts`].
//!
//! Now compare starting from bytes with starting from what the characters closed at both ends become
//! alone and the bytes of the others. What differs is only when the merges inside closed characters
//! happen. The other merges happen in the same order: suppose that both ways have done the same ones
//! so far.
//!
//! * One that is possible from bytes has no fraction of a closed character as a part, so it is possible
//!   from characters as well.
//! * One that is possible from characters has no fraction of a closed character as a part either: of
//!   what a character becomes alone, a fraction that could go on to merge is a case of 1. If it is possible
//!   from characters only, it uses a closed character as one part that the bytes have not become
//!   yet. The merges still missing inside that character have smaller numbers, and one of
//!   them is possible. So from bytes neither this merge nor one with a larger number is next.
//!
//! Therefore both ways choose the same merge each time.
//!
//! Whether a character is closed depends on itself and on the text beside it. The former, parts and
//! numbers, is worked out once for each character. Of the latter one byte on either side is looked at:
//! a character that may not be closed starts from its bytes, which is always right.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::{HashMap, HashMapExt};

use super::pairs::{PairTable, NO_MERGE};
use crate::simd::Portable;

/// Characters of up to three bytes in UTF-8 have an entry; longer ones start from bytes.
const CHARACTERS: usize = 1 << 16;
/// Bits of a merge number.
const BITS: u32 = 20;
const MASK: u64 = (1 << BITS) - 1;
/// Where an entry has its number of parts, and whether a merge may take a fraction of the character at
/// its left or right end.
const COUNT: u32 = 3 * BITS;
const OPEN_LEFT: u64 = 1 << 62;
const OPEN_RIGHT: u64 = 1 << 63;

/// In place of a byte outside the piece: it is in no UTF-8, and no merge is entered for it.
const NO_BYTE: u8 = 0xFF;

/// The most numbers that one character may add.
pub(crate) const MOST_PARTS: usize = 4;

/// What the bytes of a part are, in a text of UTF-8.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    /// Anything else: whole characters, or more than a part of one.
    #[default]
    Other,
    /// The first bytes of a character, of which so many are missing.
    Head(u8),
    /// So many bytes, none of which is a character's first one.
    Tail(u8),
}

#[derive(Clone, Copy, Default)]
struct Shape {
    kind: Kind,
    first: u8,
    last: u8,
}

impl Shape {
    fn of_byte(byte: u8) -> Self {
        let kind = match byte {
            0x80..0xC0 => Kind::Tail(1),
            0xC0.. => Kind::Head(length(byte) as u8 - 1),
            _ => Kind::Other,
        };
        Self {
            kind,
            first: byte,
            last: byte,
        }
    }

    fn joined(self, right: Self) -> Self {
        let kind = match (self.kind, right.kind) {
            (Kind::Head(missing), Kind::Tail(more)) if missing > more => Kind::Head(missing - more),
            // Four of them are in no text.
            (Kind::Tail(one), Kind::Tail(more)) if one + more < 4 => Kind::Tail(one + more),
            _ => Kind::Other,
        };
        Self {
            kind,
            first: self.first,
            last: right.last,
        }
    }
}

/// Bytes of the character that begins with `first`.
#[inline(always)]
fn length(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0.. => 4,
    }
}

/// Pairs of bytes, the first of which is one that no ASCII character has.
#[derive(Debug)]
struct BytePairs([[u64; 4]; 64]);

impl BytePairs {
    fn insert(&mut self, of_64: u8, other: u8) {
        self.0[usize::from(of_64 & 63)][usize::from(other / 64)] |= 1 << (other % 64);
    }

    #[inline(always)]
    fn has(&self, of_64: u8, other: u8) -> bool {
        self.0[usize::from(of_64 & 63)][usize::from(other / 64)] >> (other % 64) & 1 != 0
    }
}

/// The merges that take a part of a character and something beyond that character, by that part.
#[derive(Debug)]
struct Crossing {
    /// The smallest number of a merge, by the part.
    least: HashMap<u32, u32>,
    /// The bytes beside the place, the part's first.
    bytes: BytePairs,
}

impl Crossing {
    fn new() -> Self {
        Self {
            least: HashMap::new(),
            bytes: BytePairs([[0; 4]; 64]),
        }
    }

    fn insert(&mut self, part: u32, merged: u32, inside: u8, beyond: u8) {
        let least = self.least.entry(part).or_insert(merged);
        *least = merged.min(*least);
        // No text has it, and it stands for the ends of a piece.
        if beyond != NO_BYTE {
            self.bytes.insert(inside, beyond);
        }
    }

    /// Whether a merge with a smaller number than `before` takes `part`.
    fn may_take(&self, part: u32, before: u32) -> bool {
        self.least.get(&part).is_some_and(|&least| least < before)
    }
}

/// What characters become alone.
#[derive(Debug)]
pub(crate) struct CharStarts {
    /// By character: up to three merge numbers, their count and [`OPEN_LEFT`], [`OPEN_RIGHT`];
    /// without a count if the character starts from bytes; 0 if not known yet. An entry depends on
    /// nothing but the vocabulary, so it does not matter which thread writes it, nor how often.
    entries: Box<[AtomicU64]>,
    /// Merges that take the head of a character and something before it.
    heads: Crossing,
    /// Merges that take the tail of a character and something after it.
    tails: Crossing,
}

impl CharStarts {
    /// `None` if some merge does not come after those that make its parts.
    pub(super) fn new(pairs: &PairTable) -> Option<Self> {
        let mut parts = Vec::new();
        for (left, right, merged) in pairs.iter() {
            if left.max(right) >= merged {
                return None;
            }
            let at = merged as usize;
            if at >= parts.len() {
                parts.resize(at + 1, (NO_MERGE, NO_MERGE));
            }
            parts[at] = (left, right);
        }
        let mut shapes: Vec<Shape> = (0..=255).map(Shape::of_byte).collect();
        shapes.resize(parts.len().max(256), Shape::default());
        let (mut heads, mut tails) = (Crossing::new(), Crossing::new());
        for (merged, &(left, right)) in parts.iter().enumerate().skip(256) {
            if left == NO_MERGE {
                continue;
            }
            let (before, after) = (shapes[left as usize], shapes[right as usize]);
            shapes[merged] = before.joined(after);
            if matches!(after.kind, Kind::Head(_)) {
                heads.insert(right, merged as u32, after.first, before.last);
            }
            let is_end = !matches!(after.first, 0x80..0xC0);
            if is_end && matches!(before.kind, Kind::Tail(_)) {
                tails.insert(left, merged as u32, before.last, after.first);
            }
        }
        Some(Self {
            entries: (0..CHARACTERS).map(|_| AtomicU64::new(0)).collect(),
            heads,
            tails,
        })
    }

    /// Merge the bytes of one character, two or three of them, to its entry.
    #[cold]
    fn entry(&self, pairs: &PairTable, bytes: &[u8]) -> u64 {
        let (mut parts, mut count) = ([0; 3], bytes.len());
        for (part, &byte) in parts.iter_mut().zip(bytes) {
            *part = byte.into();
        }
        let (mut open_left, mut open_right) = (false, false);
        loop {
            let numbers = parts[..count]
                .windows(2)
                .map(|w| pairs.get::<Portable>(w[0], w[1]));
            let best = numbers.enumerate().map(|(at, number)| (number, at)).min();
            let Some((number, at)) = best else {
                break; // one part
            };
            // `NO_MERGE` is larger than any number: a part that stays can always be taken.
            let last = count - 1;
            let is_final = number == NO_MERGE;
            if at == 0 || is_final {
                open_left |= self.heads.may_take(parts[0], number);
            }
            if at + 1 == last || is_final {
                open_right |= self.tails.may_take(parts[last], number);
            }
            if is_final {
                break;
            }
            parts[at] = number;
            parts.copy_within(at + 2..count, at + 1);
            count = last;
        }
        let packed = (0..).zip(&parts[..count]);
        let packed = packed.fold(0, |all, (at, &part)| all | u64::from(part) << (BITS * at));
        let flag = |is_open: bool, flag: u64| if is_open { flag } else { 0 };
        let open = flag(open_left, OPEN_LEFT) | flag(open_right, OPEN_RIGHT);
        packed | (count as u64) << COUNT | open
    }

    /// Write to `numbers` the merge numbers with which `text[piece]` starts and return how many they are;
    /// `None` if there is not room for all and [`MOST_PARTS`] more, or if the piece is not UTF-8.
    ///
    /// Which characters are open cannot be predicted, so that is decided without a branch. The memory in
    /// which pairs of numbers of different characters are looked up is fetched.
    #[inline(always)]
    pub(crate) fn write(
        &self,
        pairs: &PairTable,
        (text, piece): (&[u8], Range<usize>),
        numbers: &mut [u32],
    ) -> Option<usize> {
        let text = &text[..text.len().min(piece.end + 4)];
        let (mut at, mut count) = (piece.start, 0);
        // The byte before the character; at the start of the piece one that no merge is about.
        let mut before = NO_BYTE;
        // The number before the character.
        let mut number = 0;
        while at < piece.end {
            let room = numbers.get_mut(count..)?.first_chunk_mut::<MOST_PARTS>()?;
            let word = four_bytes(text, at);
            let first = (word >> 24) as u8;
            if first < 0x80 {
                room[0] = first.into();
                pairs.prefetch(number, room[0]);
                number = room[0];
                (at, count, before) = (at + 1, count + 1, first);
                continue;
            }
            let len = length(first);
            let end = at + len;
            let bytes = word >> (8 * (4 - len));
            let are_tails =
                bytes & (0x00C0_C0C0 >> (8 * (4 - len))) == 0x0080_8080 >> (8 * (4 - len));
            if !are_tails || !matches!(first, 0xC0..0xF8) || end > piece.end {
                return None;
            }
            if len == 4 {
                for (part, byte) in room.iter_mut().zip(word.to_be_bytes()) {
                    *part = byte.into();
                }
                pairs.prefetch(number, room[0]);
                number = room[3];
                (at, count, before) = (end, count + len, word as u8);
                continue;
            }
            let six = |shift: u32| (bytes >> shift & 63) as usize;
            let character = (six(16) & 15) << 12 | six(8) << 6 | six(0);
            // Two bytes for a character of one, or three for one of two, are not UTF-8.
            if character < if len == 2 { 0x80 } else { 0x800 } {
                return None;
            }
            let mut entry = self.entries[character].load(Ordering::Relaxed);
            if entry == 0 {
                entry = self.entry(pairs, &text[at..end]);
                self.entries[character].store(entry, Ordering::Relaxed);
            }
            let last = bytes as u8;
            let after = match end < piece.end {
                true => (word << (8 * len) >> 24) as u8,
                false => NO_BYTE,
            };
            let is_open = (entry & OPEN_LEFT != 0) & self.heads.bytes.has(first, before)
                | (entry & OPEN_RIGHT != 0) & self.tails.bytes.has(last, after);
            let byte = |shift: u32| u64::from(word >> shift & 0xFF);
            let from_bytes =
                byte(24) | byte(16) << BITS | byte(8) << (2 * BITS) | (len as u64) << COUNT;
            let chosen = if is_open { from_bytes } else { entry };
            room[0] = (chosen & MASK) as u32;
            room[1] = (chosen >> BITS & MASK) as u32;
            room[2] = (chosen >> (2 * BITS) & MASK) as u32;
            let added = (chosen >> COUNT & 3) as usize;
            pairs.prefetch(number, room[0]);
            // An entry has one number at least.
            number = room[(added + 2) % 3];
            (at, count, before) = (end, count + added, last);
        }
        Some(count)
    }
}

/// The four bytes from `text[at]` on as a big-endian number, with zeros behind the text's end.
#[inline(always)]
fn four_bytes(text: &[u8], at: usize) -> u32 {
    let rest = &text[at..];
    match rest.first_chunk::<4>() {
        Some(bytes) => u32::from_be_bytes(*bytes),
        None => {
            let byte = |at: usize| rest.get(at).copied().unwrap_or(0);
            u32::from_be_bytes([byte(0), byte(1), byte(2), byte(3)])
        }
    }
}
