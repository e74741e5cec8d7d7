//! Counting words and learning merges from them.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};

use super::{split, Form, Merge, Piece};
use crate::error::Result;
use crate::io::Progress;

/// Merges between two calls of the progress callback.
const MERGES_PER_STEP: usize = 64;

/// Words with their counts, in the order in which they were first seen.
#[derive(Clone, Debug, Default)]
pub struct WordCounter {
    index: HashMap<Box<str>, (usize, u64)>,
}

impl WordCounter {
    /// Counts the words of one more text. A word never spans two texts.
    pub fn add(&mut self, text: &str) {
        for word in split(text) {
            let order = self.index.len();
            if let Some((_, count)) = self.index.get_mut(word) {
                *count += 1;
            } else {
                self.index.insert(word.into(), (order, 1));
            }
        }
    }

    /// Number of distinct words.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether no word was seen.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    fn in_order(&self) -> Vec<(&str, u64)> {
        let mut words: Vec<_> = self.index.iter().map(|(w, &(i, n))| (i, &**w, n)).collect();
        words.sort_unstable_by_key(|&(order, _, _)| order);
        words
            .into_iter()
            .map(|(_, word, count)| (word, count))
            .collect()
    }
}

pub(super) struct Trained {
    /// The tokens in the order of their ids, with their counts.
    pub(super) tokens: Vec<(Piece, u64)>,
    pub(super) merges: Vec<Merge>,
}

pub(super) fn train(
    words: &WordCounter,
    num_merges: usize,
    form: Form,
    progress: &mut Progress<'_>,
) -> Result<Trained> {
    let mut engine = Engine::new(&words.in_order(), form);
    let mut merges = Vec::new();
    while merges.len() < num_merges {
        if merges.len() % MERGES_PER_STEP == 0 {
            progress(merges.len() as u64)?;
        }
        let Some(pair) = engine.best_pair() else {
            break;
        };
        engine.merge(pair);
        merges.push((
            engine.pieces[pair.0 as usize].clone(),
            engine.pieces[pair.1 as usize].clone(),
        ));
    }
    Ok(Trained {
        tokens: engine.into_vocabulary(form),
        merges,
    })
}

/// Two neighbouring symbols.
type Pair = (u32, u32);

/// Where a pair stands first: index of the word, number of characters before it in the word.
/// Characters and not symbols, because merges to the left change the latter.
type Place = (u32, u32);

#[derive(Default)]
struct Occurrences {
    count: u64,
    /// The words that hold the pair, ascending; those before `cursor` hold it no more, and of the
    /// others only the one at `cursor` is looked at, when it matters.
    words: Vec<u32>,
    cursor: usize,
}

/// The words as symbols, and everything that is known about their pairs.
struct Engine {
    pieces: Vec<Piece>,
    lengths: Vec<u32>,
    ids: HashMap<Piece, u32>,
    /// How many pieces are single characters; the merged ones follow.
    alphabet: usize,
    words: Vec<(Vec<u32>, u64)>,
    pairs: HashMap<Pair, Occurrences>,
    /// Upper bounds: an entry may promise more than its pair still has, never less.
    queue: BinaryHeap<(u64, Reverse<Place>, Pair)>,
}

impl Engine {
    fn new(counted: &[(&str, u64)], form: Form) -> Engine {
        let mut engine = Engine {
            pieces: Vec::new(),
            lengths: Vec::new(),
            ids: HashMap::new(),
            alphabet: 0,
            words: Vec::with_capacity(counted.len()),
            pairs: HashMap::new(),
            queue: BinaryHeap::new(),
        };
        for &(word, count) in counted {
            let mut symbols = Vec::with_capacity(word.len() + 1);
            let mut rest = word.chars().peekable();
            while let Some(c) = rest.next() {
                let end = form == Form::Standard && rest.peek().is_none();
                symbols.push(engine.id_of(Piece {
                    text: c.to_string(),
                    end,
                }));
            }
            if form == Form::Notebook {
                symbols.push(engine.id_of(Piece {
                    text: String::new(),
                    end: true,
                }));
            }
            engine.words.push((symbols, count));
        }
        engine.alphabet = engine.pieces.len();
        for (index, (symbols, count)) in engine.words.iter().enumerate() {
            for pair in symbols.windows(2) {
                let found = engine.pairs.entry((pair[0], pair[1])).or_default();
                found.count += count;
                if found.words.last() != Some(&(index as u32)) {
                    found.words.push(index as u32);
                }
            }
        }
        let all: Vec<Pair> = engine.pairs.keys().copied().collect();
        engine.enqueue(&all);
        engine
    }

    fn id_of(&mut self, piece: Piece) -> u32 {
        let next = self.pieces.len() as u32;
        match self.ids.entry(piece) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(free) => {
                self.lengths.push(free.key().len() as u32);
                self.pieces.push(free.key().clone());
                *free.insert(next)
            }
        }
    }

    /// The pair to merge next, or `None` when every word is one symbol.
    fn best_pair(&mut self) -> Option<Pair> {
        while let Some((count, Reverse(place), pair)) = self.queue.pop() {
            let Some(found) = self.pairs.get(&pair) else {
                continue;
            };
            let (now, place_now) = (found.count, self.first_place(pair));
            if (now, place_now) == (count, place) {
                return Some(pair);
            }
            self.queue.push((now, Reverse(place_now), pair));
        }
        None
    }

    /// Where `pair` stands first; its count must not be zero.
    fn first_place(&mut self, pair: Pair) -> Place {
        let found = self
            .pairs
            .get_mut(&pair)
            .expect("only pairs that occur are asked for");
        loop {
            let index = found.words[found.cursor];
            let symbols = &self.words[index as usize].0;
            let mut before = 0;
            for window in symbols.windows(2) {
                if (window[0], window[1]) == pair {
                    return (index, before);
                }
                before += self.lengths[window[0] as usize];
            }
            found.cursor += 1;
        }
    }

    fn enqueue(&mut self, pairs: &[Pair]) {
        for &pair in pairs {
            if let Some(count) = self.pairs.get(&pair).map(|found| found.count) {
                let place = self.first_place(pair);
                self.queue.push((count, Reverse(place), pair));
            }
        }
    }

    /// Replaces `pair` by one symbol in every word, greedily from the left.
    fn merge(&mut self, pair: Pair) {
        let joined = self.pieces[pair.0 as usize].join(&self.pieces[pair.1 as usize]);
        let new = self.id_of(joined);
        let found = self.pairs.remove(&pair).expect("the pair to merge occurs");
        let mut gained: HashMap<Pair, (u64, Vec<u32>)> = HashMap::new();
        let mut emptied = Vec::new();
        for &index in &found.words[found.cursor..] {
            let (symbols, count) = &mut self.words[index as usize];
            let (merged, changed) = replace(symbols, pair, new);
            for lost in changed.lost {
                if let Some(others) = self.pairs.get_mut(&lost) {
                    others.count -= *count;
                    if others.count == 0 {
                        emptied.push(lost);
                    }
                }
            }
            for gain in changed.gained {
                let (total, words) = gained.entry(gain).or_default();
                *total += *count;
                if words.last() != Some(&index) {
                    words.push(index);
                }
            }
            *symbols = merged;
        }
        let mut grown = Vec::with_capacity(gained.len());
        for (gain, (total, words)) in gained {
            let others = self.pairs.entry(gain).or_default();
            others.count += total;
            // The same characters may have been merged before in another way; only then does
            // a pair that already has words get more of them.
            others.words.extend(words);
            others.words.sort_unstable();
            others.words.dedup();
            others.cursor = 0;
            grown.push(gain);
        }
        // A pair without occurrences must go: its words would be searched in vain.
        for pair in emptied {
            if self.pairs.get(&pair).is_some_and(|found| found.count == 0) {
                self.pairs.remove(&pair);
            }
        }
        self.enqueue(&grown);
    }

    fn into_vocabulary(self, form: Form) -> Vec<(Piece, u64)> {
        let mut counts = vec![0u64; self.pieces.len()];
        let mut order = Vec::new();
        for (symbols, count) in &self.words {
            for &symbol in symbols {
                if counts[symbol as usize] == 0 {
                    order.push(symbol as usize);
                }
                counts[symbol as usize] += count;
            }
        }
        match form {
            // Stable: equally long and frequent tokens stay in the order in which they were seen.
            Form::Notebook => {
                order.sort_by_key(|&id| Reverse((self.lengths[id], counts[id])));
            }
            // The alphabet by code point, then with `</w>` likewise, then one token a merge.
            Form::Standard => {
                order = (0..self.pieces.len()).collect();
                order[..self.alphabet]
                    .sort_by_key(|&id| (self.pieces[id].end, &self.pieces[id].text));
            }
        }
        order
            .into_iter()
            .map(|id| (self.pieces[id].clone(), counts[id]))
            .collect()
    }
}

#[derive(Default)]
struct Changed {
    lost: Vec<Pair>,
    gained: Vec<Pair>,
}

/// `symbols` with `pair` replaced by `new`, and the pairs that the replacing removed and made.
fn replace(symbols: &[u32], pair: Pair, new: u32) -> (Vec<u32>, Changed) {
    let mut merged = Vec::with_capacity(symbols.len());
    let mut changed = Changed::default();
    // Pairs are numbered by their left symbol; these say up to which they are listed already.
    let (mut listed_old, mut listed_new) = (0, 0);
    let mut at = 0;
    while at < symbols.len() {
        let here = symbols[at];
        if at + 1 == symbols.len() || (here, symbols[at + 1]) != pair {
            merged.push(here);
            at += 1;
            continue;
        }
        let first = at.saturating_sub(1).max(listed_old);
        let last = (at + 2).min(symbols.len() - 1);
        changed
            .lost
            .extend((first..last).map(|left| (symbols[left], symbols[left + 1])));
        listed_old = last;
        merged.push(new);
        at += 2;
        // The pair to the left of the new symbol; the one to its right follows below, or as the
        // left pair of the next new symbol.
        if merged.len() >= 2 && merged.len() - 2 >= listed_new {
            changed.gained.push((merged[merged.len() - 2], new));
            listed_new = merged.len() - 1;
        }
        let next_matches = at + 1 < symbols.len() && (symbols[at], symbols[at + 1]) == pair;
        if at < symbols.len() && !next_matches {
            changed.gained.push((new, symbols[at]));
            listed_new = merged.len();
        }
    }
    (merged, changed)
}
