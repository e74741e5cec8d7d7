//! The half of training that scales out: text in, distinct words and their counts out. Counts of
//! parts of a corpus add up to the counts of the whole.

mod reader;
mod saved;
mod table;
mod text;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use reader::{Chunk, FileReader};
use table::WordTable;
use text::Splitter;

pub use saved::WordCounts;

/// Told how far the counting is; an error stops it.
pub type Tick<'a> = dyn FnMut(u64) -> Result<()> + 'a;

/// Between two calls of a [`Tick`] while other threads work.
const TICK: Duration = Duration::from_millis(50);

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

    /// Count texts, each one by itself. `tick` is told the bytes done of them.
    ///
    /// # Errors
    /// When the regex engine gives up, and what `tick` returns.
    pub fn add_texts(&mut self, texts: &[&str], tick: &mut Tick<'_>) -> Result<()> {
        let Self {
            splitter,
            tables,
            bytes,
        } = self;
        let mut parts = Vec::new();
        for text in texts {
            for (offset, part) in splitter.parts(text, reader::CHUNK) {
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
        share_out(tables, &done, tick, &work)
    }

    /// Count files, each one by itself: plain UTF-8 text, lines of JSON (`.jsonl`, `.ndjson`) with
    /// a string under `field`, either packed (`.gz`, `.zst`) or not. `tick` is told the bytes read
    /// from them.
    ///
    /// # Errors
    /// When a file cannot be read, is not UTF-8 or not what its name says; when the regex engine
    /// gives up; and what `tick` returns.
    pub fn add_files(&mut self, paths: &[PathBuf], field: &str, tick: &mut Tick<'_>) -> Result<()> {
        let Self {
            splitter,
            tables,
            bytes,
        } = self;
        let done = Arc::new(AtomicU64::new(0));
        let reader = Mutex::new(FileReader::new(paths, *bytes, done.clone()));
        let work = |table: &mut WordTable, stop: &dyn Fn(u64) -> Result<()>| {
            let mut buffer = Vec::new();
            loop {
                stop(done.load(Ordering::Relaxed))?;
                let chunk = lock(&reader).next(splitter, buffer)?;
                let Some(chunk) = chunk else { return Ok(()) };
                count_chunk(splitter, &chunk, field, table)?;
                buffer = chunk.bytes;
            }
        };
        share_out(tables, &done, tick, &work)?;
        *bytes = lock(&reader).origin();
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

fn count_chunk(
    splitter: &Splitter,
    chunk: &Chunk,
    field: &str,
    table: &mut WordTable,
) -> Result<()> {
    let path = chunk.path.display();
    let text = simdutf8::compat::from_utf8(&chunk.bytes).map_err(|error| {
        let at = chunk.offset + error.valid_up_to() as u64;
        Error::invalid(format!(
            "{path}: expected UTF-8 text, got the byte 0x{:02x} at offset {at}; convert the file first",
            chunk.bytes[error.valid_up_to()]
        ))
    })?;
    if !chunk.lines_of_json {
        return splitter.count(text, chunk.origin, table);
    }
    let mut origin = chunk.origin;
    for line in text.split_inclusive('\n') {
        if !line.trim().is_empty() {
            let text = json_field(line, field).map_err(|problem| {
                let at = chunk.offset + (origin - chunk.origin);
                Error::invalid(format!("{path}: the line at offset {at}: {problem}"))
            })?;
            splitter.count(&text, origin, table)?;
        }
        origin += line.len() as u64;
    }
    Ok(())
}

/// The string under `field` of one line of JSON.
fn json_field(line: &str, field: &str) -> std::result::Result<String, String> {
    let mut object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(line).map_err(|error| format!("expected a JSON object: {error}"))?;
    match object.remove(field) {
        Some(serde_json::Value::String(text)) => Ok(text),
        Some(other) => Err(format!("expected a string under {field:?}, got {other}")),
        None => {
            let names: Vec<&str> = object.keys().map(String::as_str).collect();
            Err(format!("no field {field:?}, only {}", names.join(", ")))
        }
    }
}

/// Work on one thread: add to the table, tell how far the whole is, stop at an error.
type Work<'a> = dyn Fn(&mut WordTable, &dyn Fn(u64) -> Result<()>) -> Result<()> + Sync + 'a;

/// Run `work` once for each table, each on a thread of its own, and `tick` on this one meanwhile:
/// only the caller's thread hears of Ctrl-C.
fn share_out(
    tables: &mut [WordTable],
    done: &AtomicU64,
    tick: &mut Tick<'_>,
    work: &Work<'_>,
) -> Result<()> {
    if let [table] = tables {
        let tick = std::cell::RefCell::new(tick);
        return work(table, &|done| (tick.borrow_mut())(done));
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
            let result = match results.recv_timeout(TICK) {
                Ok(result) => {
                    finished += 1;
                    result
                }
                Err(mpsc::RecvTimeoutError::Timeout) => tick(done.load(Ordering::Relaxed)),
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
