//! Merging pieces of texts that are not bytes before merging: characters and what stands for them.

use std::mem::take;

use super::piece::PieceEncoder;
use super::starts::PieceStart;
use crate::error::{Error, Result};
use crate::simd::Lanes;
use crate::vocab::{SmallMerge, Symbols, Vocab, MAX_KEPT_PARTS};

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
        let piece = as_text(piece)?;
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

/// Pieces of a vocabulary whose texts are not bytes before merging.
#[derive(Clone, Copy)]
pub(super) struct Characters<'a>(pub(super) &'a Vocab, pub(super) &'a Symbols);

impl PieceStart for Characters<'_> {
    #[inline(always)]
    fn small<S: Lanes, const N: usize>(
        self,
        text: &[u8],
        start: usize,
        len: usize,
    ) -> Result<Option<SmallMerge<S, N>>> {
        let Self(vocab, symbols) = self;
        if len > N {
            return Ok(None);
        }
        let (mut numbers, mut count) = ([0; N], 0);
        // At most one symbol for each byte.
        symbols.each(as_text(&text[start..start + len])?, |number, _| {
            numbers[count] = number;
            count += 1;
        })?;
        if count == 0 {
            return Ok(Some(SmallMerge::empty()));
        }
        let pairs = vocab.pairs();
        let pair = |a, b| pairs.get::<S>(a, b);
        Ok(Some(SmallMerge::new(numbers, count, pair)))
    }

    #[inline(always)]
    fn may_shorten(self) -> bool {
        false
    }

    #[inline(always)]
    fn encode<S: Lanes>(
        self,
        encoder: &mut PieceEncoder,
        piece: &[u8],
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        encoder.encode_symbols::<S>(self.0, self.1, piece, ids)
    }
}

fn as_text(piece: &[u8]) -> Result<&str> {
    std::str::from_utf8(piece).map_err(|_| {
        Error::invalid("expected a text for a vocabulary of characters, got other bytes")
    })
}
