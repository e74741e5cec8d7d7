//! Values to ids.

use std::mem::MaybeUninit;

use super::batch::BATCH;
use super::value::{Value, ID_MASK};
use crate::simd::{dispatch, Lanes, ID_BITS};

// Append the ids of `values`, at most `BATCH`, to `out`.
dispatch! { S =>
    pub(super) fn write(values: &[Value], arena: &[u32], out: &mut Vec<u32>) {
        if is_mixed(values) {
            write_mixed(values, arena, out)
        } else {
            write_mostly_packed::<S>(values, arena, out)
        }
    }
}

/// Whether more than one value in 32 is in the arena, so that branches on it would mispredict.
#[inline(always)]
pub(super) fn is_mixed(values: &[Value]) -> bool {
    let in_arena: usize = values
        .iter()
        .map(|value| usize::from(value.is_in_arena()))
        .sum();
    32 * in_arena > values.len()
}

/// Ids that [`write_mostly_packed`] copies at once: more than four packed values have.
const WIDTH: usize = 16;
/// Ids that [`write_mixed`] copies for one value: half a cache line, because copying ids that are not
/// needed costs as much as copying those that are.
const MIXED_WIDTH: usize = 8;

/// Append the ids of `values`; all values take the same steps, wherever their ids are.
#[inline(always)]
fn write_mixed(values: &[Value], arena: &[u32], out: &mut Vec<u32>) {
    // Unpacked ids, four places for each value, and places to read behind the last. Not zeroed: for a
    // short text that would be most of the work.
    const NONE: MaybeUninit<[u32; 4]> = MaybeUninit::uninit();
    let mut unpacked = [NONE; BATCH + MIXED_WIDTH / 4];
    let values = &values[..values.len().min(BATCH)];
    let mut total = 0;
    for (ids, value) in unpacked.iter_mut().zip(values) {
        let bits = value.bits();
        ids.write([0, 1, 2, 3].map(|i| (bits >> (ID_BITS * i) & ID_MASK) as u32));
        total += value.count();
    }
    for ids in &mut unpacked[values.len()..values.len() + MIXED_WIDTH / 4] {
        ids.write([0; 4]);
    }
    out.reserve(total + MIXED_WIDTH);
    let unpacked: *const u32 = unpacked.as_ptr().cast();
    for (j, value) in values.iter().enumerate() {
        let count = value.count();
        let (start, in_arena) = (value.bits() as u32 as usize, value.is_in_arena());
        if count > MIXED_WIDTH || in_arena && start + MIXED_WIDTH > arena.len() {
            out.extend_from_slice(&arena[start..start + count]);
            continue;
        }
        let from = if in_arena {
            // SAFETY: the arena has `MIXED_WIDTH` ids from `start` on.
            unsafe { arena.as_ptr().add(start) }
        } else {
            // SAFETY: `unpacked` has four ids for each of the values and `MIXED_WIDTH` behind them.
            unsafe { unpacked.add(4 * j) }
        };
        let len = out.len();
        // SAFETY: `MIXED_WIDTH` ids can be read: in the arena, or in `unpacked`, which has so many
        // behind the last value's. The counts up to here add up to at most `total`, so `MIXED_WIDTH`
        // more are reserved; `set_len` adds the first `count`, which are written.
        unsafe {
            let ids = from.cast::<[u32; MIXED_WIDTH]>().read_unaligned();
            out.as_mut_ptr()
                .add(len)
                .cast::<[u32; MIXED_WIDTH]>()
                .write_unaligned(ids);
            out.set_len(len + count);
        }
    }
}

/// Append the ids of `values`, nearly all of which are packed.
#[inline(always)]
fn write_mostly_packed<S: Lanes>(values: &[Value], arena: &[u32], out: &mut Vec<u32>) {
    out.reserve(3 * values.len() + WIDTH);
    let (fours, rest) = values.as_chunks::<4>();
    for four in fours {
        let packed = four.map(Value::bits);
        // The highest bit says that a value is in the arena.
        if (packed[0] | packed[1] | packed[2] | packed[3]) >> 63 != 0 {
            four.iter()
                .for_each(|&value| write_one::<S>(value, arena, out));
        } else {
            write_packed::<S>(packed, out);
        }
    }
    for &value in rest {
        write_one::<S>(value, arena, out);
    }
}

#[inline(always)]
fn write_one<S: Lanes>(value: Value, arena: &[u32], out: &mut Vec<u32>) {
    match value.arena_range() {
        // Copying a fixed number and cutting off what is too much is faster.
        Some(range) if range.len() <= WIDTH && range.start + WIDTH <= arena.len() => {
            let len = out.len() + range.len();
            out.extend_from_slice(&arena[range.start..range.start + WIDTH]);
            out.truncate(len);
        }
        Some(range) => out.extend_from_slice(&arena[range]),
        None => write_packed::<S>([value.bits(), 0, 0, 0], out),
    }
}

#[inline(always)]
fn write_packed<S: Lanes>(packed: [u64; 4], out: &mut Vec<u32>) {
    out.reserve(WIDTH);
    let len = out.len();
    // SAFETY: `WIDTH` ids are reserved; `unpack` writes as many as it returns; `S` comes from
    // `dispatch!`.
    unsafe {
        let room = out
            .as_mut_ptr()
            .add(len)
            .cast::<[MaybeUninit<u32>; WIDTH]>();
        out.set_len(len + S::unpack(&packed, &mut *room));
    }
}
