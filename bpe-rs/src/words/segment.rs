//! Segmenting one word into token ids, as each of the two forms does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::symbol::{Symbol, SymbolPair, FIRST_ID, UNKNOWN_ID};
use crate::error::{Error, Result};

/// The end-of-word mark as a character: one above the largest code point.
const END: u32 = 0x11_0000;
/// Stands for the characters of a taken token after its first.
const INSIDE: u32 = u32::MAX;

/// Longest token first: the token with the smallest id that occurs in the word is taken wherever
/// it occurs (from the left, without overlaps), then the next one in the rest.
///
/// Ids ascend from long to short tokens, and from frequent to rare ones of one length, so that the
/// smallest id is the longest token.
#[derive(Clone, Debug)]
pub(super) struct LongestFirst {
    /// A trie: (node, character) -> node; node 0 is the root.
    edges: HashMap<(u32, u32), u32>,
    /// The id that ends at a node, or `UNKNOWN_ID`.
    id_at: Vec<u32>,
}

impl LongestFirst {
    pub(super) fn new(tokens: &[Symbol]) -> LongestFirst {
        let mut trie = LongestFirst {
            edges: HashMap::new(),
            id_at: vec![UNKNOWN_ID],
        };
        for (token, id) in tokens.iter().zip(FIRST_ID..) {
            let mut node = 0;
            for character in characters(&token.text, token.end) {
                let fresh = trie.id_at.len() as u32;
                node = *trie.edges.entry((node, character)).or_insert(fresh);
                if node == fresh {
                    trie.id_at.push(UNKNOWN_ID);
                }
            }
            trie.id_at[node as usize] = id;
        }
        trie
    }

    /// Appends the ids of `word` and its end.
    pub(super) fn encode(&self, word: &str, ids: &mut Vec<u32>) {
        let word: Vec<u32> = characters(word, true).collect();
        let mut candidates = Vec::new();
        for start in 0..word.len() {
            let mut node = 0;
            for (end, &character) in (start + 1..).zip(&word[start..]) {
                let Some(&next) = self.edges.get(&(node, character)) else {
                    break;
                };
                node = next;
                let id = self.id_at[node as usize];
                if id != UNKNOWN_ID {
                    candidates.push((id, start, end));
                }
            }
        }
        // Taking candidates by id and place, except those that overlap a taken one, is the same
        // as cutting the word at each token and searching the parts for the later tokens.
        candidates.sort_unstable();
        let mut taken = vec![UNKNOWN_ID; word.len()];
        for (id, start, end) in candidates {
            if taken[start..end].iter().all(|&id| id == UNKNOWN_ID) {
                taken[start..end].fill(INSIDE);
                taken[start] = id;
            }
        }
        ids.extend(taken.into_iter().filter(|&id| id != INSIDE));
    }
}

/// Merges in the order in which they were learned, leftmost first.
#[derive(Clone, Debug)]
pub(super) struct MergeOrder {
    /// (character, is it the last one) -> id.
    alphabet: HashMap<(char, bool), u32>,
    /// (left id, right id) -> (rank of the merge, id of the result).
    merges: HashMap<(u32, u32), (u32, u32)>,
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
        let mut table = HashMap::with_capacity(merges.len());
        for (rank, (left, right)) in merges.iter().enumerate() {
            let id = |symbol: &Symbol| {
                ids.get(symbol).copied().ok_or_else(|| {
                    Error::invalid(format!(
                        "merge {rank} ({:?}, {:?}) needs the token {:?}, which is not listed",
                        left.display(),
                        right.display(),
                        symbol.display()
                    ))
                })
            };
            let pair = (id(left)?, id(right)?);
            let value = (rank as u32, id(&left.join(right))?);
            table.entry(pair).or_insert(value);
        }
        Ok(MergeOrder {
            alphabet,
            merges: table,
        })
    }

    /// Appends the ids of `word`.
    ///
    /// A linked list of symbols and a heap of the possible merges: O(n log n) for a word of n
    /// characters, because a text without white space is one long word.
    pub(super) fn encode(&self, word: &str, ids: &mut Vec<u32>) {
        let mut rest = word.chars().peekable();
        let mut list = Vec::with_capacity(word.len());
        while let Some(c) = rest.next() {
            let key = (c, rest.peek().is_none());
            list.push(self.alphabet.get(&key).copied().unwrap_or(UNKNOWN_ID));
        }
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
        if let Some(&(rank, merged)) = self.merges.get(&(left, right)) {
            queue.push(Reverse((rank, at, left, right, merged)));
        }
    }
}

/// Possible merges, smallest rank first, then leftmost.
type Queue = BinaryHeap<Reverse<(u32, usize, u32, u32, u32)>>;

fn characters(text: &str, end: bool) -> impl Iterator<Item = u32> + '_ {
    text.chars().map(u32::from).chain(end.then_some(END))
}
