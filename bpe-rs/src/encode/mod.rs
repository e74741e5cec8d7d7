//! Pieces to ids.

mod batch;
mod cache;
mod keys;
mod merge;
mod output;
mod parallel;
mod scratch_pool;
mod short_table;
#[cfg(test)]
mod tests;
mod value;

use batch::{Batch, BATCH};
use cache::Cache;
pub use cache::DEFAULT_CACHE_BYTES;
pub use parallel::{encode_batch, Rows};
pub use scratch_pool::{Lease, Pool};

use crate::error::{Error, Result};
use crate::pretokenize::{Pretokenizer, Scanner};
use crate::simd::{Lanes, Portable};
use crate::vocab::{Merger, MissingByte, Vocab, MAX_KEPT_PARTS};

/// Buffers and caches of one thread and one vocabulary, reusable.
pub struct Scratch {
    scanner: Scanner,
    words: Words,
    /// Memory for ids that are on their way elsewhere.
    ids: Vec<u32>,
    limit: usize,
    /// Which of several threads had it last.
    thread: usize,
}

/// More memory for ids than this is not kept.
const KEPT_IDS: usize = 1 << 18;

/// Everything but the scanner.
struct Words {
    batch: Box<Batch>,
    cache: Cache,
    pieces: PieceEncoder,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scratch({} bytes)", self.cache_bytes())
    }
}

impl Scratch {
    /// Empty caches that may grow to about `cache_limit` bytes.
    pub fn new(cache_limit: usize) -> Self {
        let cache = Cache::new(cache_limit);
        let words = Words {
            batch: Batch::new(),
            cache,
            pieces: PieceEncoder::default(),
        };
        Self {
            scanner: Scanner::new(),
            words,
            limit: cache_limit,
            thread: 0,
            ids: Vec::new(),
        }
    }

    /// Pieces that the caches hold.
    fn pieces(&self) -> usize {
        self.words.cache.pieces()
    }

    /// Run `work` with memory for ids, which is empty.
    pub fn with_ids<T>(&mut self, work: impl FnOnce(&mut Self, &mut Vec<u32>) -> T) -> T {
        let mut ids = std::mem::take(&mut self.ids);
        ids.clear();
        let result = work(self, &mut ids);
        self.ids = ids;
        result
    }

    /// Give up the memory for ids, but for some.
    fn forget_ids(&mut self) {
        self.ids.clear();
        self.ids.shrink_to(KEPT_IDS);
    }

    /// What [`Self::new`] was told.
    fn cache_limit(&self) -> usize {
        self.limit
    }

    /// The encoder of single pieces, which uses no caches.
    pub fn piece_encoder(&mut self) -> &mut PieceEncoder {
        &mut self.words.pieces
    }

    /// Bytes that the caches take now.
    pub fn cache_bytes(&self) -> usize {
        self.words.cache.size()
    }
}

/// Append the ids of `text`, special tokens as plain text.
///
/// Errors: `Pattern` when the regex engine gives up, `Invalid` for a byte without a token or a
/// text of 4 GiB or more.
pub fn encode_into(
    vocab: &Vocab,
    pattern: &Pretokenizer,
    text: &str,
    scratch: &mut Scratch,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let Scratch { scanner, words, .. } = scratch;
    each_stretch(pattern, scanner, text, |base, bounds| {
        words.each_batch(
            vocab,
            &text.as_bytes()[base..],
            bounds,
            |batch, cache, count| {
                output::write(&batch.values[..count], &cache.arena, ids);
            },
        )
    })
}

/// How many ids `text` has; `None` as soon as there are more than `limit`.
///
/// Errors: as [`encode_into`].
pub fn count(
    vocab: &Vocab,
    pattern: &Pretokenizer,
    text: &str,
    limit: usize,
    scratch: &mut Scratch,
) -> Result<Option<usize>> {
    let Scratch { scanner, words, .. } = scratch;
    let mut total = 0;
    let counted = each_stretch(pattern, scanner, text, |base, bounds| {
        words.each_batch(
            vocab,
            &text.as_bytes()[base..],
            bounds,
            |batch, _, count| {
                total += batch.values[..count]
                    .iter()
                    .map(|value| value.count())
                    .sum::<usize>();
            },
        )?;
        // An error is the way to stop early.
        if total > limit {
            Err(Error::interrupted())
        } else {
            Ok(())
        }
    });
    if total > limit {
        Ok(None)
    } else {
        counted.map(|()| Some(total))
    }
}

/// Call `work(base, bounds)` for every stretch of pieces, until an error.
fn each_stretch(
    pattern: &Pretokenizer,
    scanner: &mut Scanner,
    text: &str,
    mut work: impl FnMut(usize, &[u32]) -> Result<()>,
) -> Result<()> {
    let Some(rules) = pattern.rules().filter(|_| text.len() <= u32::MAX as usize) else {
        let mut result = Ok(());
        pattern.stretches(text, &mut |base, bounds| {
            if result.is_ok() {
                result = work(base, bounds);
            }
        })?;
        return result;
    };
    scanner.reset();
    let mut at = 0;
    while at < text.len() {
        let end = scanner.next(rules, text, at);
        work(at, scanner.bounds())?;
        at = end;
    }
    Ok(())
}

impl Words {
    /// Look up a stretch's pieces; `done(batch, cache, count)` takes the first `count` values of
    /// each batch.
    #[inline(always)]
    fn each_batch(
        &mut self,
        vocab: &Vocab,
        text: &[u8],
        bounds: &[u32],
        mut done: impl FnMut(&Batch, &Cache, usize),
    ) -> Result<()> {
        let Self {
            batch,
            cache,
            pieces,
        } = self;
        let mut from = 0;
        while from + 1 < bounds.len() {
            let to = (from + BATCH).min(bounds.len() - 1);
            batch::look_up(batch, cache, pieces, vocab, text, &bounds[from..=to])?;
            done(batch, cache, to - from);
            cache.keep_bounded();
            from = to;
        }
        Ok(())
    }
}

/// Encodes single pieces by merging: the slow twin of the caches.
#[derive(Debug, Default)]
pub struct PieceEncoder {
    merger: Merger,
    numbers: Vec<u32>,
    ids: Vec<u32>,
}

impl PieceEncoder {
    /// Append the ids of one piece to `ids`.
    ///
    /// Errors: `Invalid` for a byte without a token.
    pub fn encode(&mut self, vocab: &Vocab, piece: &[u8], ids: &mut Vec<u32>) -> Result<()> {
        self.encode_with::<Portable>(vocab, piece, ids)
    }

    /// [`Self::encode`] on the current level.
    #[inline(always)]
    fn encode_with<S: Lanes>(
        &mut self,
        vocab: &Vocab,
        piece: &[u8],
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        if let Some(id) = vocab.whole_piece(piece) {
            ids.push(id);
            return Ok(());
        }
        self.numbers.clear();
        self.merger.merge::<S>(vocab, piece, &mut self.numbers);
        let written = self.ids_of_numbers(vocab, ids);
        if self.numbers.capacity() > MAX_KEPT_PARTS {
            self.numbers = Vec::new();
        }
        written
    }

    /// Append the ids of `self.numbers` to `ids`.
    #[inline(always)]
    fn ids_of_numbers(&self, vocab: &Vocab, ids: &mut Vec<u32>) -> Result<()> {
        for &number in &self.numbers {
            match (vocab.id(number), vocab.missing_byte()) {
                (Some(id), _) | (None, MissingByte::Id(id)) => ids.push(id),
                (None, MissingByte::Skip) => {}
                (None, MissingByte::Error) => {
                    return Err(Error::invalid(format!(
                        "byte 0x{number:02x} has no token in this vocabulary: expected a token \
                         for each of the 256 bytes, or text that needs none of the missing ones"
                    )))
                }
            }
        }
        Ok(())
    }
}
