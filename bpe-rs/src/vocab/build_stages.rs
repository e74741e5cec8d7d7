//! Whether a vocabulary merges in two stages, and which they are.

use super::ids::Ids;
use super::pairs::PairTable;
use super::stages::Stages;
use super::symbols::Neighbours;
use super::vocabulary::Vocab;

/// The first stage must have one in so many merges, and the second, too: otherwise its words are too
/// short or what they become too rarely merges further.
const LEAST_SHARE: usize = 64;

impl Vocab {
    /// The two stages of a vocabulary with tokens of several words; `None` for any other.
    #[inline(always)]
    pub(crate) fn stages(&self) -> Option<&Stages<Vocab>> {
        let stages = self.stages.get_or_init(|| stages_of(self).map(Box::new));
        stages.as_deref()
    }
}

/// `None` where a second stage is missing or is not worth a step of its own.
fn stages_of(vocab: &Vocab) -> Option<Stages<Vocab>> {
    let looks_up_pieces = vocab.whole_pieces && !vocab.unreachable.is_empty();
    if vocab.packed.is_some() || vocab.symbols.is_some() || looks_up_pieces {
        return None;
    }
    let bytes_of = |number| vocab.id(number).and_then(|id| vocab.tokens().get(id));
    let crosses = |number| bytes_of(number).is_some_and(has_end_of_word);
    // Most vocabularies have no such token. That is seen faster by going through the tokens, which lie
    // one after the other in memory, than through the merges.
    if !(0..vocab.ids.len() as u32).any(crosses) {
        return None;
    }
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
        ids: Ids::following(Vec::new(), second as usize, u32::MAX),
        pairs: pairs.into(),
        ..Vocab::empty()
    };
    Some(Stages {
        words,
        followers,
        neighbours,
    })
}

/// Whether something other than white space stands before a space.
fn has_end_of_word(token: &[u8]) -> bool {
    let spaces = memchr::memchr_iter(b' ', token);
    spaces
        .filter_map(|at| token[..at].utf8_chunks().last()?.valid().chars().last())
        .any(|before| !before.is_whitespace())
}
