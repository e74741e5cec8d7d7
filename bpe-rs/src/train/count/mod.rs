//! The first half of training: text in, distinct words and their counts out.
//!
//! Counts of parts of a corpus add up to the counts of the whole, so parts are counted on several
//! threads, and on several machines.

mod saved;
mod table;
mod word_counts;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Mutex;

use crate::error::Result;
#[cfg(feature = "files")]
use crate::io::Reader;
use crate::io::{Cuts, Progress, PART};
use crate::threads::{self, lock, Check};
use table::WordTable;
use word_counts::Splitter;

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
        let work = |table: &mut WordTable, check: &mut Check<'_>| loop {
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
        let work = |table: &mut WordTable, check: &mut Check<'_>| {
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
        WordCounts {
            splitter: self.splitter,
            table: tables.pop().unwrap_or_else(WordTable::new),
            bytes: self.bytes,
            ordered: true,
        }
    }
}

/// Take parts of a text until none is left, and count each into the table.
type Work<'a> = dyn Fn(&mut WordTable, &mut Check<'_>) -> Result<()> + Sync + 'a;

/// [`threads::run_until_error`], each thread with a table of its own: one of `tables`, or a new one,
/// which is then added to them.
fn count_on_threads(
    threads: usize,
    tables: &mut Vec<WordTable>,
    progress: &mut Progress<'_>,
    work: &Work<'_>,
) -> Result<()> {
    let idle = Mutex::new(tables);
    threads::run_until_error(threads, progress, &|check| {
        let table = lock(&idle).pop();
        let mut table = table.unwrap_or_else(WordTable::new);
        let outcome = work(&mut table, check);
        lock(&idle).push(table);
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

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
