//! Work shared by threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Result;

/// How many threads to use when the caller does not say: one per core.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Call `work(state, i)` for every `i` below `count`, each thread with its own `state`, and return
/// the results in order. The first error wins, whichever thread meets one.
pub fn map<S, T: Send>(
    count: usize,
    threads: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let threads = threads.clamp(1, count.max(1));
    if threads == 1 {
        let mut own = state();
        return (0..count).map(|i| work(&mut own, i)).collect();
    }
    let next = AtomicUsize::new(0);
    let run = || {
        let (mut own, mut done) = (state(), Vec::new());
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                return Ok(done);
            }
            match work(&mut own, i) {
                Ok(result) => done.push((i, result)),
                Err(error) => {
                    next.store(count, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    let finished: Vec<Result<Vec<(usize, T)>>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut all = vec![run()];
        all.extend(others.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        all
    });
    let mut results = Vec::with_capacity(count);
    for part in finished {
        results.extend(part?);
    }
    results.sort_unstable_by_key(|&(i, _)| i);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
