//! How many threads to use.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How long an answer of the operating system is reused.
const VALID: Duration = Duration::from_millis(100);

/// How many threads this process can run at once, at least 1: the cores of its affinity mask, or
/// fewer where the CPU quota of its container (cgroup v1 or v2) is lower.
///
/// The answer is reused for 100 ms: asking the system takes longer than encoding a short text, and
/// the answer seldom changes.
pub fn available_threads() -> usize {
    static KNOWN: Mutex<Option<(usize, Instant)>> = Mutex::new(None);
    let ask = || std::thread::available_parallelism().map_or(1, usize::from);
    // Never waits: in a forked child the lock may be held by a thread that does not exist there.
    let Ok(mut known) = KNOWN.try_lock() else {
        return ask();
    };
    match *known {
        Some((threads, asked)) if asked.elapsed() < VALID => threads,
        _ => {
            let threads = ask();
            *known = Some((threads, Instant::now()));
            threads
        }
    }
}

/// How many threads to use for a caller who asks for `num_threads`: at most [`available_threads`], which
/// `None` stands for.
///
/// # Errors
///
/// `Invalid` for 0.
pub fn requested_threads(num_threads: Option<usize>) -> Result<usize> {
    match num_threads {
        Some(0) => Err(Error::invalid("expected num_threads >= 1, got 0")),
        Some(threads) => Ok(threads.min(available_threads())),
        None => Ok(available_threads()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded_by_what_is_available() {
        assert!(requested_threads(Some(0)).is_err());
        assert_eq!(requested_threads(Some(1)).unwrap(), 1);
        assert!(requested_threads(None).unwrap() >= 1);
        assert!(requested_threads(Some(usize::MAX)).unwrap() < usize::MAX);
    }
}
