//! Many texts to ids, on several threads.
//!
//! Each round of parts is worked on from both ends: the caller takes parts from the front and writes
//! their ids straight into the result; workers take parts from the back and write into memory of
//! their own, which is appended when the round is done. So nobody waits for ids that come earlier.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Mutex;

use super::each_text::{encode_each, EncodeText};
use super::scratch::{Lease, Scratch, ScratchPool};
use crate::error::{Error, Result};
use crate::io::Cuts;
use crate::pretokenize::{check_length, TextCuts};
use crate::threads::{self, into_inner, lock};

/// Bytes of text for each thread from which on another thread gains time, if a worker is spinning.
const BYTES_A_THREAD: usize = 16 << 10;
/// The same if a worker must be woken or started.
const BYTES_A_WOKEN_THREAD: usize = 32 << 10;
/// Least bytes of a part: all threads wait for the part that is begun last, so it is small, but not so
/// small that taking it matters.
const LEAST_PART: usize = 4 << 10;
/// Bytes of a round for each thread: bounds the memory of the workers.
const ROUND: usize = 1 << 20;
/// Parts of a round for each thread.
const PARTS: usize = 16;

/// The ids of many texts, one after the other.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// All ids.
    pub ids: Vec<u32>,
    /// Where the ids of each text end.
    pub ends: Vec<usize>,
}

impl Rows {
    /// The ids of each text.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> + '_ {
        self.ends.iter().scan(0, |start, &end| {
            let row = &self.ids[*start..end];
            *start = end;
            Some(row)
        })
    }
}

/// Encode `texts` on up to `threads` threads. A long text that `encoder` encodes by a pattern alone is
/// shared between threads.
///
/// # Errors
/// `Invalid` for a text of 4 GiB or more, whether it is cut or not; that of `encoder` for the first
/// text for which it fails.
///
/// # Panics
/// When `encoder` panics, after all threads are done.
pub fn encode_texts(
    pool: &ScratchPool,
    texts: &[&str],
    threads: usize,
    encoder: &impl EncodeText,
) -> Result<Rows> {
    texts.iter().try_for_each(|text| check_length(text))?;
    let total: usize = texts.iter().map(|text| text.len()).sum();
    let mut rows = Rows {
        ids: Vec::with_capacity(total / 3 + 64),
        ends: Vec::with_capacity(texts.len()),
    };
    let threads = threads.min(total / BYTES_A_THREAD).max(1);
    if threads == 1 {
        return pool.with(|scratch| {
            let Rows { ids, ends } = &mut rows;
            encode_each(encoder, scratch, texts, ids, |_, end| ends.push(end))?;
            Ok(rows)
        });
    }
    let part_size = (total / (PARTS * threads)).clamp(LEAST_PART, ROUND / PARTS);
    let sections = sections(texts, part_size, encoder);
    let mut own = pool.lease();
    let mut outputs = Vec::new();
    for parts in rounds(&sections, part_size, ROUND * threads) {
        let round = Round {
            pool,
            sections: &sections,
            parts: &parts,
            left: AtomicU64::new((parts.len() as u64) << 32),
            outputs: Mutex::new(outputs),
        };
        let work = || round.run_worker(encoder);
        let lead = || round.run_caller(&mut own, &mut rows.ids, encoder);
        let wake = total >= BYTES_A_WOKEN_THREAD * threads;
        threads::run(threads - 1, wake, &work, lead)?;
        outputs = round.collect(&mut rows.ids)?;
    }
    let mut end = 0;
    for section in sections {
        end += section.count.into_inner();
        if section.ends_text {
            rows.ends.push(end);
        }
    }
    Ok(rows)
}

/// A text, or a section of a long one.
struct Section<'a> {
    text: &'a str,
    /// Whether it is the last of its text.
    ends_text: bool,
    /// The number of its ids, once it is encoded.
    count: AtomicUsize,
}

impl AsRef<str> for Section<'_> {
    fn as_ref(&self) -> &str {
        self.text
    }
}

/// All texts, long ones in sections of about `size` bytes.
fn sections<'a>(texts: &[&'a str], size: usize, encoder: &impl EncodeText) -> Vec<Section<'a>> {
    let section = |text, ends_text| Section {
        text,
        ends_text,
        count: AtomicUsize::new(0),
    };
    let mut sections = Vec::with_capacity(texts.len());
    for whole in texts {
        let is_long = whole.len() > 2 * size;
        match is_long.then(|| encoder.by_pattern(whole)).flatten() {
            None => sections.push(section(whole, true)),
            Some((_, pattern)) => sections.extend(
                TextCuts::new(pattern, [])
                    .parts(whole, size)
                    .map(|(offset, text)| section(text, offset + text.len() == whole.len())),
            ),
        }
    }
    sections
}

/// Rounds of parts: a part is a run of sections of at least `part_size` bytes, which one thread takes
/// at once; a round is a run of parts of at least `round_size` bytes. The last of each may be smaller.
fn rounds<'a>(
    sections: &'a [Section<'_>],
    part_size: usize,
    round_size: usize,
) -> impl Iterator<Item = Vec<Range<usize>>> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (mut parts, mut size) = (Vec::new(), 0);
        while at < sections.len() && size < round_size {
            let (from, had) = (at, size);
            while at < sections.len() && size - had < part_size {
                size += sections[at].text.len();
                at += 1;
            }
            parts.push(from..at);
        }
        (!parts.is_empty()).then_some(parts)
    })
}

/// The parts that are encoded before the ids are put together.
struct Round<'r, 'p> {
    pool: &'p ScratchPool,
    sections: &'r [Section<'r>],
    /// Ranges of sections.
    parts: &'r [Range<usize>],
    /// The range of parts that nobody has taken: its start in the lower half, its end in the upper.
    left: AtomicU64,
    /// Of workers that are done, in this round or an earlier one.
    outputs: Mutex<Vec<WorkerOutput<'p>>>,
}

/// What one worker encodes with, and the ids of the parts that it has taken.
struct WorkerOutput<'p> {
    scratch: Lease<'p>,
    /// The numbers of the parts, and where the ids of each end in `scratch.ids`.
    parts: Vec<(usize, usize)>,
    /// The part that failed.
    error: Option<(usize, Error)>,
}

impl<'p> Round<'_, 'p> {
    /// Take the first or the last part that is left.
    fn next(&self, last: bool) -> Option<usize> {
        let change = |left: u64| {
            let is_left = u64::from(left as u32) < left >> 32;
            is_left.then(|| if last { left - (1 << 32) } else { left + 1 })
        };
        let relaxed = Ordering::Relaxed;
        let left = self.left.fetch_update(relaxed, relaxed, change).ok()?;
        Some(if last {
            (left >> 32) as usize - 1
        } else {
            left as u32 as usize
        })
    }

    fn encode_part(
        &self,
        part: usize,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
        encoder: &impl EncodeText,
    ) -> Result<()> {
        let sections = &self.sections[self.parts[part].clone()];
        let mut had = ids.len();
        encode_each(encoder, scratch, sections, ids, |section, end| {
            section.count.store(end - had, Ordering::Relaxed);
            had = end;
        })
    }

    /// Take parts from the front until none is left.
    fn run_caller(
        &self,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
        encoder: &impl EncodeText,
    ) -> Result<()> {
        while let Some(part) = self.next(false) {
            let encoded = self
                .encode_part(part, scratch, ids, encoder)
                .and_then(|()| threads::check_interrupt());
            if encoded.is_err() {
                // Nothing that is left, or that a worker has, comes before this part.
                self.left.store(0, Ordering::Relaxed);
                return encoded;
            }
        }
        Ok(())
    }

    /// Take parts from the back until none is left.
    fn run_worker(&self, encoder: &impl EncodeText) {
        let Some(mut part) = self.next(true) else {
            return;
        };
        let output = lock(&self.outputs).pop();
        let mut output = output.unwrap_or_else(|| WorkerOutput {
            scratch: self.pool.lease(),
            parts: Vec::new(),
            error: None,
        });
        let mut ids = std::mem::take(&mut output.scratch.ids);
        if output.parts.is_empty() {
            // An error may have left some.
            ids.clear();
        }
        loop {
            if let Err(error) = self.encode_part(part, &mut output.scratch, &mut ids, encoder) {
                // The others go on: a part before this one may fail too, and its error counts.
                output.error = Some((part, error));
                break;
            }
            output.parts.push((part, ids.len()));
            let Some(next) = self.next(true) else {
                break;
            };
            part = next;
        }
        output.scratch.ids = ids;
        lock(&self.outputs).push(output);
    }

    /// Append the ids of the workers' parts to `ids`, in order, and empty their outputs.
    ///
    /// # Errors
    /// That of the first part that failed.
    fn collect(self, ids: &mut Vec<u32>) -> Result<Vec<WorkerOutput<'p>>> {
        let mut outputs = into_inner(self.outputs);
        let errors = outputs.iter_mut().filter_map(|output| output.error.take());
        if let Some((_, error)) = errors.min_by_key(|&(part, _)| part) {
            return Err(error);
        }
        let mut encoded = Vec::with_capacity(self.parts.len());
        for output in &outputs {
            let mut start = 0;
            for &(part, end) in &output.parts {
                encoded.push((part, &output.scratch.ids[start..end]));
                start = end;
            }
        }
        encoded.sort_unstable_by_key(|&(part, _)| part);
        for (_, part) in encoded {
            ids.extend_from_slice(part);
        }
        for output in &mut outputs {
            output.parts.clear();
            output.scratch.clear_ids();
        }
        Ok(outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretokenize::Pretokenizer;
    use crate::vocab::Vocab;

    /// An id for each byte; an error with the text from a `!` on, a panic at a `?`.
    fn encode(_: &mut Scratch, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        assert!(!text.contains('?'), "a question mark");
        ids.extend(text.bytes().map(u32::from));
        let broken = text
            .find('!')
            .map(|at| text[at..].chars().take(4).collect());
        broken.map_or(Ok(()), |mark: String| Err(Error::invalid(mark)))
    }

    /// [`encode`]; by a pattern, too, where a text begins with an odd byte and nothing goes wrong.
    struct Bytes(Vocab, Pretokenizer);

    impl EncodeText for Bytes {
        fn append_ids(&self, scratch: &mut Scratch, text: &str, ids: &mut Vec<u32>) -> Result<()> {
            encode(scratch, text, ids)
        }

        fn by_pattern(&self, text: &str) -> Option<(&Vocab, &Pretokenizer)> {
            let is_odd = text.bytes().next().is_none_or(|byte| byte % 2 == 1);
            let is_plain = is_odd && !text.contains(['!', '?']);
            is_plain.then_some((&self.0, &self.1))
        }
    }

    fn encode_with(pool: &ScratchPool, texts: &[String], threads: usize) -> Result<Rows> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let bytes = (0..=255u8).map(|byte| (vec![byte], u32::from(byte)));
        let pattern = Pretokenizer::new("gpt2")?;
        let encoder = Bytes(Vocab::from_ranks(bytes)?, pattern);
        encode_texts(pool, &texts, threads, &encoder)
    }

    fn encode_all(texts: &[String], threads: usize) -> Result<Rows> {
        encode_with(&ScratchPool::default(), texts, threads)
    }

    /// Texts of these lengths, which begin with "a" or another odd byte if they are even.
    fn texts(lengths: impl IntoIterator<Item = usize>) -> Vec<String> {
        let letter = |i, len| match i % 50 {
            49 => ' ',
            _ => char::from(b'a' + ((i ^ len) % 26) as u8),
        };
        let text = |len| (0..len).map(|i| letter(i, len)).collect();
        lengths.into_iter().map(text).collect()
    }

    #[test]
    fn rows_do_not_depend_on_the_threads() {
        let small = || (0..3000_usize).map(|i| i * i % 37);
        for lengths in [
            vec![],
            vec![0; 10],
            vec![100_000],
            vec![100_001, 0],
            small().collect(),
            (0..400).map(|i| i * i % 4001).collect(),
            // Several rounds, of few long texts and of many short ones.
            vec![0, 9_000_000, 7, 1_234_567, 0],
            small()
                .chain([3_000_000, 3_000_001])
                .chain(small())
                .collect(),
        ] {
            let texts = texts(lengths);
            let ids = |text: &String| text.bytes().map(u32::from).collect::<Vec<_>>();
            for threads in [1, 2, 3, 8] {
                let rows = encode_all(&texts, threads).unwrap();
                assert!(rows.iter().eq(texts.iter().map(ids)), "{threads}");
            }
        }
    }

    #[test]
    fn the_first_error_of_several() {
        for places in [[3, 9], [50, 51], [90, 99], [0, 99]] {
            for threads in [1, 2, 8] {
                let mut texts = texts(vec![20_000; 100]);
                for at in places {
                    texts[at] += &format!("!{at:03}");
                }
                let error = encode_all(&texts, threads).unwrap_err();
                assert_eq!(error.to_string(), format!("!{:03}", places[0]));
            }
        }
    }

    #[test]
    fn ids_before_an_error_are_dropped() {
        let (pool, clean) = (ScratchPool::default(), texts(vec![5000; 60]));
        let mut broken = clean.clone();
        broken[59] += "!";
        for texts in [&broken, &clean, &broken, &clean] {
            let rows = encode_with(&pool, texts, 2);
            let count = rows.ok().map(|rows| rows.ids.len());
            assert_eq!(count, (!texts[59].contains('!')).then_some(60 * 5000));
        }
    }

    #[test]
    #[should_panic(expected = "a question mark")]
    fn a_panic_leaves_no_thread_waiting() {
        let mut texts = texts(vec![20_000; 100]);
        texts[97] += "?";
        let _ = encode_all(&texts, 8);
    }
}
