//! Values to ids.

use std::mem::MaybeUninit;

use super::value::Value;
use crate::simd::{dispatch, Lanes};

dispatch! { S =>
    pub(super) fn write(values: &[Value], arena: &[u32], out: &mut Vec<u32>) {
        write_with::<S>(values, arena, out)
    }
}

/// Append the ids of `values` to `out`.
#[inline(always)]
fn write_with<S: Lanes>(values: &[Value], arena: &[u32], out: &mut Vec<u32>) {
    out.reserve(3 * values.len() + 16);
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
        Some(place) if place.len() <= 16 && place.start + 16 <= arena.len() => {
            let len = out.len() + place.len();
            out.extend_from_slice(&arena[place.start..place.start + 16]);
            out.truncate(len);
        }
        Some(place) => out.extend_from_slice(&arena[place]),
        None => write_packed::<S>([value.bits(), 0, 0, 0], out),
    }
}

#[inline(always)]
fn write_packed<S: Lanes>(packed: [u64; 4], out: &mut Vec<u32>) {
    /// More words than four values fill: a fixed number is faster than the right one.
    const WIDTH: usize = 16;
    out.reserve(WIDTH);
    let len = out.len();
    // SAFETY: the words are reserved; `unpack` writes those that it counts.
    unsafe {
        let room = out
            .as_mut_ptr()
            .add(len)
            .cast::<[MaybeUninit<u32>; WIDTH]>();
        out.set_len(len + S::unpack(&packed, &mut *room));
    }
}
