//! No vector instructions: the definition of [`Isa`], for processors without code of their own.

use super::super::records::{Layout, HEADER};
use super::Isa;

pub(super) struct Portable;

impl<L: Layout> Isa<L> for Portable {
    const WINDOW: usize = 28;

    #[inline(always)]
    unsafe fn find(record: *const L::Token, len: usize, left: L::Token, right: L::Token) -> u32 {
        // SAFETY: the record has `len` tokens behind its header.
        let tokens = unsafe { std::slice::from_raw_parts(record.add(HEADER), len) };
        tokens.windows(2).enumerate().fold(0, |found, (i, pair)| {
            found | u32::from(pair[0] == left && pair[1] == right) << i
        })
    }

    #[inline(always)]
    unsafe fn close(record: *mut L::Token, i: usize, new: L::Token) {
        // SAFETY: `i + 1` is less than the record's length.
        unsafe {
            let len = L::header(record).1;
            let tokens = std::slice::from_raw_parts_mut(record.add(HEADER), len);
            tokens[i] = new;
            tokens.copy_within(i + 2.., i + 1);
        }
    }
}
