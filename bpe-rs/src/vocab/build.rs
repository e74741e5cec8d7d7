//! Vocabularies from rank files and from merge lists.

use std::collections::{HashMap, HashSet};

use super::{Merger, PairTable, TokenBytes, Vocab, NONE};
use crate::error::{Error, Result};

/// One line of a merge list: the ids of the two parts.
pub type MergeRule = (u32, u32);

/// A token on its way into the pair table.
struct Candidate<'a> {
    bytes: &'a [u8],
    id: u32,
    /// The two parts that a merge list names; a rank file names none, any two will do.
    parts: Option<(u32, u32)>,
}

impl Vocab {
    /// A tiktoken-style vocabulary: the rank of a token is its id and its priority. A piece that
    /// is a token becomes that token; otherwise the neighbours whose concatenation has the lowest
    /// rank merge first.
    ///
    /// Errors: `Invalid` for an empty token, a token or rank given twice, too many tokens.
    pub fn from_ranks<B: AsRef<[u8]>>(ranks: impl IntoIterator<Item = (B, u32)>) -> Result<Self> {
        let ranks: Vec<(B, u32)> = ranks.into_iter().collect();
        let tokens = sorted(ranks.iter().map(|(bytes, rank)| (*rank, bytes.as_ref())))?;
        let merged = tokens.iter().filter(|t| t.1.len() > 1);
        let candidates: Vec<_> = merged
            .map(|&(id, bytes)| Candidate {
                bytes,
                id,
                parts: None,
            })
            .collect();
        build(&tokens, candidates, true)
    }

    /// A Hugging Face-style vocabulary: tokens with ids, and merges in order of priority as pairs
    /// of ids whose concatenation must be a token. `whole_pieces`: HF's `ignore_merges`, a piece
    /// that is a token becomes that token.
    ///
    /// Errors: as [`Self::from_ranks`], and `Invalid` for a merge whose parts or result are no
    /// tokens.
    pub fn from_merges<B: AsRef<[u8]>>(
        tokens: impl IntoIterator<Item = (B, u32)>,
        merges: &[MergeRule],
        whole_pieces: bool,
    ) -> Result<Self> {
        let given: Vec<(B, u32)> = tokens.into_iter().collect();
        let tokens = sorted(given.iter().map(|(bytes, id)| (*id, bytes.as_ref())))?;
        let by_bytes: HashMap<&[u8], u32> = tokens.iter().map(|&(id, bytes)| (bytes, id)).collect();
        let by_id: HashMap<u32, &[u8]> = tokens.iter().copied().collect();
        let find = |line: usize, id: u32| {
            by_id.get(&id).copied().ok_or_else(|| {
                Error::invalid(format!("merge {line}: expected ids of tokens, got {id}"))
            })
        };
        // Of a pair listed twice the later line counts, as in HF's map of merges.
        let last: HashMap<MergeRule, usize> = merges
            .iter()
            .enumerate()
            .map(|(line, &pair)| (pair, line))
            .collect();
        let mut candidates = Vec::with_capacity(merges.len());
        for (line, &(left, right)) in merges.iter().enumerate() {
            if last[&(left, right)] != line {
                continue;
            }
            let joined = [find(line, left)?, find(line, right)?].concat();
            let (&bytes, &id) = by_bytes.get_key_value(joined.as_slice()).ok_or_else(|| {
                Error::invalid(format!(
                    "merge {line} ({left}, {right}): expected its result {:?} among the tokens",
                    String::from_utf8_lossy(&joined)
                ))
            })?;
            candidates.push(Candidate {
                bytes,
                id,
                parts: Some((left, right)),
            });
        }
        build(&tokens, candidates, whole_pieces)
    }
}

impl Vocab {
    /// The vocabulary that training gives: token `i` is the byte `alphabet[i]`, those behind are
    /// made by `merges` in their order, each of two earlier ids.
    ///
    /// Equal to [`Self::from_ranks`] of the tokens, which has to find the parts anew: the parts
    /// that training merged are those that the token's bytes alone merge to, since their
    /// neighbours took no part. Merges from elsewhere belong into [`Self::from_merges`].
    ///
    /// Errors: `Invalid` for a byte given twice, a merge of later ids, too many tokens.
    pub fn from_training(alphabet: &[u8], merges: &[MergeRule]) -> Result<Self> {
        check_number(merges.len())?;
        let number_of = |id: u32| match alphabet.get(id as usize) {
            Some(&byte) => u32::from(byte),
            None => 256 + id - alphabet.len() as u32,
        };
        let mut ids = vec![None; 256 + merges.len()];
        let mut tokens = TokenBytes::with_capacity(alphabet.len() + merges.len(), 8 * merges.len());
        let mut pairs = PairTable::with_capacity(merges.len());
        for (id, &byte) in (0..).zip(alphabet) {
            if ids[usize::from(byte)].replace(id).is_some() {
                return Err(Error::invalid(format!(
                    "expected distinct bytes, got 0x{byte:02x} twice"
                )));
            }
            tokens.push(id, &[byte]);
        }
        for (id, &(left, right)) in (alphabet.len() as u32..).zip(merges) {
            if left.max(right) >= id {
                return Err(Error::invalid(format!(
                    "expected a merge of ids below {id}, got ({left}, {right})"
                )));
            }
            let number = number_of(id);
            ids[number as usize] = Some(id);
            tokens.push_joined(id, left, right);
            pairs.insert(number_of(left), number_of(right), number);
        }
        Ok(Self {
            tokens: tokens.into(),
            ids,
            pairs: pairs.into(),
            whole_pieces: true,
            ..Self::empty()
        })
    }
}

fn check_number(merged: usize) -> Result<()> {
    if merged + 256 >= NONE as usize {
        return Err(Error::invalid(format!(
            "expected at most {} merged tokens, got {merged}",
            NONE - 256
        )));
    }
    Ok(())
}

/// Sort by id and refuse what no tokenizer can mean.
fn sorted<'a>(tokens: impl Iterator<Item = (u32, &'a [u8])>) -> Result<Vec<(u32, &'a [u8])>> {
    let mut tokens: Vec<_> = tokens.collect();
    tokens.sort_unstable_by_key(|&(id, _)| id);
    let mut seen = HashSet::with_capacity(tokens.len());
    for (at, &(id, bytes)) in tokens.iter().enumerate() {
        let shown = String::from_utf8_lossy(bytes);
        if bytes.is_empty() {
            return Err(Error::invalid(format!(
                "expected non-empty tokens, got an empty one with id {id}"
            )));
        }
        if at > 0 && tokens[at - 1].0 == id {
            return Err(Error::invalid(format!(
                "expected distinct ids, got id {id} twice (again for {shown:?})"
            )));
        }
        if !seen.insert(bytes) {
            return Err(Error::invalid(format!(
                "expected distinct tokens, got {shown:?} twice (again as id {id})"
            )));
        }
    }
    Ok(tokens)
}

/// Number the candidates in the order given (their priority), keep those that merging reaches.
fn build(
    tokens: &[(u32, &[u8])],
    candidates: Vec<Candidate<'_>>,
    whole_pieces: bool,
) -> Result<Vocab> {
    check_number(candidates.len())?;
    let mut ids = vec![None; 256 + candidates.len()];
    let mut number_of: HashMap<u32, u32> = HashMap::with_capacity(tokens.len());
    for &(id, bytes) in tokens.iter().filter(|t| t.1.len() == 1) {
        ids[bytes[0] as usize] = Some(id);
        number_of.insert(id, u32::from(bytes[0]));
    }
    let mut pairs = PairTable::with_capacity(candidates.len());
    // Short tokens first: whether a token can be reached depends on shorter ones only.
    let mut by_length: Vec<u32> = (0..candidates.len() as u32).collect();
    by_length.sort_by_key(|&at| candidates[at as usize].bytes.len());
    let (mut merger, mut parts) = (Merger::default(), Vec::new());
    for at in by_length {
        let Candidate {
            bytes,
            id,
            parts: named,
        } = candidates[at as usize];
        parts.clear();
        merger.merge_without_byte_pairs(&pairs, bytes, &mut parts);
        let &[left, right] = parts.as_slice() else {
            continue;
        };
        let named = named.map(|(l, r)| (number_of.get(&l).copied(), number_of.get(&r).copied()));
        if named.is_some_and(|named| named != (Some(left), Some(right))) {
            continue;
        }
        let number = 256 + at;
        pairs.insert(left, right, number);
        ids[number as usize] = Some(id);
        number_of.insert(id, number);
    }
    let unreachable = tokens
        .iter()
        .filter(|(id, _)| !number_of.contains_key(id))
        .map(|&(id, bytes)| (bytes.into(), id))
        .collect();
    Ok(Vocab {
        tokens: TokenBytes::from_sorted(tokens.iter().copied()).into(),
        ids,
        pairs: pairs.into(),
        unreachable,
        whole_pieces,
        ..Vocab::empty()
    })
}
