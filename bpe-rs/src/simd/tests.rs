//! Every level against plain Rust.

use std::mem::MaybeUninit;

use super::*;

/// Miri is a few hundred times slower.
const ROUNDS: usize = if cfg!(miri) { 20 } else { 500 };

/// A small reproducible generator: tests need variety, not quality.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.0 >> 20
    }
}

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
    let keys = unsafe { S::keys(keys) };
    let set = keys.set(0, 0).set(1 << (slots[0] % 16), slots[1] as u32);
    (found, unpacked, keys.least(), set.least())
}

dispatch! { S => fn current_look_ups(slots: &[u64; 8], keys: &[u32; 16]) -> LookUps {
    look_ups::<S>(slots, keys)
} }

#[test]
fn levels_look_up_alike() {
    let mut numbers = Numbers(3);
    Level::for_each(|level| {
        for _ in 0..ROUNDS {
            let slots = std::array::from_fn(|_| numbers.next());
            let keys: [u32; 16] = std::array::from_fn(|_| numbers.next() as u32);
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
    let mut numbers = Numbers(7);
    Level::for_each(|level| {
        for round in 0..ROUNDS {
            let ascii = round % 2 == 0;
            let bytes: [u8; 64] = std::array::from_fn(|_| {
                let byte = (numbers.next() >> 20) as u8;
                byte & if ascii { 0x7F } else { 0xFF }
            });
            let (bits, others) = (numbers.next(), numbers.next() << 32 ^ numbers.next());
            let mask = [0, u64::MAX, others, bits & others][round / 2 % 4];
            let want = answers::<Portable>(&bytes, mask);
            assert_eq!(current_answers(&bytes, mask), want, "{level:?}");
        }
    });
}

/// A record and others behind it.
#[repr(align(32))]
#[derive(Clone, Debug, PartialEq)]
struct Memory<T>([T; 80]);

/// What a level finds in the first record, and the memory after each replacement.
///
/// # Safety
/// The first record is `len` tokens long and fits a level's window.
#[inline(always)]
unsafe fn merges<T: Copy, S: RecordOps<T>>(
    memory: &Memory<T>,
    len: usize,
    (left, right, new): (T, T, T),
) -> Option<(u32, Vec<Memory<T>>)> {
    if len > S::WINDOW {
        return None;
    }
    // SAFETY: the caller's promise; `S` comes from `dispatch!` or is `Portable`.
    unsafe {
        let found = S::find_pair(memory.0.as_ptr(), len, left, right);
        let merged = (0..len - 1).map(|i| {
            let mut memory = memory.clone();
            S::replace_pair(memory.0.as_mut_ptr(), len, i, new);
            memory
        });
        Some((found, merged.collect()))
    }
}

type Merges<T> = Option<(u32, Vec<Memory<T>>)>;

dispatch! { S =>
    unsafe fn merges_16(memory: &Memory<u16>, len: usize, pair: (u16, u16, u16)) -> Merges<u16> {
        // SAFETY: the caller's promise.
        unsafe { merges::<u16, S>(memory, len, pair) }
    }
}

dispatch! { S =>
    unsafe fn merges_32(memory: &Memory<u32>, len: usize, pair: (u32, u32, u32)) -> Merges<u32> {
        // SAFETY: the caller's promise.
        unsafe { merges::<u32, S>(memory, len, pair) }
    }
}

/// A level may leave anything in a record's blocks behind its tokens; the next record stays.
fn kept<T: Copy>(merges: Merges<T>, len: usize) -> Option<(u32, Vec<Vec<T>>)> {
    let next = (HEADER + len).next_multiple_of(BLOCK / size_of::<T>());
    let (found, memories) = merges?;
    let kept = memories
        .iter()
        .map(|Memory(memory)| [&memory[..HEADER + len - 1], &memory[next..]].concat());
    Some((found, kept.collect()))
}

#[test]
fn levels_merge_records_alike() {
    let mut numbers = Numbers(11);
    Level::for_each(|level| {
        for round in 0..ROUNDS {
            let len = 2 + round % 27;
            let most = [2, 3, 70_000][round / 27 % 3];
            let wide = Memory(std::array::from_fn(|_| (numbers.next() % most) as u32));
            let narrow = Memory(wide.0.map(|token| token as u16));
            let i = HEADER + numbers.next() as usize % (len - 1);
            let pair = (wide.0[i], wide.0[i + 1], 99_999);
            // SAFETY: the records are up to 28 tokens long, behind their headers.
            unsafe {
                let want = merges::<u32, Portable>(&wide, len, pair);
                let got = merges_32(&wide, len, pair);
                if got.is_some() {
                    assert_eq!(kept(got, len), kept(want, len), "{level:?}, {len} tokens");
                }
                let pair = (pair.0 as u16, pair.1 as u16, pair.2 as u16);
                let want = merges::<u16, Portable>(&narrow, len, pair);
                let got = merges_16(&narrow, len, pair);
                assert_eq!(kept(got, len), kept(want, len), "{level:?}, {len} tokens");
            }
        }
    });
}
