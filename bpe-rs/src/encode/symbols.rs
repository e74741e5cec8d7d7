//! Merging pieces of texts that are not bytes before merging: characters and what stands for them.

use std::mem::take;

use super::batch::{Batch, Pieces};
use super::cache::{Cache, LONGEST, MEDIUM};
use super::merge::{find, PieceEncoder};
use super::tables::ShortEntry;
use super::BATCH;
use crate::error::{Error, Result};
use crate::simd::Lanes;
use crate::vocab::{Symbols, Vocab, MAX_KEPT_PARTS};

impl PieceEncoder {
    /// [`Self::encode`] for a vocabulary whose texts are not bytes before merging.
    #[inline(always)]
    pub(super) fn encode_symbols<S: Lanes>(
        &mut self,
        vocab: &Vocab,
        symbols: &Symbols,
        piece: &[u8],
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        if let Some(id) = vocab.whole_piece(piece) {
            ids.push(id);
            return Ok(());
        }
        let piece = std::str::from_utf8(piece).map_err(|_| {
            Error::invalid("expected a text for a vocabulary of characters, got other bytes")
        })?;
        let mut numbers = take(&mut self.symbols);
        numbers.clear();
        let made = symbols.each(piece, |number, _| numbers.push(number));
        self.symbols = numbers;
        made?;
        self.numbers.clear();
        if !self.symbols.is_empty() {
            self.merger
                .merge_symbols::<S>(vocab, &self.symbols, &mut self.numbers);
            self.merger.finished()?;
        }
        let written = self.ids_of_numbers(vocab, ids);
        for buffer in [&mut self.numbers, &mut self.symbols] {
            if buffer.capacity() > MAX_KEPT_PARTS {
                *buffer = Vec::new();
            }
        }
        written
    }

    /// The ids of one piece of a text of characters, with the bytes that each stands for.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_with_lengths(
        &mut self,
        vocab: &Vocab,
        piece: &str,
        tokens: &mut Vec<(u32, usize)>,
    ) -> Result<()> {
        let Some(symbols) = vocab.symbols() else {
            return Err(Error::invalid(
                "expected a vocabulary of characters, got one of bytes",
            ));
        };
        if let Some(id) = vocab.whole_piece(piece.as_bytes()) {
            tokens.push((id, piece.len()));
            return Ok(());
        }
        let (mut ends, mut from) = (Vec::new(), 0);
        symbols.cut(piece, 0..piece.len(), usize::MAX, &mut ends);
        let (mut numbers, mut lengths, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        for end in ends {
            numbers.clear();
            lengths.clear();
            starts.clear();
            self.numbers.clear();
            symbols.each(&piece[from..end as usize], |number, length| {
                numbers.push(number);
                lengths.push(length);
            })?;
            from = end as usize;
            self.merger
                .merge_with_starts(vocab, &numbers, &mut self.numbers, &mut starts);
            for (at, &number) in self.numbers.iter().enumerate() {
                let after = starts
                    .get(at + 1)
                    .map_or(lengths.len(), |&start| start as usize);
                let length = lengths[starts[at] as usize..after].iter().sum();
                tokens.extend(vocab.id(number).map(|id| (id, length)));
            }
        }
        Ok(())
    }
}

/// Merge the `missing` pieces of all lengths that the tables lack, where texts are not bytes before
/// merging, and insert those of up to [`LONGEST`] bytes, as [`merge_short`] and [`merge_long`] do.
#[inline(always)]
pub(super) fn merge_symbols<S: Lanes>(
    batch: &mut Batch,
    cache: &mut Cache,
    encoder: &mut PieceEncoder,
    (vocab, symbols): (&Vocab, &Symbols),
    pieces: Pieces<'_>,
    missing: [usize; 3],
) -> Result<()> {
    // The ids of pieces that are not kept come last.
    batch.missing[2][..missing[2]]
        .sort_unstable_by_key(|&j| pieces.get(j as usize).len() > LONGEST);
    cache.arena_kept = usize::MAX;
    for (kind, count) in missing.into_iter().enumerate() {
        for q in 0..count {
            let j = batch.missing[kind][q] as usize % BATCH;
            let piece = pieces.get(j);
            let keep = piece.len() <= LONGEST;
            if keep {
                if let Some(value) = find(batch, cache, pieces, j) {
                    batch.values[j] = value;
                    continue;
                }
            } else {
                cache.arena_kept = cache.arena_kept.min(cache.arena.len());
            }
            let value = encoder.value(piece.len(), &mut cache.arena, |encoder, ids| {
                encoder.encode_symbols::<S>(vocab, symbols, piece, ids)
            })?;
            batch.values[j] = value;
            match (piece.len(), batch.keys[j]) {
                _ if !keep => {}
                (_, key) if key != 0 => cache.short.insert(ShortEntry { key, value }),
                (0..=MEDIUM, _) => cache.medium.insert(batch.wide_keys[j], value),
                _ => cache.insert_long(batch.hashes[j], piece, value),
            }
        }
    }
    cache.arena_kept = cache.arena_kept.min(cache.arena.len());
    Ok(())
}
