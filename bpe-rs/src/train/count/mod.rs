//! The half of training that scales out: text in, distinct words and their counts out. Counts of
//! parts of a corpus add up to the counts of the whole.

mod saved;
mod table;
mod text;
mod word_counts;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{mpsc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
#[cfg(feature = "files")]
use crate::io::Reader;
use crate::io::{Progress, PART};
use table::WordTable;
use text::Splitter;

pub use word_counts::WordCounts;

/// Between two calls of a [`Progress`] while other threads work.
const INTERVAL: Duration = Duration::from_millis(50);

/// Counts words, on several threads, of texts and files.
pub struct Counter {
    splitter: Splitter,
    /// One a thread.
    tables: Vec<WordTable>,
    /// Bytes counted so far: the place in the corpus of what comes next.
    bytes: u64,
}

impl Counter {
    /// `pattern` is a named one or a regular expression; special tokens are cut out of the text
    /// and not counted.
    ///
    /// # Errors
    /// When the pattern is neither.
    pub fn new(pattern: &str, special: &[String], threads: usize) -> Result<Self> {
        Ok(Self {
            splitter: Splitter::new(pattern, special)?,
            tables: (0..threads.max(1)).map(|_| WordTable::new()).collect(),
            bytes: 0,
        })
    }

    /// Count texts, each one by itself. `progress` is told the bytes done of them.
    ///
    /// # Errors
    /// When the regex engine gives up, and what `progress` returns.
    pub fn add_texts(&mut self, texts: &[&str], progress: &mut Progress<'_>) -> Result<()> {
        let Self {
            splitter,
            tables,
            bytes,
        } = self;
        let (cuts, mut parts) = (splitter.cuts(), Vec::new());
        for text in texts {
            for (offset, part) in cuts.parts(text, PART) {
                parts.push((*bytes + offset as u64, part));
            }
            *bytes += text.len() as u64;
        }
        // Threads take runs of texts, not single ones, when these are small.
        let run = (parts.len() / (tables.len() * 8)).clamp(1, 64);
        let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
        let work = |table: &mut WordTable, stop: &dyn Fn(u64) -> Result<()>| loop {
            let from = next.fetch_add(run, Ordering::Relaxed);
            if from >= parts.len() {
                return Ok(());
            }
            let mut run_bytes = 0;
            for (origin, part) in &parts[from..parts.len().min(from + run)] {
                splitter.count(part, *origin, table)?;
                run_bytes += part.len() as u64;
            }
            stop(done.fetch_add(run_bytes, Ordering::Relaxed) + run_bytes)?;
        };
        share_out(tables, &done, progress, &work)
    }

    /// Count files, each one by itself: plain UTF-8 text, lines of JSON (`.jsonl`, `.ndjson`) with
    /// a string under `field`, either packed (`.gz`, `.zst`) or not. `progress` is told the bytes read
    /// from them.
    ///
    /// # Errors
    /// When a file cannot be read, is not UTF-8 or not what its name says; when the regex engine
    /// gives up; and what `progress` returns.
    #[cfg(feature = "files")]
    pub fn add_files(
        &mut self,
        paths: &[PathBuf],
        field: &str,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let Self {
            splitter,
            tables,
            bytes,
        } = self;
        let (done, text_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let cuts = splitter.cuts();
        let reader = Mutex::new(Reader::new(paths, &cuts, *bytes));
        let work = |table: &mut WordTable, stop: &dyn Fn(u64) -> Result<()>| {
            // Memory that the reader fills, and memory that this thread reads into.
            let (mut spare, mut buffer) = (Vec::new(), Vec::new());
            loop {
                stop(done.load(Ordering::Relaxed))?;
                let part = lock(&reader).next(spare)?;
                let Some(part) = part else { return Ok(()) };
                part.each(&mut buffer, |chunk| {
                    text_bytes.fetch_add(chunk.len(), Ordering::Relaxed);
                    if chunk.json_lines {
                        chunk.each_line(field, |text, origin| splitter.count(text, origin, table))
                    } else {
                        splitter.count(chunk.text()?, chunk.origin, table)
                    }
                })?;
                done.fetch_add(part.file_bytes(), Ordering::Relaxed);
                spare = part.into_buffer();
            }
        };
        share_out(tables, &done, progress, &work)?;
        *bytes += text_bytes.into_inner();
        Ok(())
    }

    /// Count `word` `count` times, as it is.
    pub fn add_word(&mut self, word: &[u8], count: u64) {
        self.tables[0].add(word, count, self.bytes);
        self.bytes += word.len() as u64;
    }

    /// All counts together.
    pub fn finish(self) -> WordCounts {
        let mut tables = self.tables;
        // The smaller is added to the larger: fewer words to move, no table that grows.
        tables.sort_by_key(|table| std::cmp::Reverse(table.len()));
        // Pairs of tables at once, until one is left.
        while tables.len() > 1 {
            let half = tables.len().div_ceil(2);
            let others = tables.split_off(half);
            std::thread::scope(|scope| {
                for (table, other) in tables.iter_mut().zip(others) {
                    scope.spawn(move || table.absorb(&other, 0));
                }
            });
        }
        let table = tables.pop().unwrap_or_else(WordTable::new);
        WordCounts::new(self.splitter, table, self.bytes)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work on one thread: add to the table, tell how far the whole is, stop at an error.
type Work<'a> = dyn Fn(&mut WordTable, &dyn Fn(u64) -> Result<()>) -> Result<()> + Sync + 'a;

/// Run `work` once for each table, each on a thread of its own, and `progress` on this one meanwhile:
/// only the caller's thread hears of Ctrl-C.
fn share_out(
    tables: &mut [WordTable],
    done: &AtomicU64,
    progress: &mut Progress<'_>,
    work: &Work<'_>,
) -> Result<()> {
    if let [table] = tables {
        let progress = std::cell::RefCell::new(progress);
        return work(table, &|done| (progress.borrow_mut())(done));
    }
    let stopped = AtomicBool::new(false);
    let stop = |_| {
        if stopped.load(Ordering::Relaxed) {
            Err(Error::interrupted())
        } else {
            Ok(())
        }
    };
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        let workers = tables.len();
        for table in tables {
            let (sender, stop) = (sender.clone(), &stop);
            scope.spawn(move || {
                // The receiver waits for as many results as there are workers.
                let _ = sender.send(work(table, stop));
            });
        }
        drop(sender);
        let mut outcome = Ok(());
        let mut finished = 0;
        while finished < workers {
            let result = match results.recv_timeout(INTERVAL) {
                Ok(result) => {
                    finished += 1;
                    result
                }
                Err(mpsc::RecvTimeoutError::Timeout) => progress(done.load(Ordering::Relaxed)),
                // A worker has panicked; the scope passes that on.
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            if result.is_err() && outcome.is_ok() {
                outcome = result;
                stopped.store(true, Ordering::Relaxed);
            }
        }
        outcome
    })
}
