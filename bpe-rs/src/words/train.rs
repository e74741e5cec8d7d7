//! Learning merges from the counts of words.
//!
//! The count of every pair is kept up to date: a merge changes only the words that hold its pair,
//! which are listed with it. A heap finds the most frequent pair.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};

use super::symbol::{split, Form, Symbol, SymbolPair};
use crate::error::Result;
use crate::io::Progress;

/// Merges between two calls of the progress callback.
const MERGES_PER_STEP: usize = 64;

/// Words with their counts, in the order in which they were first seen.
#[derive(Clone, Debug, Default)]
pub struct DistinctWords {
    /// Place in the order and count of each word.
    index: HashMap<Box<str>, (usize, u64)>,
}

impl DistinctWords {
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

    /// The words with their counts, in the order in which they were first seen.
    fn in_order(&self) -> Vec<(&str, u64)> {
        let mut words: Vec<_> = self.index.iter().map(|(w, &(i, n))| (i, &**w, n)).collect();
        words.sort_unstable_by_key(|&(order, _, _)| order);
        words
            .into_iter()
            .map(|(_, word, count)| (word, count))
            .collect()
    }
}

/// What training learns.
pub(super) struct Trained {
    /// The tokens in the order of their ids, with their counts.
    pub(super) tokens: Vec<(Symbol, u64)>,
    pub(super) merges: Vec<SymbolPair>,
}

/// Learns up to `num_merges` merges.
///
/// # Errors
/// What `progress` returns.
pub(super) fn train(
    words: &DistinctWords,
    num_merges: usize,
    form: Form,
    progress: &mut Progress<'_>,
) -> Result<Trained> {
    let mut trainer = Trainer::new(&words.in_order(), form);
    let mut merges = Vec::new();
    while merges.len() < num_merges {
        if merges.len() % MERGES_PER_STEP == 0 {
            progress(merges.len() as u64)?;
        }
        let Some(pair) = trainer.best_pair() else {
            break;
        };
        trainer.merge(pair);
        merges.push((
            trainer.symbols[pair.0 as usize].clone(),
            trainer.symbols[pair.1 as usize].clone(),
        ));
    }
    Ok(Trained {
        tokens: trainer.into_vocabulary(form),
        merges,
    })
}

/// The numbers of two neighbouring symbols.
type Pair = (u32, u32);

/// Where a pair stands first: index of the word, number of characters before it in the word.
/// Characters and not symbols, because merges to the left change the latter.
type Place = (u32, u32);

#[derive(Default)]
struct Occurrences {
    count: u64,
    /// The words that hold the pair, or held it once, ascending.
    words: Vec<u32>,
    /// No word before this one holds the pair any more; later ones are checked when it gets there.
    cursor: usize,
}

/// The words as symbols, and where their pairs occur.
struct Trainer {
    /// Every symbol by its number.
    symbols: Vec<Symbol>,
    /// The length of every symbol.
    lengths: Vec<u32>,
    ids: HashMap<Symbol, u32>,
    /// How many symbols are single characters; the merged ones follow.
    alphabet: usize,
    /// Each word's symbols, and how often it occurs.
    words: Vec<(Vec<u32>, u64)>,
    pairs: HashMap<Pair, Occurrences>,
    /// Pairs by count, then by first place. Counts that fall are not updated here: an entry is an
    /// upper bound, and `best_pair` puts it back with the current count.
    queue: BinaryHeap<(u64, Reverse<Place>, Pair)>,
}

impl Trainer {
    fn new(counted: &[(&str, u64)], form: Form) -> Trainer {
        let mut trainer = Trainer {
            symbols: Vec::new(),
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
                symbols.push(trainer.id_of(Symbol {
                    text: c.to_string(),
                    end,
                }));
            }
            if form == Form::Notebook {
                symbols.push(trainer.id_of(Symbol {
                    text: String::new(),
                    end: true,
                }));
            }
            trainer.words.push((symbols, count));
        }
        trainer.alphabet = trainer.symbols.len();
        for (index, (symbols, count)) in trainer.words.iter().enumerate() {
            for pair in symbols.windows(2) {
                let found = trainer.pairs.entry((pair[0], pair[1])).or_default();
                found.count += count;
                if found.words.last() != Some(&(index as u32)) {
                    found.words.push(index as u32);
                }
            }
        }
        let all: Vec<Pair> = trainer.pairs.keys().copied().collect();
        trainer.enqueue(&all);
        trainer
    }

    /// The number of `symbol`, a new one if it was not seen before.
    fn id_of(&mut self, symbol: Symbol) -> u32 {
        let next = self.symbols.len() as u32;
        match self.ids.entry(symbol) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(free) => {
                self.lengths.push(free.key().len() as u32);
                self.symbols.push(free.key().clone());
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
            .expect("only pairs that occur are looked up");
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

    /// Puts pairs that occur into the queue.
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
        let joined = self.symbols[pair.0 as usize].join(&self.symbols[pair.1 as usize]);
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
            // A pair gets words a second time only where the same characters were merged in
            // another way before.
            others.words.extend(words);
            others.words.sort_unstable();
            others.words.dedup();
            others.cursor = 0;
            grown.push(gain);
        }
        // `first_place` expects that a pair occurs.
        for pair in emptied {
            if self.pairs.get(&pair).is_some_and(|found| found.count == 0) {
                self.pairs.remove(&pair);
            }
        }
        self.enqueue(&grown);
    }

    /// The tokens that the words consist of after the last merge, with their counts, in the order
    /// of their ids.
    fn into_vocabulary(self, form: Form) -> Vec<(Symbol, u64)> {
        let mut counts = vec![0u64; self.symbols.len()];
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
            // The sort is stable: equally long and frequent tokens stay in the order in which they
            // were seen.
            Form::Notebook => {
                order.sort_by_key(|&id| Reverse((self.lengths[id], counts[id])));
            }
            // The single characters by code point, those with `</w>` after those without; then the
            // merged symbols in the order in which they were made.
            Form::Standard => {
                order = (0..self.symbols.len()).collect();
                order[..self.alphabet]
                    .sort_by_key(|&id| (self.symbols[id].end, &self.symbols[id].text));
            }
        }
        order
            .into_iter()
            .map(|id| (self.symbols[id].clone(), counts[id]))
            .collect()
    }
}

#[derive(Default)]
struct Changed {
    /// Pairs that were removed.
    lost: Vec<Pair>,
    /// Pairs that were made.
    gained: Vec<Pair>,
}

/// `symbols` with `pair` replaced by `new`, and the pairs that this removes and makes.
fn replace(symbols: &[u32], pair: Pair, new: u32) -> (Vec<u32>, Changed) {
    let mut merged = Vec::with_capacity(symbols.len());
    let mut changed = Changed::default();
    // A pair's number is that of its left symbol; pairs below these are listed already.
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
