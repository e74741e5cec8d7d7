//! Many texts at once, on several threads.

use super::pool::Lease;
use super::{threads, Pool, Scratch};
use crate::error::Result;

/// Bytes of text that are worth another thread's attention.
const PART: usize = 32 << 10;

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
}

/// Encode `texts` on up to `threads` threads. `cut(text, from, near)` gives a place after `from`
/// and not far from `near` where a text may be cut without changing its ids, if there is one;
/// `encode` appends the ids of a text.
///
/// Errors: those of `encode`; of several texts', the first one's.
pub fn encode_batch(
    pool: &Pool,
    texts: &[&str],
    threads: usize,
    cut: impl Fn(&str, usize, usize) -> Option<usize>,
    encode: impl Fn(&mut Scratch, &str, &mut Vec<u32>) -> Result<()> + Sync,
) -> Result<Rows> {
    let total: usize = texts.iter().map(|text| text.len()).sum();
    // A thread that has little to do costs more than it brings.
    let threads = threads.min(total / PART).max(1);
    if threads == 1 {
        let mut rows = Rows {
            ids: Vec::with_capacity(total / 3 + 64),
            ends: Vec::with_capacity(texts.len()),
        };
        return pool.with(|scratch| {
            for text in texts {
                encode(scratch, text, &mut rows.ids)?;
                rows.ends.push(rows.ids.len());
            }
            Ok(rows)
        });
    }
    // Some parts a thread, so that all end at about the same time.
    let most = (total / (8 * threads)).clamp(PART / 4, 1 << 19);
    let parts = parts(texts, most, cut);
    type Part = (Vec<u32>, Vec<(usize, usize)>);
    let work = |scratch: &mut Lease<'_>, (ids, rows): &mut Part, i: usize| {
        ids.clear();
        rows.clear();
        ids.reserve(most / 2);
        for piece in &parts[i] {
            let had = ids.len();
            encode(scratch, piece.text, ids)?;
            rows.push((piece.row, ids.len() - had));
        }
        Ok(())
    };
    let mut all = Vec::with_capacity(total / 3 + 64);
    let mut counts = vec![0; texts.len()];
    let done = |(ids, rows): &mut Part, _| {
        all.extend_from_slice(ids);
        rows.iter().for_each(|&(row, count)| counts[row] += count);
        Ok(())
    };
    threads::in_order(parts.len(), threads, || pool.lease(), work, done)?;
    let ends = counts.iter().scan(0, |end, &count| {
        *end += count;
        Some(*end)
    });
    Ok(Rows {
        ends: ends.collect(),
        ids: all,
    })
}

/// The texts in parts of about `most` bytes, long ones cut.
fn parts<'a>(
    texts: &[&'a str],
    most: usize,
    cut: impl Fn(&str, usize, usize) -> Option<usize>,
) -> Vec<Vec<Piece<'a>>> {
    let (mut parts, mut part, mut size) = (Vec::new(), Vec::new(), 0);
    let mut add = |row: usize, text: &'a str| {
        part.push(Piece { row, text });
        size += text.len();
        if size >= most {
            parts.push(std::mem::take(&mut part));
            size = 0;
        }
    };
    for (row, text) in texts.iter().enumerate() {
        let mut from = 0;
        while text.len() - from > 2 * most {
            let Some(end) = cut(text, from, from + most) else {
                break;
            };
            add(row, &text[from..end]);
            from = end;
        }
        add(row, &text[from..]);
    }
    parts.push(part);
    parts
}
