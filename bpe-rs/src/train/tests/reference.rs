//! The reference implementation, which is training as it is defined: count every pair anew, merge
//! the best one, repeat.

use std::collections::HashMap;

use super::super::{Learned, TieBreak, TrainOptions};

/// The merges learned from `words` and their counts; `start[id]` are the bytes of token `id`.
pub(super) fn merges(
    words: &[(Vec<u8>, u64)],
    start: &[Vec<u8>],
    options: &TrainOptions,
) -> Vec<Learned> {
    let mut tokens = start.to_vec();
    let mut words: Vec<(Vec<u32>, u64)> = words
        .iter()
        .map(|(word, count)| (segment(word, start), *count))
        .collect();
    let mut learned = Vec::new();
    while tokens.len() < options.vocab_size as usize {
        // Pair -> (count, order of first occurrence).
        let mut pairs: HashMap<(u32, u32), (u64, usize)> = HashMap::new();
        for (ids, count) in &words {
            for pair in ids.windows(2) {
                let order = pairs.len();
                pairs.entry((pair[0], pair[1])).or_insert((0, order)).0 += count;
            }
        }
        let spelled = |(left, right): (u32, u32)| {
            [tokens[left as usize].as_slice(), &tokens[right as usize]].concat()
        };
        let best = pairs
            .into_iter()
            .filter(|&(pair, (count, _))| {
                let token = spelled(pair);
                count >= options.min_frequency
                    && token.len() <= options.max_token_length.unwrap_or(u32::MAX) as usize
                    && !start.contains(&token)
                    && options.max_token_words.is_none_or(|most| {
                        let token = String::from_utf8_lossy(&token);
                        token.split(' ').filter(|word| !word.is_empty()).count() <= most as usize
                            && !token.contains(": ")
                    })
            })
            .max_by_key(|&(pair, (count, order))| {
                let tie = match options.tie_break {
                    TieBreak::HuggingFace | TieBreak::Pair => 0,
                    TieBreak::FirstSeen => usize::MAX - order,
                    TieBreak::Longest => spelled(pair).len(),
                };
                (count, tie, std::cmp::Reverse(pair))
            });
        let Some(((left, right), (count, _))) = best else {
            break;
        };
        let new = tokens.len() as u32;
        tokens.push(spelled((left, right)));
        learned.push(Learned { left, right, count });
        for (ids, _) in &mut words {
            *ids = merged(ids, left, right, new);
        }
    }
    learned
}

/// `word` by the ranks of `tokens`, as tiktoken does it: the adjacent pair that spells the token
/// of lowest id is merged first, wherever it came from.
pub(super) fn segment(word: &[u8], tokens: &[Vec<u8>]) -> Vec<u32> {
    let id_of = |bytes: &[u8]| tokens.iter().position(|token| token == bytes);
    let mut parts: Vec<Vec<u8>> = word.iter().map(|&byte| vec![byte]).collect();
    while tokens.len() > 256 {
        let best = (0..parts.len().saturating_sub(1))
            .filter_map(|i| id_of(&[parts[i].as_slice(), &parts[i + 1]].concat()).map(|id| (id, i)))
            .min();
        let Some((_, i)) = best else { break };
        let right = parts.remove(i + 1);
        parts[i].extend(right);
    }
    parts
        .iter()
        .map(|part| id_of(part).unwrap() as u32)
        .collect()
}

/// `ids` with every `left right`, from the left, replaced by `new`.
fn merged(ids: &[u32], left: u32, right: u32, new: u32) -> Vec<u32> {
    let mut out = Vec::new();
    let mut i = 0;
    while i < ids.len() {
        if i + 1 < ids.len() && (ids[i], ids[i + 1]) == (left, right) {
            out.push(new);
            i += 2;
        } else {
            out.push(ids[i]);
            i += 1;
        }
    }
    out
}
