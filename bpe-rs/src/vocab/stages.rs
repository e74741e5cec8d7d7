//! Vocabularies with tokens of several words (SuperBPE), whose pieces are whole lines: merging in two
//! stages, so that a cache of words serves them, too.
//!
//! Let the first stage be the merges with the smallest numbers, before the first one whose token has the
//! end of a word and then a space in it. Where parts have smaller numbers than what they merge into, as
//! training makes them, no merge of the second stage makes one of the first possible: its result
//! has a larger number than every part of the first stage. So a piece merges as by the first stage
//! until that is done, and then by the second, whose symbols are the tokens of the first.
//!
//! No merge of the first stage crosses a place between two bytes that are neighbours in none of its
//! tokens, and none of the second a place between two symbols that are neighbours in none of its: what
//! lies between merges as it would alone. The places of the first kind are those between words.

use std::ops::Range;

use super::pairs::PairTable;
use super::symbols::Neighbours;
use super::vocabulary::Vocab;

/// The first stage must have one in so many merges, and the second, too: otherwise its words are too
/// short or what they become too rarely merges further.
const LEAST_SHARE: usize = 64;

/// The two stages of a vocabulary of bytes.
#[derive(Debug)]
pub(crate) struct Stages {
    /// The first stage. Its ids are the merge numbers.
    words: Vocab,
    /// For each byte the bytes that follow it in a token of the first stage, as bits.
    followers: Box<[[u64; 4]; 256]>,
    /// The symbols that are neighbours in a token of the second stage.
    neighbours: Neighbours,
}

impl Stages {
    /// `None` where a second stage is missing or is not worth a step of its own.
    pub(super) fn new(vocab: &Vocab) -> Option<Self> {
        let looks_up_pieces = vocab.whole_pieces && !vocab.unreachable.is_empty();
        if vocab.packed.is_some() || vocab.symbols.is_some() || looks_up_pieces {
            return None;
        }
        let bytes_of = |number| vocab.id(number).and_then(|id| vocab.tokens().get(id));
        let crosses = |number| bytes_of(number).is_some_and(has_end_of_word);
        let second = vocab.pairs().iter().map(|(_, _, number)| number);
        let second = second.filter(|&number| crosses(number)).min()?;
        let mut merges: Vec<_> = vocab.pairs().iter().collect();
        let is_closed = merges.iter().all(|&(l, r, number)| l.max(r) < number);
        merges.sort_unstable_by_key(|merge| merge.2);
        let (first, rest) = merges.split_at(merges.partition_point(|merge| merge.2 < second));
        if !is_closed || first.len().min(rest.len()) <= merges.len() / LEAST_SHARE {
            return None;
        }
        let mut pairs = PairTable::with_capacity(first.len());
        let mut followers = Box::new([[0; 4]; 256]);
        for &(left, right, number) in first {
            pairs.insert(left, right, number);
            for two in bytes_of(number).unwrap_or_default().windows(2) {
                let after = usize::from(two[1]);
                followers[usize::from(two[0])][after / 64] |= 1 << (after % 64);
            }
        }
        // The first and the last symbol of each token.
        let mut ends: Vec<(u32, u32)> = (0..vocab.ids.len() as u32).map(|n| (n, n)).collect();
        let mut neighbours = Neighbours::new(rest.len());
        for &(left, right, number) in rest {
            let (left, right) = (ends[left as usize], ends[right as usize]);
            neighbours.insert(left.1, right.0);
            ends[number as usize] = (left.0, right.1);
        }
        let words = Vocab {
            ids: (0..second).map(Some).collect(),
            pairs: pairs.into(),
            ..Vocab::empty()
        };
        Some(Self {
            words,
            followers,
            neighbours,
        })
    }

    /// The first stage, whose ids are merge numbers.
    pub(crate) fn words(&self) -> &Vocab {
        &self.words
    }

    /// Append to `ends` the ends of parts of `text[piece]` that the first stage merges independently,
    /// until the piece ends or there are more than `most`; returns the last end.
    #[inline]
    pub(crate) fn cut(
        &self,
        text: &[u8],
        piece: Range<usize>,
        most: usize,
        ends: &mut Vec<u32>,
    ) -> usize {
        const BLOCK: usize = 64;
        let mut at = piece.start + 1;
        while at < piece.end {
            let end = piece.end.min(at + BLOCK);
            let mut cuts = 0u64;
            for (offset, two) in text[at - 1..end].windows(2).enumerate() {
                let (before, after) = (usize::from(two[0]), usize::from(two[1]));
                let inside = self.followers[before][after / 64] >> (after % 64) & 1;
                cuts |= (inside ^ 1) << offset;
            }
            while cuts != 0 {
                ends.push(at as u32 + cuts.trailing_zeros());
                cuts &= cuts - 1;
            }
            if ends.len() > most {
                ends.truncate(most + 1);
                return ends[most] as usize;
            }
            at = end;
        }
        ends.push(piece.end as u32);
        piece.end
    }

    /// False if no merge of the second stage crosses the place between these two symbols.
    #[inline(always)]
    pub(crate) fn may_join(&self, left: u32, right: u32) -> bool {
        self.neighbours.may_have(left, right)
    }
}

/// Whether something other than white space stands before a space.
fn has_end_of_word(token: &[u8]) -> bool {
    let spaces = memchr::memchr_iter(b' ', token);
    spaces
        .filter_map(|at| token[..at].utf8_chunks().last()?.valid().chars().last())
        .any(|before| !before.is_whitespace())
}
