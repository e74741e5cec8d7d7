//! Character-level vocabularies from merge lists.
//!
//! As in [`super::build`], one pair a token is entered in the pair table: the one that its symbols
//! merge to alone. Here one token can consist of symbols in more than one way: `<0x41>` is a symbol
//! that stands for a byte, and six characters may merge into the same token. So the pair is entered
//! for every way.

use foldhash::{HashMap, HashMapExt, HashSet};

use super::ascii_cuts::AsciiCuts;
use super::build::{check_count, sorted, MergeRule};
use super::merge::Merger;
use super::pairs::{PairTable, NO_MERGE};
use super::symbols::{place, CharTable, Neighbours, Symbols, Unknown};
use super::tokens::TokenBytes;
use super::vocabulary::Vocab;
use crate::error::{quoted, Error, Result};
use crate::simd::{dispatch, Portable};

/// A character-level model: what a `tokenizer.json` says of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct CharacterModel<'a> {
    /// Every token with its id.
    pub tokens: &'a [(String, u32)],
    /// Pairs of ids, the first is merged first.
    pub merges: &'a [MergeRule],
    /// The token for characters that have none.
    pub unknown: Option<&'a str>,
    /// Whether neighbouring unknown characters become one token.
    pub fuse_unknown: bool,
    /// Whether the tokens `<0x00>` to `<0xFF>` stand for the bytes of characters that have no token.
    pub byte_fallback: bool,
    /// What the tokens of all characters but the first of a piece begin with.
    pub prefix: &'a str,
    /// What the token of the last character of a piece ends with.
    pub suffix: &'a str,
    /// Whether a piece that is a token becomes that token.
    pub whole_pieces: bool,
}

/// Most ways to make a token. Files of this kind have one, but for tokens that look like `<0x41>`.
const MOST_WAYS: usize = 8;

/// The merge numbers of the symbols that make a token.
type Way = Box<[u32]>;

/// A line of the merge list: its place in `tokens` of the parts and of the result.
struct Line {
    left: u32,
    right: u32,
    merged: u32,
}

/// The symbols of a vocabulary, numbered.
struct Numbered {
    symbols: Symbols,
    /// The id of each number; `None` where a number is not used.
    ids: Vec<Option<u32>>,
    /// The number of each symbol's id.
    number_of: HashMap<u32, u32>,
}

impl Vocab {
    /// A vocabulary whose symbols are characters.
    ///
    /// # Errors
    /// As [`Vocab::from_merges`], and `Invalid` for settings and merges that are not reproduced
    /// exactly: byte fallback with a prefix or a suffix, merges whose parts lack the prefix, tokens
    /// that can be made in more than a few ways.
    pub fn from_characters(model: &CharacterModel<'_>) -> Result<Self> {
        if model.byte_fallback && !(model.prefix.is_empty() && model.suffix.is_empty()) {
            return Err(inexact(
                "byte_fallback with continuing_subword_prefix or end_of_word_suffix",
            ));
        }
        let tokens = model.tokens.iter();
        let (tokens, by_bytes) = sorted(tokens.map(|(token, id)| (*id, token.as_bytes())))?;
        let lines = lines(model, &tokens, &by_bytes)?;
        let Numbered {
            mut symbols,
            mut ids,
            number_of,
        } = number_symbols(model, &by_bytes);
        let first_merge = ids.len() as u32;
        check_count(first_merge as usize - 256 + lines.len())?;
        let ways = ways(&tokens, &lines, &number_of, model.prefix.as_bytes())?;
        ids.resize(ids.len() + lines.len(), None);
        let merging = ways.iter().flatten().filter(|way| way.len() > 1);
        let mut pairs = PairTable::with_capacity(merging.count());
        enter_ways(&tokens, &lines, &ways, first_merge, &mut ids, &mut pairs);
        let parts = ways.iter().flatten();
        let neighbours: HashSet<(u32, u32)> = parts
            .flat_map(|way| way.windows(2).map(|two| (two[0], two[1])))
            .collect();
        symbols.set_neighbours(&neighbours);
        let mut all = TokenBytes::default();
        for &(id, bytes) in &tokens {
            all.push(id, bytes)?;
        }
        let mut vocab = Vocab {
            tokens: all.into(),
            ids: ids.into(),
            pairs: pairs.into(),
            whole_pieces: model.whole_pieces,
            ..Vocab::empty()
        };
        if model.whole_pieces {
            let (mut merger, mut parts) = (Merger::default(), Vec::new());
            for (token, id) in model.tokens {
                parts.clear();
                let mut start = Vec::new();
                let made = symbols.each(token, |number, _| start.push(number));
                if made.is_ok() && !start.is_empty() {
                    merger.merge_symbols::<Portable>(&vocab, &start, &mut parts);
                }
                let is_made = matches!(parts[..], [number] if vocab.id(number) == Some(*id));
                if !is_made && !token.is_empty() {
                    vocab.unreachable.insert(token.as_bytes().into(), *id);
                }
            }
            // The look-up is for whole pieces, not for parts of them.
            symbols.may_cut &= vocab.unreachable.is_empty();
        }
        vocab.symbols = Some(Box::new(symbols));
        Ok(vocab)
    }
}

fn inexact(what: &str) -> Error {
    Error::invalid(format!(
        "model: {what} is not reproduced exactly; use the original tokenizer for this file"
    ))
}

/// Find the parts and the result of each merge among the tokens.
fn lines(
    model: &CharacterModel<'_>,
    tokens: &[(u32, &[u8])],
    by_bytes: &HashMap<&[u8], u32>,
) -> Result<Vec<Line>> {
    let prefix = model.prefix.as_bytes();
    let index = |id: u32| match tokens.get(id as usize) {
        Some(token) if token.0 == id => Some(id),
        _ => {
            let at = tokens.binary_search_by_key(&id, |token| token.0);
            at.ok().map(|at| at as u32)
        }
    };
    let mut lines = Vec::with_capacity(model.merges.len());
    let mut joined = Vec::new();
    for (line, &(left, right)) in model.merges.iter().enumerate() {
        let find = |id: u32| {
            index(id).ok_or_else(|| {
                Error::invalid(format!("merge {line}: expected ids of tokens, got {id}"))
            })
        };
        let (left, right) = (find(left)?, find(right)?);
        let (start, end) = (tokens[left as usize].1, tokens[right as usize].1);
        // What both do with other parts is not the same.
        let is_regular = || own_len(start, prefix) > 0 && end.starts_with(prefix) && end != prefix;
        if !prefix.is_empty() && !is_regular() {
            return Err(inexact(&format!(
                "merge {line} ({}, {}) with continuing_subword_prefix {}",
                quoted(String::from_utf8_lossy(start)),
                quoted(String::from_utf8_lossy(end)),
                quoted(model.prefix)
            )));
        }
        joined.clear();
        joined.extend_from_slice(start);
        joined.extend_from_slice(&end[prefix.len()..]);
        let merged = by_bytes.get(joined.as_slice()).and_then(|id| index(*id));
        let merged = merged.ok_or_else(|| {
            Error::invalid(format!(
                "merge {line}: expected its result {} among the tokens",
                quoted(String::from_utf8_lossy(&joined))
            ))
        })?;
        if own_len(&joined, prefix) != own_len(start, prefix) + own_len(end, prefix) {
            return Err(inexact(&format!(
                "merge {line}, whose result looks like a continuation,"
            )));
        }
        lines.push(Line {
            left,
            right,
            merged,
        });
    }
    Ok(lines)
}

/// The bytes of a token without the prefix.
fn own_len(token: &[u8], prefix: &[u8]) -> usize {
    match prefix.is_empty() {
        true => token.len(),
        false => token.strip_prefix(prefix).unwrap_or(token).len(),
    }
}

/// Number the symbols: ASCII characters by themselves, others after them, U+2581 first, so that
/// frequent ones have numbers below 256.
fn number_symbols(model: &CharacterModel<'_>, by_bytes: &HashMap<&[u8], u32>) -> Numbered {
    let mut ids = vec![None; 256];
    let mut number_of = HashMap::new();
    let mut next = 128;
    let mut number = |id: u32, character: Option<char>| {
        *number_of.entry(id).or_insert_with(|| {
            let number = match character.filter(char::is_ascii) {
                Some(character) => character as u32,
                None => next,
            };
            if number == next {
                next += 1;
            }
            if ids.len() <= number as usize {
                ids.push(None);
            }
            ids[number as usize] = Some(id);
            number
        })
    };
    let (mut tables, mut known) = (Vec::new(), Vec::new());
    // From a character in the middle of a piece without prefix and suffix, the most frequent one.
    let affixes = [(false, false), (false, true), (true, false), (true, true)];
    let table_of_place = affixes.map(|(is_first, is_last)| {
        let before = if is_first { "" } else { model.prefix };
        let after = if is_last { model.suffix } else { "" };
        if let Some(at) = known.iter().position(|affixes| *affixes == (before, after)) {
            return at;
        }
        let mut table = CharTable::new();
        let is_plain = before.is_empty() && after.is_empty();
        let mut characters: Vec<(char, u32)> = model
            .tokens
            .iter()
            .filter_map(|(token, id)| {
                let middle = token.strip_prefix(before)?.strip_suffix(after)?;
                let mut characters = middle.chars();
                let character = characters.next()?;
                characters.next().is_none().then_some((character, *id))
            })
            .collect();
        characters.sort_by_key(|(character, id)| (*character != '\u{2581}', *id));
        for (character, id) in characters {
            table.insert(character, number(id, is_plain.then_some(character)));
        }
        known.push((before, after));
        tables.push(table);
        tables.len() - 1
    });
    debug_assert_eq!(place(true, true), 3);
    let mut has_all_bytes = true;
    let bytes = model.byte_fallback.then(|| {
        let mut numbers = Box::new([u32::MAX; 256]);
        for (byte, slot) in numbers.iter_mut().enumerate() {
            match by_bytes.get(format!("<0x{byte:02X}>").as_bytes()) {
                Some(&id) => *slot = number(id, None),
                None => has_all_bytes = false,
            }
        }
        numbers
    });
    let unknown = match model.unknown {
        None => Unknown::Dropped,
        Some(token) => match by_bytes.get(token.as_bytes()) {
            Some(&id) => Unknown::Symbol(number(id, None)),
            None => Unknown::Missing(token.to_owned()),
        },
    };
    let has_affixes = !(model.prefix.is_empty() && model.suffix.is_empty());
    let symbols = Symbols {
        tables,
        table_of_place,
        bytes,
        unknown,
        fuse_unknown: model.fuse_unknown,
        neighbours: Neighbours::new(0),
        ascii: AsciiCuts::none(),
        // With some of the bytes only, an unknown symbol can move past them.
        may_cut: !has_affixes && has_all_bytes,
    };
    Numbered {
        symbols,
        ids,
        number_of,
    }
}

/// The ways to make each token.
///
/// # Errors
/// `Invalid` for a token with more than [`MOST_WAYS`].
fn ways(
    tokens: &[(u32, &[u8])],
    lines: &[Line],
    number_of: &HashMap<u32, u32>,
    prefix: &[u8],
) -> Result<Vec<Vec<Way>>> {
    let mut ways: Vec<Vec<Way>> = tokens
        .iter()
        .map(|(id, _)| {
            number_of
                .get(id)
                .map(|&number| [number].into())
                .into_iter()
                .collect()
        })
        .collect();
    // A result is longer than its parts.
    let mut order: Vec<u32> = (0..lines.len() as u32).collect();
    let len = |line: u32| own_len(tokens[lines[line as usize].merged as usize].1, prefix);
    order.sort_by_cached_key(|&line| len(line));
    let mut way = Vec::new();
    for line in order {
        let Line {
            left,
            right,
            merged,
        } = lines[line as usize];
        let (left, right, merged) = (left as usize, right as usize, merged as usize);
        // An empty token is never there.
        if left == merged || right == merged {
            continue;
        }
        for i in 0..ways[left].len() {
            for j in 0..ways[right].len() {
                way.clear();
                way.extend_from_slice(&ways[left][i]);
                way.extend_from_slice(&ways[right][j]);
                if ways[merged].iter().any(|known| **known == way[..]) {
                    continue;
                }
                if ways[merged].len() == MOST_WAYS {
                    return Err(inexact(&format!(
                        "token {}, which merging can make in many ways,",
                        quoted(String::from_utf8_lossy(tokens[merged].1))
                    )));
                }
                ways[merged].push(way.as_slice().into());
            }
        }
    }
    Ok(ways)
}

dispatch! { S =>
    fn enter_ways(
        tokens: &[(u32, &[u8])],
        lines: &[Line],
        ways: &[Vec<Way>],
        first_merge: u32,
        ids: &mut [Option<u32>],
        pairs: &mut PairTable,
    ) {
        // The lines of each result, in order.
        let mut by_result: Vec<u32> = (0..lines.len() as u32).collect();
        by_result.sort_by_key(|&line| lines[line as usize].merged);
        // Shorter ways first: which pair merges into a token depends only on shorter ones.
        let mut order: Vec<(usize, u32, u32)> = Vec::with_capacity(tokens.len());
        for (token, ways) in ways.iter().enumerate() {
            let each = ways.iter().enumerate().filter(|(_, way)| way.len() > 1);
            order.extend(each.map(|(at, way)| (way.len(), token as u32, at as u32)));
        }
        order.sort_unstable();
        let (mut merger, mut parts) = (Merger::default(), Vec::new());
        for (_, token, at) in order {
            parts.clear();
            merger.merge_symbols_by::<S>(pairs, &ways[token as usize][at as usize], &mut parts);
            let &[left, right] = parts.as_slice() else {
                continue;
            };
            let found = (ids[left as usize], ids[right as usize]);
            let from = by_result.partition_point(|&line| lines[line as usize].merged < token);
            let of_token = by_result[from..].iter();
            let of_token = of_token.take_while(|&&line| lines[line as usize].merged == token);
            // Of a pair listed twice the later line counts, as in HF's map of merges.
            let line = of_token
                .filter(|&&line| {
                    let Line { left, right, .. } = lines[line as usize];
                    let id = |token: u32| Some(tokens[token as usize].0);
                    found == (id(left), id(right))
                })
                .last();
            if let Some(&line) = line {
                let number = first_merge + line;
                debug_assert!(number < NO_MERGE);
                pairs.insert(left, right, number);
                ids[number as usize] = Some(tokens[token as usize].0);
            }
        }
    }
}
