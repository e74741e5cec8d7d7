//! Which instruction set the vector code runs on: what the processor has, or what the environment
//! variable `BPE_RS_SIMD` says; and one function body compiled for every level.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Error, Result};

/// An instruction set that hot loops are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// Plain Rust.
    Portable = 1,
    /// x86-64 with AVX2, BMI1, BMI2, LZCNT and POPCNT.
    Avx2 = 2,
    /// x86-64 with all of [`Level::Avx2`] and AVX-512 F, BW, DQ, VL, VBMI, VBMI2.
    Avx512 = 3,
    /// AArch64.
    Neon = 4,
}

/// The level in use, as a number; 0 until it is first needed.
static IN_USE: AtomicU8 = AtomicU8::new(0);

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

    /// The level in use: the last one given to [`Level::force`]; without any, that of
    /// [`Level::from_env`]; without that, the fastest available. The variable is read once, at
    /// the first call.
    #[inline]
    pub fn current() -> Self {
        match IN_USE.load(Ordering::Relaxed) {
            1 => Self::Portable,
            2 => Self::Avx2,
            3 => Self::Avx512,
            4 => Self::Neon,
            _ => Self::choose(),
        }
    }

    #[cold]
    fn choose() -> Self {
        // A wrong value of the variable is reported where an error can be returned: see `from_env`.
        let requested = Self::from_env().ok().flatten();
        let level = requested.or(Self::available().last().copied());
        let level = level.unwrap_or(Self::Portable);
        level.force();
        level
    }

    /// The level that the environment variable `BPE_RS_SIMD` names (portable, avx2, avx512, neon);
    /// `None` where it is empty or not set. `get_encoding` and the import of the Python module
    /// report its error.
    ///
    /// # Errors
    /// `Invalid` for any other value, and for a level that this processor cannot run.
    pub fn from_env() -> Result<Option<Self>> {
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

    /// Use this level from now on, in the whole process; does nothing if it is not available.
    /// For tests: the results are the same at every level.
    pub fn force(self) {
        if Self::available().contains(&self) {
            IN_USE.store(self as u8, Ordering::Relaxed);
        }
    }

    /// Call `test` once for each available level, which is the one in use meanwhile. Tests that
    /// call this run one after the other, so that none changes the level of another.
    #[cfg(test)]
    pub(crate) fn for_each(mut test: impl FnMut(Self)) {
        use std::sync::{Mutex, PoisonError};
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let before = Self::current();
        for level in Self::available() {
            level.force();
            test(level);
        }
        before.force();
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

/// Define a function that runs `$body` at the level in use: `$level` names the level's type there.
///
/// ```ignore
/// dispatch! { S => fn count(text: &[u8]) -> usize { count_with::<S>(text) } }
/// ```
///
/// `$body` calls `#[inline(always)]` functions that are generic over the level: what is not inlined
/// is not compiled for the level. They may call the level's unsafe methods, because types of levels
/// that need more than plain Rust are named here only, behind the detection.
macro_rules! dispatch {
    ($level:ident => $vis:vis unsafe fn $($rest:tt)*) => {
        $crate::simd::dispatch! { @define $level [unsafe] $vis fn $($rest)* }
    };
    ($level:ident => $vis:vis fn $($rest:tt)*) => {
        $crate::simd::dispatch! { @define $level [] $vis fn $($rest)* }
    };
    (@define $level:ident [$($safety:ident)?] $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        #[allow(clippy::too_many_arguments, clippy::missing_safety_doc)]
        $vis $($safety)? fn $name($($arg: $type),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx2,bmi1,bmi2,lzcnt,popcnt")]
            #[allow(clippy::too_many_arguments)]
            $($safety)? fn avx512($($arg: $type),*) $(-> $ret)? {
                #[allow(dead_code)]
                type $level = $crate::simd::Avx512;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
            #[allow(clippy::too_many_arguments)]
            $($safety)? fn avx2($($arg: $type),*) $(-> $ret)? {
                #[allow(dead_code)]
                type $level = $crate::simd::Avx2;
                $body
            }
            #[cfg(target_arch = "aarch64")]
            $($safety)? fn neon($($arg: $type),*) $(-> $ret)? {
                #[allow(dead_code)]
                type $level = $crate::simd::Neon;
                $body
            }
            $($safety)? fn portable($($arg: $type),*) $(-> $ret)? {
                #[allow(dead_code)]
                type $level = $crate::simd::Portable;
                $body
            }
            // SAFETY: `Level::current` gives levels whose features were detected; an unsafe
            // function's other conditions are those of its caller.
            #[allow(unused_unsafe)]
            unsafe {
                match $crate::simd::Level::current() {
                    #[cfg(target_arch = "x86_64")]
                    $crate::simd::Level::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::simd::Level::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "aarch64")]
                    $crate::simd::Level::Neon => neon($($arg),*),
                    _ => portable($($arg),*),
                }
            }
        }
    };
}
pub(crate) use dispatch;

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
        // A level of another processor is an error, not replaced by another one.
        let all = [Level::Portable, Level::Avx2, Level::Avx512, Level::Neon];
        for level in all.iter().filter(|l| !Level::available().contains(l)) {
            assert!(Level::named(level.name()).is_err());
        }
    }
}
