//! Work shared by threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::crew;
pub use super::crew::dismiss;
use crate::error::Result;

/// How long the number of cores is taken for granted.
const VALID: Duration = Duration::from_millis(100);

/// How many threads to use when the caller does not say: one per core.
pub fn default_threads() -> usize {
    // To ask the system takes longer than to encode 30 KB, and the answer seldom changes.
    static KNOWN: Mutex<Option<(usize, Instant)>> = Mutex::new(None);
    let ask = || std::thread::available_parallelism().map_or(1, usize::from);
    // Whoever finds it locked, for ever perhaps after a fork, asks as well.
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

/// What the threads of [`in_order`] work with, kept from one call to the next: memory that one
/// thread takes and another frees ends in pieces.
#[derive(Debug)]
pub struct Stock<S, B> {
    states: Mutex<Vec<S>>,
    buffers: Vec<B>,
}

impl<S, B> Default for Stock<S, B> {
    fn default() -> Self {
        Self {
            states: Mutex::default(),
            buffers: Vec::new(),
        }
    }
}

/// Call `work(thread, state, buffer, i)` for every `i` below `count`, on all threads, each with a
/// state of its own, and for each afterwards `done(buffer, i)`: in the order of `i`, one at a time.
/// States and buffers come from `stock`, as earlier calls have left them, and go back there.
///
/// The threads have numbers, the caller 0, and each begins with every so manieth `i`: who does the
/// same again finds what it has kept.
///
/// No thread ever waits for another: what is ready too early is left to whoever finishes what
/// comes before it.
///
/// Errors: the one of the smallest `i`, whichever call it comes from; `done` has been called for
/// everything before.
pub fn in_order<S: Default + Send, B: Default + Send>(
    count: usize,
    threads: usize,
    stock: &mut Stock<S, B>,
    work: impl Fn(usize, &mut S, &mut B, usize) -> Result<()> + Sync,
    mut done: impl FnMut(&mut B, usize) -> Result<()> + Send,
) -> Result<()> {
    let threads = threads.clamp(1, count.max(1));
    if threads == 1 {
        let mut own = lock(&stock.states).pop().unwrap_or_default();
        let mut buffer = stock.buffers.pop().unwrap_or_default();
        let result = (0..count).try_for_each(|i| {
            work(0, &mut own, &mut buffer, i)?;
            done(&mut buffer, i)
        });
        lock(&stock.states).push(own);
        stock.buffers.push(buffer);
        return result;
    }
    let left: Vec<AtomicUsize> = (0..threads).map(AtomicUsize::new).collect();
    // Its own first, then whatever others have not begun.
    let next = |thread: usize| {
        (thread..thread + threads).find_map(|of| {
            let i = left[of % threads].fetch_add(threads, Ordering::Relaxed);
            (i < count).then_some(i)
        })
    };
    let helpers = AtomicUsize::new(1);
    let line = Mutex::new(Line::new(count, std::mem::take(&mut stock.buffers)));
    let states = &stock.states;
    let done = Mutex::new(&mut done);
    let run = |thread: usize| {
        let mut own = lock(states).pop().unwrap_or_default();
        while let Some(i) = next(thread) {
            let mut buffer = lock(&line).idle.pop().unwrap_or_default();
            let result = work(thread, &mut own, &mut buffer, i);
            let mut waiting = lock(&line);
            waiting.ready[i] = Some((result, buffer));
            // One thread at a time; it takes what comes meanwhile along.
            while let Some((i, result, mut buffer)) = waiting.take() {
                drop(waiting);
                let result = result.and_then(|()| lock(&done)(&mut buffer, i));
                waiting = lock(&line);
                waiting.idle.push(buffer);
                waiting.busy = false;
                if result.is_err() {
                    waiting.result = result;
                    waiting.busy = true;
                    left.iter()
                        .for_each(|left| left.store(count, Ordering::Relaxed));
                }
            }
        }
        lock(states).push(own);
    };
    let help = || run(helpers.fetch_add(1, Ordering::Relaxed));
    crew::run(threads - 1, true, &help, || run(0));
    let line = line.into_inner().unwrap_or_else(PoisonError::into_inner);
    stock.buffers = line.idle;
    line.result
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is ready and what its turn is.
struct Line<B> {
    ready: Vec<Option<(Result<()>, B)>>,
    turn: usize,
    /// Somebody is at it, or after an error for ever nobody.
    busy: bool,
    idle: Vec<B>,
    result: Result<()>,
}

impl<B> Line<B> {
    fn new(count: usize, idle: Vec<B>) -> Self {
        Self {
            ready: (0..count).map(|_| None).collect(),
            turn: 0,
            busy: false,
            idle,
            result: Ok(()),
        }
    }

    /// The next in turn, if it is ready and nobody is busy; the caller is then.
    fn take(&mut self) -> Option<(usize, Result<()>, B)> {
        if self.busy {
            return None;
        }
        let (result, buffer) = self.ready.get_mut(self.turn)?.take()?;
        self.busy = true;
        self.turn += 1;
        Some((self.turn - 1, result, buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn in_order_whatever_the_threads() {
        for threads in [1, 2, 3, 8] {
            for count in [0, 1, 5, 300] {
                let mut seen = Vec::new();
                let work = |_, (): &mut (), buffer: &mut usize, i: usize| {
                    // Later ones are quicker.
                    (0..(count - i) * 50).for_each(|n| *buffer = std::hint::black_box(n));
                    *buffer = i * i;
                    Ok(())
                };
                let done = |buffer: &mut usize, i: usize| {
                    seen.push((i, *buffer));
                    Ok(())
                };
                in_order(count, threads, &mut Stock::default(), work, done).unwrap();
                let want: Vec<_> = (0..count).map(|i| (i, i * i)).collect();
                assert_eq!(seen, want);
            }
        }
    }

    #[test]
    fn what_is_in_stock_is_used_again() {
        let mut stock = Stock::<Vec<u8>, Vec<u8>>::default();
        let work = |_, state: &mut Vec<u8>, buffer: &mut Vec<u8>, _| {
            state.push(0);
            buffer.push(0);
            Ok(())
        };
        for _ in 0..10 {
            in_order(20, 2, &mut stock, work, |_, _| Ok(())).unwrap();
        }
        let all = |kept: &[Vec<u8>]| kept.iter().map(Vec::len).sum::<usize>();
        assert_eq!(all(&lock(&stock.states)), 200);
        assert_eq!(all(&stock.buffers), 200);
        assert!(stock.buffers.len() <= 20 && lock(&stock.states).len() <= 2);
    }

    #[test]
    fn the_first_error_ends_it() {
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
            let error = in_order(100, threads, &mut Stock::default(), work, done).unwrap_err();
            assert_eq!((error.to_string().as_str(), seen), ("work 40", 40));
            let late = |(): &mut (), i: usize| {
                if i == 30 {
                    return Err(Error::invalid("done 30"));
                }
                Ok(())
            };
            let error = in_order(100, threads, &mut Stock::default(), work, late).unwrap_err();
            assert_eq!(error.to_string(), "done 30");
        }
    }

    #[test]
    #[should_panic(expected = "in part 3")]
    fn a_panic_leaves_nobody_waiting() {
        let work = |_, (): &mut (), (): &mut (), i: usize| {
            assert!(i != 3, "in part 3");
            Ok(())
        };
        let _ = in_order(100, 4, &mut Stock::default(), work, |(), _| Ok(()));
    }
}
