//! Every level against plain Rust.

use std::mem::MaybeUninit;

use super::*;
use crate::testing::{rounds, Random};

const ROUNDS: usize = rounds(500, 20);

type LookUps = (Vec<usize>, Vec<u32>, u32, u32);

fn look_ups<S: Lanes>(slots: &[u64; 8], keys: &[u32; 16]) -> LookUps {
    // SAFETY: `S` comes from `dispatch!` or is `Portable`.
    let found = (0..8).map(|v| unsafe { S::find(slots, v, 7) }).collect();
    let packed: [u64; 4] = std::array::from_fn(|i| {
        let present = (1u64 << (slots[i] % 4)) - 1;
        slots[i + 4] << 4 >> 4 | present << PRESENT
    });
    let mut room = [MaybeUninit::new(0); 16];
    // SAFETY: as above.
    let count = unsafe { S::unpack(&packed, &mut room) };
    // SAFETY: all were initialised.
    let unpacked = room[..count].iter().map(|n| unsafe { n.assume_init() });
    let unpacked = unpacked.collect();
    // SAFETY: as above.
    let keys = unsafe { S::Keys::load(keys) };
    let set = keys.set(0, 0).set(1 << (slots[0] % 16), slots[1] as u32);
    (found, unpacked, keys.least(), set.least())
}

dispatch! { S => fn current_look_ups(slots: &[u64; 8], keys: &[u32; 16]) -> LookUps {
    look_ups::<S>(slots, keys)
} }

#[test]
fn levels_look_up_alike() {
    let mut random = Random(3);
    Level::for_each(|level| {
        for _ in 0..ROUNDS {
            let slots = std::array::from_fn(|_| random.number());
            let keys: [u32; 16] = std::array::from_fn(|_| random.number() as u32);
            let want = look_ups::<Portable>(&slots, &keys);
            assert_eq!(
                want.0[3],
                slots.iter().position(|s| s % 8 == 3).unwrap_or(8)
            );
            assert_eq!(Some(&want.2), keys.iter().min());
            let mut set = keys;
            set[slots[0] as usize % 16] = slots[1] as u32;
            assert_eq!(Some(&want.3), set.iter().min());
            assert_eq!(current_look_ups(&slots, &keys), want, "{level:?}");
        }
    });
}

fn answers<S: Bytes64>(bytes: &[u8; 64], mask: u64) -> (Vec<u64>, Vec<u32>) {
    let few = &bytes[..mask.count_ones() as usize];
    // SAFETY: `S` comes from `dispatch!` or is `Portable`.
    let (v, few) = unsafe { (S::load(bytes), S::load_few(few)) };
    let mut found = vec![v.high(), v.letters(), few.high(), few.letters()];
    for byte in [0, b' ', b'\'', 0x7F, 0x80, 0xC3, 0xFF] {
        found.extend([v.eq(byte), few.eq(byte)]);
    }
    for (low, high) in [
        (9, 13),
        (b'0', b'9'),
        (b'A', b'Z'),
        (0xE5, 0xE9),
        (0xB8, 0xFF),
        (0, 0),
    ] {
        found.push(v.range(low, high));
    }
    let mut out = [0; 64];
    // SAFETY: as above.
    let count = unsafe { S::positions(mask, 1000, &mut out) };
    (found, out[..count].to_vec())
}

dispatch! { S => fn current_answers(bytes: &[u8; 64], mask: u64) -> (Vec<u64>, Vec<u32>) {
    answers::<S>(bytes, mask)
} }

#[test]
fn levels_answer_alike() {
    let mut random = Random(7);
    Level::for_each(|level| {
        for round in 0..ROUNDS {
            let ascii = round % 2 == 0;
            let bytes: [u8; 64] = std::array::from_fn(|_| {
                let byte = random.number() as u8;
                byte & if ascii { 0x7F } else { 0xFF }
            });
            let (bits, others) = (random.number(), random.number());
            let mask = [0, u64::MAX, others, bits & others][round / 2 % 4];
            let want = answers::<Portable>(&bytes, mask);
            assert_eq!(current_answers(&bytes, mask), want, "{level:?}");
        }
    });
}

/// A record and others behind it.
#[repr(align(32))]
#[derive(Clone)]
struct Memory([u16; 80]);

dispatch! { S =>
    unsafe fn find(memory: &Memory, len: usize, left: u16, right: u16) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { S::find_pair(memory.0.as_ptr(), len, left, right) }
    }
}

dispatch! { S =>
    unsafe fn replace(memory: &mut Memory, len: usize, i: usize, new: u16) {
        // SAFETY: the caller's promise.
        unsafe { S::replace_pair(memory.0.as_mut_ptr(), len, i, new) }
    }
}

#[test]
fn levels_merge_records_as_defined() {
    let mut random = Random(11);
    Level::for_each(|level| {
        for round in 0..ROUNDS {
            let len = 2 + round % 27;
            let most = [2, 3, 1 << 16][round / 27 % 3];
            let memory = Memory(std::array::from_fn(|_| random.below(most) as u16));
            let (tokens, i) = (&memory.0[HEADER..][..len], random.below(len - 1));
            let pair = &tokens[i..i + 2];
            let matches = (0..len - 1).filter(|&i| tokens[i..i + 2] == *pair);
            // SAFETY: the record is up to 28 tokens long, behind its header.
            let found = unsafe { find(&memory, len, pair[0], pair[1]) };
            assert_eq!(
                found,
                matches.map(|i| 1 << i).sum::<u32>(),
                "{level:?}, {len} tokens"
            );
            for i in 0..len - 1 {
                let mut merged = memory.clone();
                // SAFETY: as above.
                unsafe { replace(&mut merged, len, i, 9999) };
                let want = [&memory.0[..HEADER + i], &[9999], &tokens[i + 2..]].concat();
                assert!(merged.0.starts_with(&want), "{level:?}, {len} tokens, {i}");
                // What is left of the record may be anything; the next one stays.
                let next = (HEADER + len).next_multiple_of(BLOCK / 2);
                assert_eq!(merged.0[next..], memory.0[next..], "{level:?}");
            }
        }
    });
}
