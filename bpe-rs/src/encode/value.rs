//! The ids of one piece in a 64-bit word, which is what the caches hold; and words to ids.

use std::mem::MaybeUninit;

use super::BATCH;
use crate::simd::{dispatch, Lanes, ID_BITS, PRESENT};

/// The bits of one packed id.
const ID_MASK: u64 = (1 << ID_BITS) - 1;
/// Set if the ids are in the arena.
const IN_ARENA: u64 = 1 << 63;
/// Most ids of one value: the bits for a count in the arena.
pub(super) const MAX_IDS: usize = (1 << 28) - 1;

/// Either up to three packed ids, the first in the lowest bits, with a bit for each id from
/// [`PRESENT`] on; or a range of an arena of ids: its start (32 bits), its length (28 bits) and
/// [`IN_ARENA`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Value(u64);

impl Value {
    /// Pack the first `count` of `ids`, the others being 0. `None` if an id has too many bits.
    #[inline(always)]
    pub(super) fn packed(ids: [u32; 3], count: usize) -> Option<Self> {
        let [a, b, c] = ids.map(u64::from);
        let packed = a | b << ID_BITS | c << (2 * ID_BITS);
        ((a | b | c) <= ID_MASK).then(|| Self(packed | ((1 << count) - 1) << PRESENT))
    }

    /// Pack `ids`, or append them to `arena` if they do not fit. At most [`MAX_IDS`].
    #[inline]
    pub(super) fn new(ids: &[u32], arena: &mut Vec<u32>) -> Self {
        if ids.len() <= 3 {
            let mut three = [0; 3];
            three[..ids.len()].copy_from_slice(ids);
            if let Some(packed) = Self::packed(three, ids.len()) {
                return packed;
            }
        }
        let start = arena.len() as u64;
        arena.extend_from_slice(ids);
        Self(start | (ids.len() as u64) << 32 | IN_ARENA)
    }

    /// The `count` ids from `start` of the arena on, at most [`MAX_IDS`]; `None` where they are too far.
    #[inline(always)]
    pub(super) fn in_arena(start: usize, count: usize) -> Option<Self> {
        let is_near = start <= u32::MAX as usize - MAX_IDS;
        is_near.then_some(Self(start as u64 | (count as u64) << 32 | IN_ARENA))
    }

    /// The number of ids.
    #[inline(always)]
    pub(super) fn count(self) -> usize {
        if self.is_in_arena() {
            (self.0 >> 32) as usize & MAX_IDS
        } else {
            (self.0 >> PRESENT).count_ones() as usize
        }
    }

    /// Whether the ids are in the arena.
    #[inline(always)]
    pub(super) fn is_in_arena(self) -> bool {
        self.0 & IN_ARENA != 0
    }

    /// Where in the arena the ids begin; of a packed value, any number.
    #[inline(always)]
    pub(super) fn start(self) -> usize {
        self.0 as u32 as usize
    }
}

// The number of ids of all `values`.
dispatch! { S =>
    pub(super) fn count_ids(values: &[Value]) -> usize {
        sum_of_counts(values)
    }
}

#[inline(always)]
fn sum_of_counts(values: &[Value]) -> usize {
    // In a loop of its own, so that it becomes vector instructions.
    let mut total = 0;
    for value in values {
        let packed = value.0 >> PRESENT;
        // One bit for each packed id; the shift has moved the bit for the arena above these three.
        let packed = (packed & 1) + (packed >> 1 & 1) + (packed >> 2 & 1);
        let in_arena = value.0 >> 32 & MAX_IDS as u64;
        total += if value.is_in_arena() {
            in_arena
        } else {
            packed
        };
    }
    total as usize
}

/// Whether more than one value in 32 is in the arena, so that branches on it would mispredict.
#[inline(always)]
pub(super) fn is_mixed(values: &[Value]) -> bool {
    let in_arena = values.iter().map(|value| usize::from(value.is_in_arena()));
    32 * in_arena.sum::<usize>() > values.len()
}

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

/// Ids that [`write_mostly_packed`] copies at once: more than four packed values have.
const WIDTH: usize = 16;
/// Ids that [`write_mixed`] copies for one value: half a cache line, because copying ids that are not
/// needed costs as much as copying those that are.
const MIXED_WIDTH: usize = 8;

/// Append the ids of `values`; all values take the same steps, wherever their ids are.
#[inline(always)]
fn write_mixed(values: &[Value], arena: &[u32], out: &mut Vec<u32>) {
    // Unpacked ids: four places for each value, and places to read behind the last. Zeroing all of
    // it would be most of the work for a short text.
    const NONE: MaybeUninit<[u32; 4]> = MaybeUninit::uninit();
    let mut unpacked = [NONE; BATCH + MIXED_WIDTH / 4];
    let values = &values[..values.len().min(BATCH)];
    let mut total = 0;
    for (ids, value) in unpacked.iter_mut().zip(values) {
        ids.write([0, 1, 2, 3].map(|i| (value.0 >> (ID_BITS * i) & ID_MASK) as u32));
        total += value.count();
    }
    for ids in &mut unpacked[values.len()..values.len() + MIXED_WIDTH / 4] {
        ids.write([0; 4]);
    }
    out.reserve(total + MIXED_WIDTH);
    let unpacked: *const u32 = unpacked.as_ptr().cast();
    for (j, value) in values.iter().enumerate() {
        let (start, count, in_arena) = (value.start(), value.count(), value.is_in_arena());
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
        // SAFETY: `MIXED_WIDTH` ids can be read, as said above. The counts up to here add up to at
        // most `total`, so `MIXED_WIDTH` more are reserved; `set_len` adds `count` that are written.
        unsafe {
            let to = out.as_mut_ptr().add(len).cast::<[u32; MIXED_WIDTH]>();
            to.write_unaligned(from.cast::<[u32; MIXED_WIDTH]>().read_unaligned());
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
        if four.iter().fold(0, |bits, value| bits | value.0) & IN_ARENA == 0 {
            write_packed::<S>(four.map(|value| value.0), out);
        } else {
            let each = four.iter();
            each.for_each(|&value| write_one::<S>(value, arena, out));
        }
    }
    for &value in rest {
        write_one::<S>(value, arena, out);
    }
}

#[inline(always)]
fn write_one<S: Lanes>(value: Value, arena: &[u32], out: &mut Vec<u32>) {
    let (start, count) = (value.start(), value.count());
    if !value.is_in_arena() {
        write_packed::<S>([value.0, 0, 0, 0], out);
    } else if count <= WIDTH && start + WIDTH <= arena.len() {
        // Copying a fixed number and cutting off what is too much is faster.
        let len = out.len() + count;
        out.extend_from_slice(&arena[start..start + WIDTH]);
        out.truncate(len);
    } else {
        out.extend_from_slice(&arena[start..start + count]);
    }
}

#[inline(always)]
fn write_packed<S: Lanes>(packed: [u64; 4], out: &mut Vec<u32>) {
    out.reserve(WIDTH);
    let len = out.len();
    // SAFETY: `WIDTH` ids are reserved; `unpack` writes as many as it returns; `S` comes from
    // `dispatch!`.
    unsafe {
        let room: *mut [MaybeUninit<u32>; WIDTH] = out.as_mut_ptr().add(len).cast();
        out.set_len(len + S::unpack(&packed, &mut *room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_hold_their_ids() {
        let all = [
            &[][..],
            &[0],
            &[1, 2],
            &[1, 0, 1_048_575],
            &[1, 2, 3, 4],
            &[1_048_576],
            &[5; 20],
        ];
        // All of these, which are mixed, and few among many that are packed.
        for times in [0, 100] {
            let (mut arena, mut ids) = (vec![9; 5], vec![7]);
            let lists: Vec<&[u32]> = [vec![&[3][..]; times], all.to_vec()].concat();
            let values: Vec<_> = lists.iter().map(|l| Value::new(l, &mut arena)).collect();
            assert!(values.iter().zip(&lists).all(|(v, l)| v.count() == l.len()));
            assert_eq!(count_ids(&values), lists.concat().len());
            assert_eq!(is_mixed(&values), times == 0);
            write(&values, &arena, &mut ids);
            assert_eq!(ids, [&[7], &lists.concat()[..]].concat());
        }
    }
}
