//! Learning merges from the counts of words: [`crate::train`] with an alphabet of characters.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::segment::MergeRanks;
use super::symbol::{split, Form, Symbol, SymbolPair};
use crate::error::Result;
use crate::io::Progress;
use crate::threads;
use crate::train::{Corpus, TieBreak, TrainOptions};

/// Words between two checks whether the caller wants to stop.
pub(super) const WORDS_PER_CHECK: usize = 1 << 14;

/// Words with their counts, in the order in which they were first seen.
#[derive(Clone, Debug, Default)]
pub struct DistinctWords {
    /// Place in the order and count of each word.
    index: HashMap<Box<str>, (usize, u64)>,
}

impl DistinctWords {
    /// Counts the words of one more text. A word never spans two texts.
    ///
    /// # Errors
    /// `Interrupted` when the caller wants to stop.
    pub fn add(&mut self, text: &str) -> Result<()> {
        for (i, word) in split(text).enumerate() {
            if i % WORDS_PER_CHECK == WORDS_PER_CHECK - 1 {
                threads::check_interrupt()?;
            }
            let order = self.index.len();
            if let Some((_, count)) = self.index.get_mut(word) {
                *count += 1;
            } else {
                self.index.insert(word.into(), (order, 1));
            }
        }
        Ok(())
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
/// What `progress` returns; as [`Corpus::from_vocabulary`].
pub(super) fn train(
    words: &DistinctWords,
    num_merges: usize,
    form: Form,
    progress: &mut Progress<'_>,
) -> Result<Trained> {
    let words = words.in_order();
    let alphabet = Alphabet::of(&words, form);
    // The trainer needs tokens only for their lengths, which order the places in a word. Here any
    // lengths do.
    let lengths = vec![vec![0]; alphabet.symbols.len()];
    let segment = |word: &[u8], ids: &mut Vec<u32>| {
        // The words of a slice are `str`s.
        ids.extend(alphabet.ids_of(std::str::from_utf8(word).unwrap_or_default()));
        Ok(())
    };
    let corpus = Corpus::from_vocabulary(words.as_slice(), lengths, &segment, progress)?;
    let options = TrainOptions {
        vocab_size: u32::try_from(alphabet.symbols.len() + num_merges.min(u32::MAX as usize))
            .unwrap_or(u32::MAX),
        tie_break: TieBreak::FirstSeen,
        min_frequency: 0,
        max_token_length: None,
        max_token_words: None,
        threads: threads::available_threads(),
    };
    let learned = corpus.learn(&options, progress)?;
    let (mut symbols, mut merges) = (alphabet.symbols.clone(), Vec::with_capacity(learned.len()));
    let mut ranks = MergeRanks::default();
    for merge in &learned {
        ranks.push(merge.left, merge.right, symbols.len() as u32);
        let (left, right) = (
            &symbols[merge.left as usize],
            &symbols[merge.right as usize],
        );
        let joined = left.join(right);
        merges.push((left.clone(), right.clone()));
        symbols.push(joined);
    }
    let (mut counts, mut order) = (vec![0u64; symbols.len()], Vec::new());
    let mut ids = Vec::new();
    for (i, &(word, count)) in words.iter().enumerate() {
        if i % WORDS_PER_CHECK == WORDS_PER_CHECK - 1 {
            progress(learned.len() as u64)?;
        }
        ids.clear();
        ranks.apply(alphabet.ids_of(word).collect(), &mut ids);
        for &id in &ids {
            if counts[id as usize] == 0 {
                order.push(id as usize);
            }
            counts[id as usize] += count;
        }
    }
    match form {
        // What the words consist of after the last merge. The sort is stable: equally long and
        // frequent tokens stay in the order in which they were seen.
        Form::Notebook => order.sort_by_cached_key(|&id| Reverse((symbols[id].len(), counts[id]))),
        // The single characters by code point, those with `</w>` after those without; then the
        // merged symbols in the order in which they were made.
        Form::Standard => {
            order = (0..symbols.len()).collect();
            order[..alphabet.symbols.len()].sort_by_key(|&id| (symbols[id].end, &symbols[id].text));
        }
    }
    let token = |id: usize| (symbols[id].clone(), counts[id]);
    Ok(Trained {
        tokens: order.into_iter().map(token).collect(),
        merges,
    })
}

/// The symbols that merging starts from, in the order in which they were seen.
struct Alphabet {
    form: Form,
    symbols: Vec<Symbol>,
    /// By character (none for the bare end-of-word mark) and whether the word ends with it.
    ids: HashMap<(Option<char>, bool), u32>,
}

impl Alphabet {
    fn of(words: &[(&str, u64)], form: Form) -> Self {
        let (mut symbols, mut ids) = (Vec::new(), HashMap::new());
        for (character, end) in words.iter().flat_map(|(word, _)| symbols_of(word, form)) {
            ids.entry((character, end)).or_insert_with(|| {
                let text = character.map(String::from).unwrap_or_default();
                symbols.push(Symbol { text, end });
                symbols.len() as u32 - 1
            });
        }
        Self { form, symbols, ids }
    }

    /// The ids of the symbols of a word of which [`Alphabet::of`] was given all.
    fn ids_of<'a>(&'a self, word: &'a str) -> impl Iterator<Item = u32> + 'a {
        symbols_of(word, self.form).map(|symbol| self.ids[&symbol])
    }
}

/// The symbols of a word before the first merge.
fn symbols_of(word: &str, form: Form) -> impl Iterator<Item = (Option<char>, bool)> + '_ {
    let attached = form == Form::Standard;
    let last = word.char_indices().next_back().map(|(at, _)| at);
    word.char_indices()
        .map(move |(at, character)| (Some(character), attached && Some(at) == last))
        .chain((!attached).then_some((None, true)))
}
