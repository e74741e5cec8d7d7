//! The first half of training: text in, distinct words and their counts out.
//!
//! Counts of parts of a corpus add up to the counts of the whole, so parts are counted on several
//! threads, and on several machines.

mod saved;
mod table;
mod text;
mod word_counts;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
#[cfg(feature = "files")]
use crate::io::Reader;
use crate::io::{Progress, PART};
use crate::threads;
use table::WordTable;
use text::Splitter;

pub use word_counts::WordCounts;

/// Counts words, on several threads, of texts and files.
pub struct Counter {
    splitter: Splitter,
    threads: usize,
    /// One for each thread that has counted at the same time as others.
    tables: Vec<WordTable>,
    /// Bytes counted so far, which is where the next text begins in the corpus.
    bytes: u64,
}

impl Counter {
    /// `pattern` is a named one or a regular expression; special tokens are cut out of the text
    /// and not counted.
    ///
    /// # Errors
    /// `Invalid` when the pattern is neither.
    pub fn new(pattern: &str, special: &[String], threads: usize) -> Result<Self> {
        Ok(Self {
            splitter: Splitter::new(pattern, special)?,
            threads: threads.max(1),
            tables: Vec::new(),
            bytes: 0,
        })
    }

    /// Count texts: no word goes from one into the next. `progress` is given the bytes of them that
    /// are counted.
    ///
    /// # Errors
    /// When the regex engine gives up, and what `progress` returns.
    pub fn add_texts(&mut self, texts: &[&str], progress: &mut Progress<'_>) -> Result<()> {
        let Self {
            splitter,
            threads,
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
        let run = (parts.len() / threads.saturating_mul(8)).clamp(1, 64);
        let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
        let work = |table: &mut WordTable, check: &Check<'_>| loop {
            let from = next.fetch_add(run, Ordering::Relaxed);
            if from >= parts.len() {
                return Ok(());
            }
            let mut run_bytes = 0;
            for (origin, part) in &parts[from..parts.len().min(from + run)] {
                splitter.count(part, *origin, table)?;
                run_bytes += part.len() as u64;
            }
            check(done.fetch_add(run_bytes, Ordering::Relaxed) + run_bytes)?;
        };
        count_on_threads(*threads, tables, progress, &work)
    }

    /// Count files, of plain UTF-8 text or of JSON lines (`.jsonl`, `.ndjson`) with a string under
    /// `field`, compressed (`.gz`, `.zst`) or not: no word goes from one into the next. `progress`
    /// is given the bytes of them that are counted.
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
            threads,
            tables,
            bytes,
        } = self;
        let (done, text_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let cuts = splitter.cuts();
        let reader = Mutex::new(Reader::new(paths, &cuts, *bytes));
        let work = |table: &mut WordTable, check: &Check<'_>| {
            // Memory that the reader fills, and memory that this thread reads into.
            let (mut spare, mut buffer) = (Vec::new(), Vec::new());
            loop {
                check(done.load(Ordering::Relaxed))?;
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
        count_on_threads(*threads, tables, progress, &work)?;
        *bytes += text_bytes.into_inner();
        Ok(())
    }

    /// Count `word` `count` times, without cutting it.
    pub fn add_word(&mut self, word: &[u8], count: u64) {
        if self.tables.is_empty() {
            self.tables.push(WordTable::new());
        }
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
            let workers = others.len() - 1;
            let merges = Mutex::new(tables.iter_mut().zip(others));
            let next = || lock(&merges).next();
            let work = || {
                while let Some((table, other)) = next() {
                    table.absorb(&other, 0);
                }
            };
            threads::run(workers, true, &work, work);
        }
        let table = tables.pop().unwrap_or_else(WordTable::new);
        WordCounts::new(self.splitter, table, self.bytes)
    }
}

/// Progress and signal check between two parts of the work, given the bytes done.
type Check<'a> = dyn Fn(u64) -> Result<()> + 'a;

/// Take parts of a text until none is left, and count each into the table.
type Work<'a> = dyn Fn(&mut WordTable, &Check<'_>) -> Result<()> + Sync + 'a;

/// Run `work` on this thread and on as many others as begin before no part is left, `threads` in
/// all, each with a table of its own: one of `tables`, or a new one, which is then added to them.
/// `progress` is called on this thread between two of its own parts.
///
/// # Errors
/// The first error of any thread, after which the others stop.
fn count_on_threads(
    threads: usize,
    tables: &mut Vec<WordTable>,
    progress: &mut Progress<'_>,
    work: &Work<'_>,
) -> Result<()> {
    let idle = Mutex::new(tables);
    let first_error = Mutex::new(None);
    let stopped = AtomicBool::new(false);
    let count = |check: &Check<'_>| {
        let table = lock(&idle).pop();
        let mut table = table.unwrap_or_else(WordTable::new);
        let outcome = work(&mut table, &|done| match stopped.load(Ordering::Relaxed) {
            true => Err(Error::interrupted()),
            false => check(done),
        });
        if let Err(error) = outcome {
            // Kept before the others stop, since they stop with errors.
            lock(&first_error).get_or_insert(error);
            stopped.store(true, Ordering::Relaxed);
        }
        lock(&idle).push(table);
    };
    let progress = RefCell::new(progress);
    threads::run(threads - 1, true, &|| count(&|_| Ok(())), || {
        count(&|done| (progress.borrow_mut())(done));
    });
    let error = first_error
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    error.map_or(Ok(()), Err)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Vec<String> {
        let text = |i: usize| format!("text {i} has {} words, some of them again\n", i * i % 97);
        let count = if cfg!(miri) { 20 } else { 300 };
        (0..count).map(|i| text(i).repeat(1 + i % 50)).collect()
    }

    fn counted(threads: usize, texts: &[&str]) -> Vec<(Vec<u8>, u64)> {
        let mut counter = Counter::new("gpt2", &["<end>".into()], threads).unwrap();
        for texts in texts.chunks(100) {
            counter.add_texts(texts, &mut |_| Ok(())).unwrap();
        }
        counter.finish().in_order()
    }

    #[test]
    fn threads_make_no_difference() {
        let texts = texts();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let expected = counted(1, &texts);
        for threads in [2, 8, 8, 8] {
            assert_eq!(counted(threads, &texts), expected, "{threads} threads");
        }
    }

    #[test]
    fn an_error_of_progress_ends_the_counting() {
        let texts = texts();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for threads in [1, 2, 8] {
            let mut counter = Counter::new("gpt2", &[], threads).unwrap();
            let mut calls = 0;
            let result = counter.add_texts(&texts, &mut |_| {
                calls += 1;
                Err(Error::invalid("enough"))
            });
            // This thread may find that the workers have left nothing to it.
            match result {
                Ok(()) => assert_eq!(calls, 0),
                Err(error) => assert_eq!((error.to_string().as_str(), calls), ("enough", 1)),
            }
        }
    }
}
