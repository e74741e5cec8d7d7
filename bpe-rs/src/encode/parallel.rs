//! Many texts at once, on several threads.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::scratch_pool::Lease;
use super::{Pool, Scratch};
use crate::error::{Error, Result};
use crate::pretokenize::check_length;
use crate::threads;

/// Bytes of text that are worth another thread's attention, if it is awake.
const SHARE: usize = 16 << 10;
/// The same, if it must be woken or started.
const WAKE: usize = 32 << 10;
/// Bytes of a part at least: the last one that somebody begins is what the others wait for.
const PART: usize = 4 << 10;
/// Bytes for each thread in a round, after which what the helpers have found is put in its place.
const ROUND: usize = 1 << 20;

/// The ids of many texts, one after the other.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// All ids.
    pub ids: Vec<u32>,
    /// Where each text's ids end.
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

/// A stretch of text that is encoded in one go: of text number `row`, or its end.
struct Piece<'a> {
    row: usize,
    text: &'a str,
    /// How many ids it has, once it is encoded.
    count: AtomicUsize,
}

/// Encode `texts` on up to `threads` threads. `cut(text, from, near)` gives a place after `from`
/// and not far from `near` where a text may be cut without changing its ids, if there is one;
/// `encode` appends the ids of a text.
///
/// Errors: `Invalid` for a text of 4 GiB or more; those of `encode`, of several texts' the first
/// one's.
pub fn encode_batch(
    pool: &Pool,
    texts: &[&str],
    threads: usize,
    cut: impl Fn(&str, usize, usize) -> Option<usize>,
    encode: impl Fn(&mut Scratch, &str, &mut Vec<u32>) -> Result<()> + Sync,
) -> Result<Rows> {
    // Whether cut for several threads or not.
    texts.iter().try_for_each(|text| check_length(text))?;
    let total: usize = texts.iter().map(|text| text.len()).sum();
    let mut rows = Rows {
        ids: Vec::with_capacity(total / 3 + 64),
        ends: Vec::with_capacity(texts.len()),
    };
    // A thread that has little to do costs more than it brings.
    let threads = threads.min(total / SHARE).max(1);
    if threads == 1 {
        return pool.with(|scratch| {
            for text in texts {
                encode(scratch, text, &mut rows.ids)?;
                rows.ends.push(rows.ids.len());
            }
            Ok(rows)
        });
    }
    let most = (total / (16 * threads)).clamp(PART, ROUND / 16);
    let pieces = pieces(texts, most, cut);
    let mut own = pool.lease();
    // What helpers know and find.
    let mut shares = Vec::new();
    for parts in rounds(&pieces, most, threads) {
        let round = Round::new(pool, &pieces, &parts, shares);
        let help = || round.help(&encode);
        let lead = || round.lead(&mut own, &mut rows.ids, &encode);
        threads::run(threads - 1, total >= WAKE * threads, &help, lead)?;
        shares = round.collect(&mut rows.ids)?;
    }
    let mut counts = vec![0; texts.len()];
    for piece in pieces {
        counts[piece.row] += piece.count.into_inner();
    }
    rows.ends.extend(counts.iter().scan(0, |end, &count| {
        *end += count;
        Some(*end)
    }));
    Ok(rows)
}

/// The texts, long ones in pieces of about `most` bytes.
fn pieces<'a>(
    texts: &[&'a str],
    most: usize,
    cut: impl Fn(&str, usize, usize) -> Option<usize>,
) -> Vec<Piece<'a>> {
    let mut pieces = Vec::with_capacity(texts.len());
    let mut add = |row, text| {
        let count = AtomicUsize::new(0);
        pieces.push(Piece { row, text, count });
    };
    for (row, text) in texts.iter().enumerate() {
        let mut from = 0;
        while text.len() - from > 2 * most {
            let (mut searched, mut near) = (from, from + most);
            let end = loop {
                match cut(text, searched, near) {
                    None if near + most < text.len() => {
                        searched = near - 1;
                        near += most;
                    }
                    end => break end,
                }
            };
            let Some(end) = end else {
                break;
            };
            add(row, &text[from..end]);
            from = end;
        }
        add(row, &text[from..]);
    }
    pieces
}

/// Runs of pieces of at least `most` bytes, as many as make a round for `threads`.
fn rounds<'a>(
    pieces: &'a [Piece<'_>],
    most: usize,
    threads: usize,
) -> impl Iterator<Item = Vec<Range<usize>>> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (mut parts, mut size) = (Vec::new(), 0);
        while at < pieces.len() && size < ROUND * threads {
            let (from, had) = (at, size);
            while at < pieces.len() && size - had < most {
                size += pieces[at].text.len();
                at += 1;
            }
            parts.push(from..at);
        }
        (!parts.is_empty()).then_some(parts)
    })
}

/// Parts that are encoded from both ends: by the caller from the front, its ids at once where they
/// belong, by helpers from the back, into memory of their own.
struct Round<'r, 'p> {
    pool: &'p Pool,
    pieces: &'r [Piece<'r>],
    parts: &'r [Range<usize>],
    /// The first part that is left, and above that the end of those that are.
    left: AtomicU64,
    /// Of helpers that are not at work.
    shares: Mutex<Vec<Share<'p>>>,
}

/// A helper's buffers and caches, with the ids of what it has taken.
struct Share<'p> {
    scratch: Lease<'p>,
    /// Parts, and where their ids end in `scratch.ids`.
    found: Vec<(usize, usize)>,
    error: Option<(usize, Error)>,
}

impl<'r, 'p> Round<'r, 'p> {
    fn new(
        pool: &'p Pool,
        pieces: &'r [Piece<'r>],
        parts: &'r [Range<usize>],
        shares: Vec<Share<'p>>,
    ) -> Self {
        Self {
            pool,
            pieces,
            parts,
            left: AtomicU64::new((parts.len() as u64) << 32),
            shares: Mutex::new(shares),
        }
    }

    /// The next part from the front or from the back.
    fn next(&self, back: bool) -> Option<usize> {
        let change = |left: u64| {
            let is_left = u64::from(left as u32) < left >> 32;
            is_left.then(|| if back { left - (1 << 32) } else { left + 1 })
        };
        let done = Ordering::Relaxed;
        let left = self.left.fetch_update(done, done, change).ok()?;
        Some(if back {
            (left >> 32) as usize - 1
        } else {
            left as u32 as usize
        })
    }

    fn part(
        &self,
        part: usize,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
        encode: impl Fn(&mut Scratch, &str, &mut Vec<u32>) -> Result<()>,
    ) -> Result<()> {
        self.pieces[self.parts[part].clone()]
            .iter()
            .try_for_each(|piece| {
                let had = ids.len();
                encode(scratch, piece.text, ids)?;
                piece.count.store(ids.len() - had, Ordering::Relaxed);
                Ok(())
            })
    }

    /// The caller's share.
    fn lead(
        &self,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
        encode: impl Fn(&mut Scratch, &str, &mut Vec<u32>) -> Result<()>,
    ) -> Result<()> {
        while let Some(part) = self.next(false) {
            let done = self.part(part, scratch, ids, &encode);
            if done.is_err() {
                // Whatever others find comes later.
                self.left.store(0, Ordering::Relaxed);
                return done;
            }
        }
        Ok(())
    }

    /// A helper's share.
    fn help(&self, encode: impl Fn(&mut Scratch, &str, &mut Vec<u32>) -> Result<()>) {
        let Some(mut part) = self.next(true) else {
            return;
        };
        let share = self.shares().pop();
        let mut share = share.unwrap_or_else(|| Share {
            scratch: self.pool.lease(),
            found: Vec::new(),
            error: None,
        });
        let mut ids = std::mem::take(&mut share.scratch.ids);
        if share.found.is_empty() {
            // An error may have left some.
            ids.clear();
        }
        loop {
            if let Err(error) = self.part(part, &mut share.scratch, &mut ids, &encode) {
                // What comes before may have an error of its own, which others will meet.
                share.error = Some((part, error));
                break;
            }
            share.found.push((part, ids.len()));
            let Some(next) = self.next(true) else {
                break;
            };
            part = next;
        }
        share.scratch.ids = ids;
        self.shares().push(share);
    }

    fn shares(&self) -> MutexGuard<'_, Vec<Share<'p>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Append what the helpers have found to `ids`, in order.
    fn collect(self, ids: &mut Vec<u32>) -> Result<Vec<Share<'p>>> {
        let shares = self.shares.into_inner();
        let mut shares = shares.unwrap_or_else(PoisonError::into_inner);
        let errors = shares.iter_mut().filter_map(|share| share.error.take());
        if let Some((_, error)) = errors.min_by_key(|&(part, _)| part) {
            return Err(error);
        }
        let mut found = Vec::with_capacity(self.parts.len());
        for share in &shares {
            let mut start = 0;
            for &(part, end) in &share.found {
                found.push((part, &share.scratch.ids[start..end]));
                start = end;
            }
        }
        found.sort_unstable_by_key(|&(part, _)| part);
        // On one thread: on all it took no less time.
        found
            .iter()
            .for_each(|(_, words)| ids.extend_from_slice(words));
        for share in &mut shares {
            share.found.clear();
            share.scratch.forget_ids();
        }
        Ok(shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte's number; an error that tells its text at a `!`, a panic at a `?`.
    fn encode(_: &mut Scratch, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        assert!(!text.contains('?'), "asked");
        ids.extend(text.bytes().map(u32::from));
        match text.find('!') {
            Some(at) => Err(Error::invalid(
                text[at..].chars().take(4).collect::<String>(),
            )),
            None => Ok(()),
        }
    }

    fn batch(texts: &[String], threads: usize) -> Result<Rows> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        // Odd texts are in one piece.
        let cut = |text: &str, _, near| text.len().is_multiple_of(2).then_some(near);
        encode_batch(&Pool::default(), &texts, threads, cut, encode)
    }

    /// Texts of these lengths.
    fn texts(lengths: impl IntoIterator<Item = usize>) -> Vec<String> {
        let letters = |len| {
            (0..len)
                .map(|i| char::from(b'a' + ((i ^ len) % 26) as u8))
                .collect()
        };
        lengths.into_iter().map(letters).collect()
    }

    #[test]
    fn rows_whatever_the_threads() {
        let small = || (0..3000_usize).map(|i| i * i % 37);
        for lengths in [
            vec![],
            vec![0; 10],
            vec![100_000],
            vec![100_001, 0],
            small().collect(),
            (0..400).map(|i| i * i % 4001).collect(),
            // Several rounds, of few long texts and of many.
            vec![0, 9_000_000, 7, 1_234_567, 0],
            small()
                .chain([3_000_000, 3_000_001])
                .chain(small())
                .collect(),
        ] {
            let texts = texts(lengths);
            let want = batch(&texts, 1).unwrap();
            assert!(want.iter().eq(texts
                .iter()
                .map(|text| text.bytes().map(u32::from).collect::<Vec<_>>())));
            for threads in [2, 3, 8] {
                assert!(batch(&texts, threads).unwrap() == want, "{threads}");
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
                let error = batch(&texts, threads).unwrap_err();
                assert_eq!(error.to_string(), format!("!{:03}", places[0]));
            }
        }
    }

    #[test]
    fn what_an_error_left_is_forgotten() {
        let (pool, clean) = (Pool::default(), texts(vec![5000; 60]));
        let mut broken = clean.clone();
        broken[59] += "!";
        for texts in [&broken, &clean, &broken, &clean] {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let rows = encode_batch(&pool, &texts, 2, |_, _, _| None, encode);
            if let Ok(rows) = rows {
                assert_eq!(rows.ids.len(), 60 * 5000);
            } else {
                assert!(texts[59].contains('!'));
            }
        }
    }

    #[test]
    #[should_panic(expected = "asked")]
    fn a_panic_leaves_nobody_waiting() {
        let mut texts = texts(vec![20_000; 100]);
        texts[97] += "?";
        let _ = batch(&texts, 8);
    }
}
