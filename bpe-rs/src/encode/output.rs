//! Values to ids.

use std::mem::MaybeUninit;

use super::batch::BATCH;
use super::value::{Value, ID_MASK};
use crate::simd::{dispatch, Lanes, ID_BITS};

dispatch! { S =>
    pub(super) fn write(values: &[Value], arena: &[u32], out: &mut Vec<u32>) {
        if is_mixed(values) {
            write_mixed(values, arena, out)
        } else {
            write_near::<S>(values, arena, out)
        }
    }
}

/// Whether so many of `values` are in the arena that which kind comes next cannot be foretold.
#[inline(always)]
pub(super) fn is_mixed(values: &[Value]) -> bool {
    let far: usize = values.iter().map(|value| usize::from(value.is_far())).sum();
    32 * far > values.len()
}

/// Words that are copied at once: more than four packed values fill.
const WIDTH: usize = 16;
/// The same where each value is copied on its own: half a line of the processor's cache, since
/// words that are not needed would cost as much as those that are.
const FEW: usize = 8;

/// Append the ids of `values`, at most [`BATCH`], to `out`; every value takes the same steps,
/// wherever its ids are.
#[inline(always)]
fn write_mixed(values: &[Value], arena: &[u32], out: &mut Vec<u32>) {
    // The ids of the packed ones, four words apart, and words to read behind the last. Not all
    // zeros at first: for a short text that would be most of the work.
    const NONE: MaybeUninit<[u32; 4]> = MaybeUninit::uninit();
    let mut near = [NONE; BATCH + FEW / 4];
    let values = &values[..values.len().min(BATCH)];
    let mut total = 0;
    for (ids, value) in near.iter_mut().zip(values) {
        let bits = value.bits();
        ids.write([0, 1, 2, 3].map(|i| (bits >> (ID_BITS * i) & ID_MASK) as u32));
        total += value.count();
    }
    for ids in &mut near[values.len()..values.len() + FEW / 4] {
        ids.write([0; 4]);
    }
    out.reserve(total + FEW);
    let near: *const u32 = near.as_ptr().cast();
    for (j, value) in values.iter().enumerate() {
        let count = value.count();
        let (place, far) = (value.bits() as u32 as usize, value.is_far());
        if count > FEW || far && place + FEW > arena.len() {
            out.extend_from_slice(&arena[place..place + count]);
            continue;
        }
        let from = if far {
            // SAFETY: `FEW` words from `place` on are in the arena.
            unsafe { arena.as_ptr().add(place) }
        } else {
            // SAFETY: `near` has four words for each of the values, and `FEW` behind.
            unsafe { near.add(4 * j) }
        };
        let len = out.len();
        // SAFETY: `FEW` words can be read: in the arena, or in `near`, which has so many behind
        // the words of the last value. The counts up to here make at most `total`, so as many are
        // reserved; the first `count` of them are what `set_len` adds.
        unsafe {
            let words = from.cast::<[u32; FEW]>().read_unaligned();
            out.as_mut_ptr()
                .add(len)
                .cast::<[u32; FEW]>()
                .write_unaligned(words);
            out.set_len(len + count);
        }
    }
}

/// Append the ids of `values` to `out`, where nearly all are packed.
#[inline(always)]
fn write_near<S: Lanes>(values: &[Value], arena: &[u32], out: &mut Vec<u32>) {
    out.reserve(3 * values.len() + WIDTH);
    let (fours, rest) = values.as_chunks::<4>();
    for four in fours {
        let packed = four.map(Value::bits);
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
    match value.far() {
        // A few words too many are quicker to copy than just enough.
        Some(place) if place.len() <= WIDTH && place.start + WIDTH <= arena.len() => {
            let len = out.len() + place.len();
            out.extend_from_slice(&arena[place.start..place.start + WIDTH]);
            out.truncate(len);
        }
        Some(place) => out.extend_from_slice(&arena[place]),
        None => write_packed::<S>([value.bits(), 0, 0, 0], out),
    }
}

#[inline(always)]
fn write_packed<S: Lanes>(packed: [u64; 4], out: &mut Vec<u32>) {
    // More words than four values fill: a fixed number is faster than the right one.
    out.reserve(WIDTH);
    let len = out.len();
    // SAFETY: the words are reserved; `unpack` writes those that it counts; `S`
    // comes from `dispatch!`.
    unsafe {
        let room = out
            .as_mut_ptr()
            .add(len)
            .cast::<[MaybeUninit<u32>; WIDTH]>();
        out.set_len(len + S::unpack(&packed, &mut *room));
    }
}
