//! What pieces consist of before they are merged side by side.

use super::batch::{Batch, Pieces};
use super::piece::{has_long_characters, PieceEncoder};
use crate::error::Result;
use crate::simd::Lanes;
use crate::vocab::{CharStarts, SmallMerge, Vocab, MOST_PARTS};

/// What the pieces of a vocabulary consist of before merging.
pub(super) trait PieceStart: Copy {
    /// Start merging the piece `text[start..start + len]`; `None` if it has too many parts. One of up to
    /// `N` bytes has not.
    ///
    /// # Errors
    /// `Invalid` for a text that the vocabulary cannot hold.
    fn small<S: Lanes, const N: usize>(
        self,
        text: &[u8],
        start: usize,
        len: usize,
    ) -> Result<Option<SmallMerge<S, N>>>;

    /// Whether [`Self::small`] may take pieces of more than `N` bytes.
    fn may_shorten(self) -> bool;

    /// [`PieceEncoder::encode`] on the level `S`.
    ///
    /// # Errors
    /// As there.
    fn encode<S: Lanes>(
        self,
        encoder: &mut PieceEncoder,
        piece: &[u8],
        ids: &mut Vec<u32>,
    ) -> Result<()>;
}

/// Pieces of a vocabulary of bytes.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    vocab: &'a Vocab,
    /// What characters become alone, where some piece has one of three bytes or more and it pays.
    char_starts: Option<&'a CharStarts>,
}

impl<'a> Bytes<'a> {
    /// For merging the pieces of a batch that the caches lack; `missing`: how many of each kind.
    #[inline(always)]
    pub(super) fn new(
        vocab: &'a Vocab,
        batch: &Batch,
        pieces: Pieces<'_>,
        missing: [usize; 3],
    ) -> Self {
        let wanted = || {
            let lists = batch.missing.iter().zip(missing);
            let all = lists.flat_map(|(list, count)| &list[..count]);
            all.filter(|&&j| has_long_characters(pieces.get(j as usize)))
                .count()
        };
        let may_pay = has_long_characters(pieces.all());
        let char_starts = may_pay.then(|| vocab.char_starts_if_worth(wanted));
        Self {
            vocab,
            char_starts: char_starts.flatten(),
        }
    }
}

impl PieceStart for Bytes<'_> {
    #[inline(always)]
    fn small<S: Lanes, const N: usize>(
        self,
        text: &[u8],
        start: usize,
        len: usize,
    ) -> Result<Option<SmallMerge<S, N>>> {
        let (vocab, piece) = (self.vocab, &text[start..start + len]);
        if let Some(starts) = self.char_starts.filter(|_| has_long_characters(piece)) {
            let pairs = vocab.pairs();
            let mut numbers = [0; 32 + MOST_PARTS];
            let room = &mut numbers[..N + MOST_PARTS];
            let piece = (text, start..start + len);
            if let Some(count) = starts.write(pairs, piece, room).filter(|&count| count <= N) {
                let mut first = [0; N];
                first.copy_from_slice(&numbers[..N]);
                return Ok(Some(SmallMerge::waiting(first, count)));
            }
        }
        if len > N {
            return Ok(None);
        }
        let byte_pairs = vocab.byte_pairs();
        let byte_pair = |a, b| byte_pairs[usize::from(a) << 8 | usize::from(b)];
        let bytes = padded(text, start, len);
        Ok(Some(SmallMerge::new(bytes, len, byte_pair)))
    }

    #[inline(always)]
    fn may_shorten(self) -> bool {
        self.char_starts.is_some()
    }

    #[inline(always)]
    fn encode<S: Lanes>(
        self,
        encoder: &mut PieceEncoder,
        piece: &[u8],
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        encoder.encode_with::<S>(self.vocab, piece, ids)
    }
}

/// `N` bytes from `text[start]` on. The first `len` are the piece; the others may be anything.
#[inline(always)]
fn padded<const N: usize>(text: &[u8], start: usize, len: usize) -> [u8; N] {
    match text[start..].first_chunk::<N>() {
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; N];
            bytes[..len].copy_from_slice(&text[start..start + len]);
            bytes
        }
    }
}
