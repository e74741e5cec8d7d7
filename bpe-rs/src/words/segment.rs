//! Segmenting one word into token ids, as each of the two forms does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::symbol::{Symbol, SymbolPair, FIRST_ID, UNKNOWN_ID};
use crate::error::{quoted, Error, Result};

/// Stands for `</w>` behind the bytes of a text: no UTF-8 has this byte.
const END: u8 = 0xFF;

/// Longest token first: the token with the smallest id that occurs in the word is taken wherever
/// it occurs (from the left, without overlaps), then the next one in the rest.
///
/// Ids ascend from long to short tokens, and from frequent to rare ones of one length, so that the
/// smallest id is the longest token.
#[derive(Clone, Debug)]
pub(super) struct LongestFirst {
    /// Finds the tokens, by id less [`FIRST_ID`].
    tokens: AhoCorasick,
    /// Bytes of each.
    lengths: Vec<usize>,
}

impl LongestFirst {
    pub(super) fn new(tokens: &[Symbol]) -> Result<LongestFirst> {
        let tokens = tokens.iter().map(|token| bytes_of(&token.text, token.end));
        let tokens: Vec<Vec<u8>> = tokens.collect();
        Ok(LongestFirst {
            lengths: tokens.iter().map(Vec::len).collect(),
            // A DFA would be built in time quadratic in the longest token.
            tokens: AhoCorasick::builder()
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(tokens)
                .map_err(|error| Error::invalid(format!("too many or too long tokens: {error}")))?,
        })
    }

    /// Appends the ids of `word` and its end. Takes time in proportion to the word and to the
    /// occurrences of tokens in it.
    pub(super) fn encode(&self, word: &str, ids: &mut Vec<u32>) {
        let word = bytes_of(word, true);
        let found = self.tokens.find_overlapping_iter(&word);
        let mut candidates: Vec<(u32, usize)> = found
            .map(|token| (token.pattern().as_u32(), token.end()))
            .collect();
        // Taking candidates by id and place, except those that overlap a taken one, is the same
        // as cutting the word at each token and searching the parts for the later tokens.
        candidates.sort_unstable();
        // Start of each taken token, its end and its id.
        let mut taken: BTreeMap<usize, (usize, u32)> = BTreeMap::new();
        for (token, end) in candidates {
            let start = end - self.lengths[token as usize];
            let before = taken.range(..end).next_back();
            if before.is_none_or(|(_, &(taken_end, _))| taken_end <= start) {
                taken.insert(start, (end, FIRST_ID + token));
            }
        }
        let mut at = 0;
        let push_unknown = |bytes: &[u8], ids: &mut Vec<u32>| {
            let characters = bytes.iter().filter(|&&byte| byte & 0xC0 != 0x80).count();
            ids.resize(ids.len() + characters, UNKNOWN_ID);
        };
        for (start, (end, id)) in taken {
            push_unknown(&word[at..start], ids);
            ids.push(id);
            at = end;
        }
        push_unknown(&word[at..], ids);
    }
}

fn bytes_of(text: &str, end: bool) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.extend(end.then_some(END));
    bytes
}

/// Merges in the order in which they were learned, leftmost first.
#[derive(Clone, Debug)]
pub(super) struct MergeOrder {
    /// (character, is it the last one) -> id.
    alphabet: HashMap<(char, bool), u32>,
    merges: MergeRanks,
}

impl MergeOrder {
    pub(super) fn new(ids: &HashMap<Symbol, u32>, merges: &[SymbolPair]) -> Result<MergeOrder> {
        let mut alphabet = HashMap::new();
        for (symbol, &id) in ids {
            let mut chars = symbol.text.chars();
            if let (Some(only), None) = (chars.next(), chars.next()) {
                alphabet.insert((only, symbol.end), id);
            }
        }
        let mut ranks = MergeRanks::default();
        for (rank, (left, right)) in merges.iter().enumerate() {
            let id = |symbol: &Symbol| {
                ids.get(symbol).copied().ok_or_else(|| {
                    Error::invalid(format!(
                        "merge {rank} ({}, {}) needs the token {}, which is not listed",
                        quoted(left.display()),
                        quoted(right.display()),
                        quoted(symbol.display())
                    ))
                })
            };
            ranks.push(id(left)?, id(right)?, id(&left.join(right))?);
        }
        Ok(MergeOrder {
            alphabet,
            merges: ranks,
        })
    }

    /// Appends the ids of `word`.
    pub(super) fn encode(&self, word: &str, ids: &mut Vec<u32>) {
        let mut rest = word.chars().peekable();
        let mut list = Vec::with_capacity(word.len());
        while let Some(c) = rest.next() {
            let key = (c, rest.peek().is_none());
            list.push(self.alphabet.get(&key).copied().unwrap_or(UNKNOWN_ID));
        }
        self.merges.apply(list, ids);
    }
}

/// (left id, right id) -> (rank of the merge, id of the result).
#[derive(Clone, Debug, Default)]
pub(super) struct MergeRanks(HashMap<(u32, u32), (u32, u32)>);

impl MergeRanks {
    /// Add the next merge, unless there is one of these two.
    pub(super) fn push(&mut self, left: u32, right: u32, merged: u32) {
        let rank = self.0.len() as u32;
        self.0.entry((left, right)).or_insert((rank, merged));
    }

    /// Merges the symbols of `list` and appends what is left of them to `ids`.
    ///
    /// A linked list of symbols and a heap of the possible merges: O(n log n) for a word of n
    /// characters, because a text without white space is one long word.
    pub(super) fn apply(&self, mut list: Vec<u32>, ids: &mut Vec<u32>) {
        let count = list.len();
        let mut next: Vec<usize> = (1..=count).collect();
        let mut previous: Vec<usize> = (0..count).map(|at| at.wrapping_sub(1)).collect();
        let mut alive = vec![true; count];
        let mut queue = BinaryHeap::new();
        for at in 1..count {
            self.propose(&mut queue, at - 1, list[at - 1], list[at]);
        }
        while let Some(Reverse((_, at, left, right, merged))) = queue.pop() {
            let after = next[at];
            if !alive[at] || after >= count || (list[at], list[after]) != (left, right) {
                continue;
            }
            list[at] = merged;
            alive[after] = false;
            next[at] = next[after];
            if next[at] < count {
                previous[next[at]] = at;
                self.propose(&mut queue, at, merged, list[next[at]]);
            }
            if previous[at] < count {
                self.propose(&mut queue, previous[at], list[previous[at]], merged);
            }
        }
        ids.extend((0..count).filter(|&at| alive[at]).map(|at| list[at]));
    }

    fn propose(&self, queue: &mut Queue, at: usize, left: u32, right: u32) {
        if let Some(&(rank, merged)) = self.0.get(&(left, right)) {
            queue.push(Reverse((rank, at, left, right, merged)));
        }
    }
}

/// Possible merges, smallest rank first, then leftmost.
type Queue = BinaryHeap<Reverse<(u32, usize, u32, u32, u32)>>;
