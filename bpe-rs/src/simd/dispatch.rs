//! One function body, compiled for every level; the level in use decides which one runs.

/// Define a function that runs `$body` at the level in use: `$level` names the level's type there.
///
/// ```ignore
/// dispatch! { S => fn count(text: &[u8]) -> usize { count_with::<S>(text) } }
/// ```
///
/// `$body` must be a call of `#[inline(always)]` functions: what is not inlined is not compiled
/// for the level. They are generic over the level, and may call its unsafe methods: the types of
/// levels that need more than plain Rust are named here only, behind the detection.
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
