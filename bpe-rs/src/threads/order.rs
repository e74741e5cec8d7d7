//! Work on several threads whose results are taken one at a time, in order.
//!
//! No thread waits for another: a result that is ready too early goes into a reorder buffer, from
//! which the thread that finishes the one before it takes it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use super::{into_inner, lock, pool};
use crate::error::Result;

/// The states and result buffers of [`in_order`], kept from one call to the next: memory that one
/// thread allocates and another frees becomes fragmented.
#[derive(Debug)]
pub struct ReusableBuffers<S, B> {
    states: Mutex<Vec<S>>,
    results: Vec<B>,
}

impl<S, B> Default for ReusableBuffers<S, B> {
    fn default() -> Self {
        Self {
            states: Mutex::default(),
            results: Vec::new(),
        }
    }
}

/// Call `work(thread, state, result, i)` for every `i` below `count`, on up to `threads` threads
/// each with a state of its own, and `done(result, i)` in the order of `i`, one at a time. States and
/// results come from `buffers`, as earlier calls have left them, and go back there.
///
/// The caller is thread 0. Each thread takes every `threads`-th `i` before it takes what others have
/// left, so that in repeated calls most items meet the same thread, with its caches.
///
/// # Errors
/// The error of the smallest `i`, from `work` or `done`. `done` has been called for all before it.
///
/// # Panics
/// When `work` or `done` panics, after all threads are done.
pub fn in_order<S: Default + Send, B: Default + Send>(
    count: usize,
    threads: usize,
    buffers: &mut ReusableBuffers<S, B>,
    work: impl Fn(usize, &mut S, &mut B, usize) -> Result<()> + Sync,
    mut done: impl FnMut(&mut B, usize) -> Result<()> + Send,
) -> Result<()> {
    let threads = threads.clamp(1, count.max(1));
    // For each thread the next of its own share.
    let shares: Vec<AtomicUsize> = (0..threads).map(AtomicUsize::new).collect();
    let next = |thread: usize| {
        (thread..thread + threads).find_map(|of| {
            let i = shares[of % threads].fetch_add(threads, Ordering::Relaxed);
            (i < count).then_some(i)
        })
    };
    let started = AtomicUsize::new(1);
    let reorder = ReorderBuffer::new(count, std::mem::take(&mut buffers.results));
    let reorder = Mutex::new(reorder);
    let states = &buffers.states;
    let done = Mutex::new(&mut done);
    let run = |thread: usize| {
        let mut state = lock(states).pop().unwrap_or_default();
        while let Some(i) = next(thread) {
            let mut buffer = lock(&reorder).unused.pop().unwrap_or_default();
            let outcome = work(thread, &mut state, &mut buffer, i);
            let mut waiting = lock(&reorder);
            waiting.ready[i] = Some((outcome, buffer));
            while let Some((i, outcome, mut buffer)) = waiting.take() {
                drop(waiting);
                let outcome = outcome.and_then(|()| lock(&done)(&mut buffer, i));
                waiting = lock(&reorder);
                waiting.unused.push(buffer);
                waiting.taken = outcome.is_err();
                if outcome.is_err() {
                    waiting.outcome = outcome;
                    let stop = |share: &AtomicUsize| share.store(count, Ordering::Relaxed);
                    shares.iter().for_each(stop);
                }
            }
        }
        lock(states).push(state);
    };
    let work = || run(started.fetch_add(1, Ordering::Relaxed));
    pool::run(threads - 1, true, &work, || run(0));
    let reorder = into_inner(reorder);
    buffers.results = reorder.unused;
    reorder.outcome
}

/// Results that are ready before their turn.
struct ReorderBuffer<B> {
    ready: Vec<Option<(Result<()>, B)>>,
    /// The number of the result whose turn it is.
    turn: usize,
    /// Whether a thread has taken a result and is not done with it; after an error for ever.
    taken: bool,
    unused: Vec<B>,
    outcome: Result<()>,
}

impl<B> ReorderBuffer<B> {
    fn new(count: usize, unused: Vec<B>) -> Self {
        Self {
            ready: (0..count).map(|_| None).collect(),
            turn: 0,
            taken: false,
            unused,
            outcome: Ok(()),
        }
    }

    /// Take the result whose turn it is, if it is ready and no other thread has one.
    fn take(&mut self) -> Option<(usize, Result<()>, B)> {
        if self.taken {
            return None;
        }
        let (outcome, buffer) = self.ready.get_mut(self.turn)?.take()?;
        self.taken = true;
        self.turn += 1;
        Some((self.turn - 1, outcome, buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn results_come_in_order_for_any_number_of_threads() {
        for threads in [1, 2, 3, 8] {
            for count in [0, 1, 5, 300] {
                let mut seen = Vec::new();
                let work = |_, (): &mut (), buffer: &mut usize, i: usize| {
                    // Later ones take less time.
                    (0..(count - i) * 50).for_each(|n| *buffer = std::hint::black_box(n));
                    *buffer = i * i;
                    Ok(())
                };
                let done = |buffer: &mut usize, i: usize| {
                    seen.push((i, *buffer));
                    Ok(())
                };
                in_order(count, threads, &mut ReusableBuffers::default(), work, done).unwrap();
                let want: Vec<_> = (0..count).map(|i| (i, i * i)).collect();
                assert_eq!(seen, want);
            }
        }
    }

    #[test]
    fn states_and_results_are_reused() {
        let mut buffers = ReusableBuffers::<Vec<u8>, Vec<u8>>::default();
        let work = |_, state: &mut Vec<u8>, buffer: &mut Vec<u8>, _| {
            state.push(0);
            buffer.push(0);
            Ok(())
        };
        for _ in 0..10 {
            in_order(20, 2, &mut buffers, work, |_, _| Ok(())).unwrap();
        }
        let all = |kept: &[Vec<u8>]| kept.iter().map(Vec::len).sum::<usize>();
        assert_eq!(all(&lock(&buffers.states)), 200);
        assert_eq!(all(&buffers.results), 200);
        assert!(buffers.results.len() <= 20 && lock(&buffers.states).len() <= 2);
    }

    #[test]
    fn the_first_error_stops_all() {
        for threads in [1, 2, 8] {
            let work = |_, (): &mut (), (): &mut (), i: usize| match i {
                40 | 60 => Err(Error::invalid(format!("work {i}"))),
                _ => Ok(()),
            };
            let mut seen = 0;
            let done = |(): &mut (), i: usize| {
                seen += 1;
                if i == 50 {
                    return Err(Error::invalid("done 50"));
                }
                Ok(())
            };
            let buffers = &mut ReusableBuffers::default();
            let error = in_order(100, threads, buffers, work, done).unwrap_err();
            assert_eq!((error.to_string().as_str(), seen), ("work 40", 40));
            let late = |(): &mut (), i: usize| {
                if i == 30 {
                    return Err(Error::invalid("done 30"));
                }
                Ok(())
            };
            let error = in_order(100, threads, buffers, work, late).unwrap_err();
            assert_eq!(error.to_string(), "done 30");
        }
    }

    #[test]
    #[should_panic(expected = "in part 3")]
    fn a_panic_leaves_no_thread_waiting() {
        let work = |_, (): &mut (), (): &mut (), i: usize| {
            assert!(i != 3, "in part 3");
            Ok(())
        };
        let buffers = &mut ReusableBuffers::default();
        let _ = in_order(100, 4, buffers, work, |(), _| Ok(()));
    }
}
