//! Vocabularies from rank files, from merge lists and from training.
//!
//! One pair per token is enough in the pair table. While a text merges, no merge crosses the ends
//! of what becomes one token, so the token's bytes merge as they would alone, and alone they pass
//! through exactly one state of two parts. That pair is therefore the only one that ever merges
//! into the token, in any text. A token that its own bytes do not merge into never results from
//! merging at all, only from the look-up of whole pieces.

use foldhash::{HashMap, HashMapExt, HashSet};

use super::merge::Merger;
use super::pairs::{PairTable, NO_MERGE};
use super::tokens::TokenBytes;
use super::vocabulary::Vocab;
use crate::error::{quoted, Error, Result};
use crate::simd::{dispatch, Lanes, Portable};

/// One line of a merge list: the ids of the two parts.
pub type MergeRule = (u32, u32);

/// A token of several bytes, before it is known which pair merges into it.
struct MultiByteToken<'a> {
    bytes: &'a [u8],
    id: u32,
    /// The ids of the two parts that a merge list names. A rank file names none: the pair is
    /// whichever the token's bytes merge to.
    parts: Option<MergeRule>,
}

impl Vocab {
    /// A tiktoken-style vocabulary: the rank of a token is its id and its priority. A piece that
    /// is a token becomes that token; in any other the neighbours whose concatenation has the
    /// lowest rank merge first.
    ///
    /// # Errors
    ///
    /// `Invalid` for a token or rank given twice, or too many tokens.
    pub fn from_ranks<B: AsRef<[u8]>>(ranks: impl IntoIterator<Item = (B, u32)>) -> Result<Self> {
        let ranks: Vec<(B, u32)> = ranks.into_iter().collect();
        let (tokens, _) = sorted(ranks.iter().map(|(bytes, rank)| (*rank, bytes.as_ref())))?;
        let longer = tokens.iter().filter(|t| t.1.len() > 1);
        let multi_byte: Vec<_> = longer
            .map(|&(id, bytes)| MultiByteToken {
                bytes,
                id,
                parts: None,
            })
            .collect();
        build(&tokens, multi_byte, true)
    }

    /// A Hugging Face-style vocabulary: tokens with ids, and merges in order of priority as pairs
    /// of ids whose concatenation must be a token. `whole_pieces` is HF's `ignore_merges`: a piece
    /// that is a token becomes that token.
    ///
    /// # Errors
    ///
    /// As [`Self::from_ranks`], and `Invalid` for a merge whose parts or result are no tokens.
    pub fn from_merges<B: AsRef<[u8]>>(
        tokens: impl IntoIterator<Item = (B, u32)>,
        merges: &[MergeRule],
        whole_pieces: bool,
    ) -> Result<Self> {
        let given: Vec<(B, u32)> = tokens.into_iter().collect();
        let (tokens, by_bytes) = sorted(given.iter().map(|(bytes, id)| (*id, bytes.as_ref())))?;
        let find = |line: usize, id: u32| {
            // Mostly, all ids from 0 are tokens.
            let at = match tokens.get(id as usize) {
                Some(token) if token.0 == id => Ok(id as usize),
                _ => tokens.binary_search_by_key(&id, |token| token.0),
            };
            at.map(|at| tokens[at].1).map_err(|_| {
                Error::invalid(format!("merge {line}: expected ids of tokens, got {id}"))
            })
        };
        let mut multi_byte = Vec::with_capacity(merges.len());
        let mut joined = Vec::new();
        for (line, &(left, right)) in merges.iter().enumerate() {
            joined.clear();
            joined.extend_from_slice(find(line, left)?);
            joined.extend_from_slice(find(line, right)?);
            let (&bytes, &id) = by_bytes.get_key_value(joined.as_slice()).ok_or_else(|| {
                Error::invalid(format!(
                    "merge {line} ({left}, {right}): expected its result {} among the tokens",
                    quoted(String::from_utf8_lossy(&joined))
                ))
            })?;
            multi_byte.push(MultiByteToken {
                bytes,
                id,
                parts: Some((left, right)),
            });
        }
        build(&tokens, multi_byte, whole_pieces)
    }

    /// The vocabulary that training gives: token `i` is the byte `alphabet[i]`; the tokens after
    /// the alphabet are made by `merges` in their order, each of two earlier ids.
    ///
    /// Equal to [`Self::from_ranks`] of the tokens, without searching for the pairs again: the
    /// pair that training merged is the one that the token's bytes merge to alone, since their
    /// neighbours took no part. Merges from elsewhere belong in [`Self::from_merges`].
    ///
    /// # Errors
    ///
    /// `Invalid` for a byte or a merge given twice, a merge of later ids, or too many tokens.
    pub fn from_training(alphabet: &[u8], merges: &[MergeRule]) -> Result<Self> {
        check_count(merges.len())?;
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
            tokens.push(id, &[byte])?;
        }
        for (id, &(left, right)) in (alphabet.len() as u32..).zip(merges) {
            if left.max(right) >= id {
                return Err(Error::invalid(format!(
                    "expected a merge of ids below {id}, got ({left}, {right})"
                )));
            }
            let number = number_of(id);
            ids[number as usize] = Some(id);
            tokens.push_joined(id, left, right)?;
            let parts = (number_of(left), number_of(right));
            if pairs.get::<Portable>(parts.0, parts.1) != NO_MERGE {
                return Err(Error::invalid(format!(
                    "expected distinct merges, got ({left}, {right}) twice"
                )));
            }
            pairs.insert(parts.0, parts.1, number);
        }
        Ok(Self {
            tokens: tokens.into(),
            ids: ids.into(),
            pairs: pairs.into(),
            whole_pieces: true,
            ..Self::empty()
        })
    }

    /// Whether [`Vocab::from_ranks`] of the tokens gives an equal vocabulary: merges are in the
    /// order of ids, none that is possible is missing, and whole pieces are looked up if that
    /// makes a difference.
    pub fn is_ranked(&self) -> bool {
        let ranked = Self::from_ranks(self.tokens().iter().map(|(id, bytes)| (bytes, id)));
        ranked.is_ok_and(|ranked| {
            ranked.merges() == self.merges() && ranked.whole_piece_ids() == self.whole_piece_ids()
        })
    }
}

/// Most tokens that merge: with the 256 bytes their numbers stay below [`NO_MERGE`].
pub const MAX_MERGES: usize = NO_MERGE as usize - 256;

/// # Errors
///
/// `Invalid` if there are not enough merge numbers for `merges` merges.
pub(super) fn check_count(merges: usize) -> Result<()> {
    if merges > MAX_MERGES {
        return Err(Error::invalid(format!(
            "expected at most {MAX_MERGES} merged tokens, got {merges}"
        )));
    }
    Ok(())
}

/// Tokens by ascending id, and the id of each.
pub(super) type SortedTokens<'a> = (Vec<(u32, &'a [u8])>, HashMap<&'a [u8], u32>);

/// Sort by id; also gives the id of each token.
///
/// # Errors
///
/// `Invalid` for an id or a token given twice.
pub(super) fn sorted<'a>(
    tokens: impl Iterator<Item = (u32, &'a [u8])>,
) -> Result<SortedTokens<'a>> {
    let mut tokens: Vec<_> = tokens.collect();
    tokens.sort_unstable_by_key(|&(id, _)| id);
    let mut by_bytes = HashMap::with_capacity(tokens.len());
    for (at, &(id, bytes)) in tokens.iter().enumerate() {
        let shown = || quoted(String::from_utf8_lossy(bytes));
        if at > 0 && tokens[at - 1].0 == id {
            return Err(Error::invalid(format!(
                "expected distinct ids, got id {id} twice (again for {})",
                shown()
            )));
        }
        if by_bytes.insert(bytes, id).is_some() {
            return Err(Error::invalid(format!(
                "expected distinct tokens, got {} twice (again as id {id})",
                shown()
            )));
        }
    }
    Ok((tokens, by_bytes))
}

/// Number the tokens of several bytes in the order given, which is their priority, and enter the pair of
/// each one that merging produces.
fn build(
    tokens: &[(u32, &[u8])],
    multi_byte: Vec<MultiByteToken<'_>>,
    whole_pieces: bool,
) -> Result<Vocab> {
    check_count(multi_byte.len())?;
    let mut ids = vec![None; 256 + multi_byte.len()];
    for &(id, bytes) in tokens.iter().filter(|t| t.1.len() == 1) {
        ids[bytes[0] as usize] = Some(id);
    }
    // Shorter tokens first: which pair merges into a token depends only on shorter ones. The lines
    // that name parts of the same token lie together, so that its bytes are merged once.
    let mut order: Vec<(usize, u32, u32)> = (0..)
        .zip(&multi_byte)
        .map(|(at, token)| (token.bytes.len(), token.id, at))
        .collect();
    order.sort_unstable();
    let mut pairs = PairTable::with_capacity(multi_byte.len());
    enter_pairs(&multi_byte, &order, &mut ids, &mut pairs);
    let mut all = TokenBytes::default();
    for &(id, bytes) in tokens {
        all.push(id, bytes)?;
    }
    let reachable: HashSet<u32> = ids.iter().copied().flatten().collect();
    let unreachable = tokens
        .iter()
        .filter(|(id, bytes)| !bytes.is_empty() && !reachable.contains(id))
        .map(|&(id, bytes)| (bytes.into(), id))
        .collect();
    let vocab = Vocab {
        tokens: all.into(),
        ids: ids.into(),
        pairs: pairs.into(),
        unreachable,
        whole_pieces,
        ..Vocab::empty()
    };
    // Now, because it takes longer than encoding a first short text would.
    vocab.char_starts();
    Ok(vocab)
}

dispatch! { S =>
    fn enter_pairs(
        multi_byte: &[MultiByteToken<'_>],
        order: &[(usize, u32, u32)],
        ids: &mut [Option<u32>],
        pairs: &mut PairTable,
    ) {
        enter_pairs_with::<S>(multi_byte, order, ids, pairs);
    }
}

/// Enter the pair that merges into each token of `order`: (length, id, place in `multi_byte`).
#[inline(always)]
fn enter_pairs_with<S: Lanes>(
    multi_byte: &[MultiByteToken<'_>],
    order: &[(usize, u32, u32)],
    ids: &mut [Option<u32>],
    pairs: &mut PairTable,
) {
    let (mut merger, mut parts) = (Merger::default(), Vec::new());
    for lines in order.chunk_by(|a, b| a.1 == b.1) {
        let (len, id, first) = lines[0];
        if len < 2 {
            continue; // an empty token and another one
        }
        parts.clear();
        let bytes = multi_byte[first as usize].bytes;
        merger.merge_without_byte_pairs::<S>(pairs, bytes, &mut parts);
        let &[left, right] = parts.as_slice() else {
            continue;
        };
        let found = (ids[left as usize], ids[right as usize]);
        // Of a pair listed twice the later line counts, as in HF's map of merges.
        let line = lines.iter().rev().find(|line| {
            let named = multi_byte[line.2 as usize].parts;
            named.is_none_or(|(l, r)| (Some(l), Some(r)) == found)
        });
        let Some(&(_, _, at)) = line else {
            continue;
        };
        let number = 256 + at;
        // The pair is new: otherwise the bytes would have merged into one part.
        pairs.insert(left, right, number);
        ids[number as usize] = Some(id);
    }
}
