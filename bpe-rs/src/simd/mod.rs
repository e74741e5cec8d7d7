//! 64 bytes at a time, on whatever the processor has: the one place where that is decided.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Error, Result};

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// An instruction set that hot loops are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// Plain Rust.
    Portable = 1,
    /// x86-64 with AVX2, BMI2 and LZCNT.
    Avx2 = 2,
    /// x86-64 with AVX-512 F, BW, DQ, VL, VBMI, VBMI2.
    Avx512 = 3,
    /// AArch64.
    Neon = 4,
}

/// What tests and benches chose instead of the best; 0 for nothing.
static FORCED: AtomicU8 = AtomicU8::new(0);

impl Level {
    /// Every level that this processor can run, slowest first.
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx2")
                && std::is_x86_feature_detected!("bmi1")
                && std::is_x86_feature_detected!("bmi2")
                && std::is_x86_feature_detected!("lzcnt")
                && std::is_x86_feature_detected!("popcnt")
            {
                levels.push(Self::Avx2);
                if std::is_x86_feature_detected!("avx512f")
                    && std::is_x86_feature_detected!("avx512bw")
                    && std::is_x86_feature_detected!("avx512dq")
                    && std::is_x86_feature_detected!("avx512vl")
                    && std::is_x86_feature_detected!("avx512vbmi")
                    && std::is_x86_feature_detected!("avx512vbmi2")
                {
                    levels.push(Self::Avx512);
                }
            }
        }
        // NEON is part of AArch64.
        #[cfg(target_arch = "aarch64")]
        levels.push(Self::Neon);
        levels
    }

    /// The level in use: the best available, unless [`Self::force`] or the environment variable
    /// `BPE_RS_SIMD` ([`Self::asked`]) says otherwise. The variable is read at the first call.
    #[inline]
    pub fn current() -> Self {
        match FORCED.load(Ordering::Relaxed) {
            1 => Self::Portable,
            2 => Self::Avx2,
            3 => Self::Avx512,
            4 => Self::Neon,
            _ => Self::choose(),
        }
    }

    #[cold]
    fn choose() -> Self {
        // What the variable may not say is told where an error can be: see `asked`.
        let asked = Self::asked().ok().flatten();
        let best = asked.or(Self::available().last().copied());
        let best = best.unwrap_or(Self::Portable);
        best.force();
        best
    }

    /// What the environment variable `BPE_RS_SIMD` asks for (portable, avx2, avx512, neon);
    /// `None` where it is empty or not set.
    ///
    /// [`crate::registry::published`] and the import of the Python module call this for its error.
    ///
    /// Errors: `Invalid` for anything else, and for a level that this processor cannot run.
    pub fn asked() -> Result<Option<Self>> {
        let name = std::env::var_os("BPE_RS_SIMD").unwrap_or_default();
        Self::named(&name.to_string_lossy())
    }

    fn named(name: &str) -> Result<Option<Self>> {
        if name.is_empty() {
            return Ok(None);
        }
        let available = Self::available();
        let found = available.iter().find(|level| level.name() == name);
        found.copied().map(Some).ok_or_else(|| {
            let names: Vec<_> = available.iter().map(|level| level.name()).collect();
            Error::invalid(format!(
                "BPE_RS_SIMD: expected one of {} (what this processor can run), got {name:?}; \
                 leave it unset for the fastest",
                names.join(", ")
            ))
        })
    }

    /// Use this level from now on, in the whole process. For tests: all levels give the same
    /// results. A level that is not available is left alone.
    pub fn force(self) {
        if Self::available().contains(&self) {
            FORCED.store(self as u8, Ordering::Relaxed);
        }
    }

    /// Its name in `BPE_RS_SIMD`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }
}

/// Run `$body` with the type alias `$isa` for the current level, in a function compiled for it.
///
/// `$body` must be a call of `#[inline(always)]` functions: what is not inlined is not compiled
/// for the level.
macro_rules! dispatch {
    ($isa:ident => $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $type),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx2,bmi1,bmi2,lzcnt,popcnt")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($arg: $type),*) $(-> $ret)? {
                #[allow(dead_code)]
                type $isa = $crate::simd::Avx512;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($arg: $type),*) $(-> $ret)? {
                #[allow(dead_code)]
                type $isa = $crate::simd::Avx2;
                $body
            }
            #[cfg(target_arch = "aarch64")]
            fn neon($($arg: $type),*) $(-> $ret)? {
                #[allow(dead_code)]
                type $isa = $crate::simd::Neon;
                $body
            }
            fn portable($($arg: $type),*) $(-> $ret)? {
                #[allow(dead_code)]
                type $isa = $crate::simd::Portable;
                $body
            }
            match $crate::simd::Level::current() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `Level::current` only gives levels whose features were detected.
                $crate::simd::Level::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::simd::Level::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "aarch64")]
                $crate::simd::Level::Neon => neon($($arg),*),
                _ => portable($($arg),*),
            }
        }
    };
}
pub(crate) use dispatch;

/// Ask for the cache line of `place`; it need not be used.
#[inline(always)]
pub(crate) fn prefetch<T: ?Sized>(place: &T) {
    prefetch_at(std::ptr::from_ref(place).cast::<u8>());
}

/// Ask for the cache line at `place`, which need not exist.
#[inline(always)]
pub(crate) fn prefetch_at<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        // SAFETY: a hint, whatever the address; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: a hint that changes nothing, whatever the address.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) place.cast::<u8>(), options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", not(miri)))))]
    let _ = place;
}

/// 64 bytes; every question is answered with one bit per byte, the first byte in the lowest bit.
///
/// The methods may use instructions of their level: call them only inside [`dispatch!`].
pub(crate) trait Bytes64: Copy {
    /// Load 64 bytes.
    fn load(bytes: &[u8; 64]) -> Self;
    /// At most 64 bytes, and zeros behind them.
    #[inline(always)]
    fn load_few(bytes: &[u8]) -> Self {
        let mut padded = [0; 64];
        padded[..bytes.len()].copy_from_slice(bytes);
        Self::load(&padded)
    }
    /// Bytes equal to `byte`.
    fn eq(self, byte: u8) -> u64;
    /// Bytes from `low` to `high`, both included.
    fn range(self, low: u8, high: u8) -> u64;
    /// Bytes of 0x80 and more.
    fn high(self) -> u64;
    /// ASCII letters.
    fn letters(self) -> u64;

    /// Write `base` plus the number of each set bit of `mask` to `out`, in order; returns how
    /// many. Up to 64 words of `out` may be overwritten whatever the mask.
    fn positions(mask: u64, base: u32, out: &mut [u32; 64]) -> usize {
        let (mut rest, mut count) = (mask, 0);
        while rest != 0 {
            out[count & 63] = base + rest.trailing_zeros();
            rest &= rest - 1;
            count += 1;
        }
        count
    }
}

/// Numbers of up to this many bits are packed three to a word.
pub(crate) const ID_BITS: u32 = 20;
/// From here on a packed word has a bit for each number that is there: a count without counting.
pub(crate) const THERE: u32 = 3 * ID_BITS;

/// Look-ups in the caches and the pair table. As with [`Bytes64`], only inside [`dispatch!`].
pub(crate) trait Lanes: Bytes64 {
    /// Unpack four words of three numbers of [`ID_BITS`] bits each to the front of `out`, but only
    /// numbers `i` whose bit `THERE + i` is set, which are a word's first ones; returns how many.
    /// The highest bits are zero. More of `out` may be overwritten.
    #[inline(always)]
    fn unpack(packed: &[u64; 4], out: &mut [MaybeUninit<u32>; 16]) -> usize {
        let mut count = 0;
        for word in packed {
            for i in 0..3 {
                let number = word >> (i * ID_BITS) & ((1 << ID_BITS) - 1);
                out[count + i as usize].write(number as u32);
            }
            count += (word >> THERE).count_ones() as usize;
        }
        count
    }

    /// The first of `slots` that equals `key` in the bits of `mask`, or 8.
    #[inline(always)]
    fn find(slots: &[u64; 8], key: u64, mask: u64) -> usize {
        slots
            .iter()
            .position(|slot| slot & mask == key)
            .unwrap_or(8)
    }

    /// Sixteen numbers.
    type Keys: Copy;

    /// Sixteen numbers as the level likes them.
    fn keys(keys: &[u32; 16]) -> Self::Keys;

    /// The smallest.
    fn least(keys: Self::Keys) -> u32;

    /// Set the number whose bit is set in `place`; at most one is.
    fn set(keys: Self::Keys, place: u16, key: u32) -> Self::Keys;
}

/// [`Lanes::least`] of an array.
#[inline(always)]
pub(crate) fn least_of(keys: &[u32; 16]) -> u32 {
    // Four at a time: one chain of comparisons would be as long as the array.
    let least = |at: usize| {
        keys[at]
            .min(keys[at + 4])
            .min(keys[at + 8])
            .min(keys[at + 12])
    };
    least(0).min(least(1)).min(least(2).min(least(3)))
}

/// [`Lanes::set`] of an array.
#[inline(always)]
pub(crate) fn set_in(mut keys: [u32; 16], place: u16, key: u32) -> [u32; 16] {
    let at = place.trailing_zeros() as usize % 16;
    keys[at] = if place == 0 { keys[at] } else { key };
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_a_level_of_this_processor() {
        assert_eq!(Level::named("").unwrap(), None);
        for level in Level::available() {
            assert_eq!(Level::named(level.name()).unwrap(), Some(level));
        }
        for wrong in ["sse", "AVX2", " portable", "portable,avx2", "best"] {
            let error = Level::named(wrong).unwrap_err().to_string();
            assert!(error.contains("expected one of portable"), "{error}");
            assert!(error.contains(&format!("got {wrong:?}")), "{error}");
        }
        // A level of another processor is not quietly another one.
        let all = [Level::Portable, Level::Avx2, Level::Avx512, Level::Neon];
        for level in all.iter().filter(|l| !Level::available().contains(l)) {
            assert!(Level::named(level.name()).is_err());
        }
    }

    /// Miri, which watches every access to memory, is a few hundred times slower.
    const ROUNDS: usize = if cfg!(miri) { 20 } else { 500 };

    type Answers = (Vec<usize>, Vec<u32>, u32, u32);

    fn look_ups<S: Lanes>(slots: &[u64; 8], keys: &[u32; 16]) -> Answers {
        let found = (0..8).map(|v| S::find(slots, v, 7)).collect();
        let packed: [u64; 4] = std::array::from_fn(|i| {
            let there = (1u64 << (slots[i] % 4)) - 1;
            slots[i + 4] << 4 >> 4 | there << THERE
        });
        let mut room = [MaybeUninit::new(0); 16];
        let count = S::unpack(&packed, &mut room);
        // SAFETY: all were initialised.
        let unpacked = room[..count].iter().map(|n| unsafe { n.assume_init() });
        let unpacked = unpacked.collect();
        let lanes = S::keys(keys);
        let set = S::set(S::set(lanes, 0, 0), 1 << (slots[0] % 16), slots[1] as u32);
        (found, unpacked, S::least(lanes), S::least(set))
    }

    dispatch! { S => fn current_look_ups(slots: &[u64; 8], keys: &[u32; 16]) -> Answers {
        look_ups::<S>(slots, keys)
    } }

    #[test]
    fn levels_look_up_alike() {
        let mut state = 3u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 20
        };
        for _ in 0..ROUNDS {
            let slots = std::array::from_fn(|_| next());
            let keys: [u32; 16] = std::array::from_fn(|_| next() as u32);
            let want = look_ups::<Portable>(&slots, &keys);
            assert_eq!(
                want.0[3],
                slots.iter().position(|s| s % 8 == 3).unwrap_or(8)
            );
            assert_eq!(Some(&want.2), keys.iter().min());
            let mut set = keys;
            set[slots[0] as usize % 16] = slots[1] as u32;
            assert_eq!(Some(&want.3), set.iter().min());
            for level in Level::available() {
                level.force();
                assert_eq!(current_look_ups(&slots, &keys), want, "{level:?}");
            }
        }
    }

    fn answers<S: Bytes64>(bytes: &[u8; 64], mask: u64) -> (Vec<u64>, Vec<u32>) {
        let v = S::load(bytes);
        let few = S::load_few(&bytes[..mask.count_ones() as usize]);
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
        let count = S::positions(mask, 1000, &mut out);
        (found, out[..count].to_vec())
    }

    dispatch! { S => fn current(bytes: &[u8; 64], mask: u64) -> (Vec<u64>, Vec<u32>) {
        answers::<S>(bytes, mask)
    } }

    #[test]
    fn levels_agree() {
        let mut state = 7u64;
        for round in 0..ROUNDS {
            let bytes: [u8; 64] = std::array::from_fn(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let byte = (state >> 40) as u8;
                if round % 2 == 0 {
                    byte & 0x7F
                } else {
                    byte
                }
            });
            let mask = [0, u64::MAX, state, state & state.rotate_left(9)][round % 4];
            let want = answers::<Portable>(&bytes, mask);
            for level in Level::available() {
                level.force();
                assert_eq!(current(&bytes, mask), want, "{level:?}");
            }
        }
    }
}
