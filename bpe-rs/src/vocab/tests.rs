//! Merging against its definitions, on small random vocabularies of every kind.

use std::collections::HashMap;

use super::*;
use crate::simd::Portable;
use crate::testing::{rounds, Random};

/// tiktoken's rule: of all neighbours whose joined bytes are a token, the lowest rank merges
/// first, the leftmost of equals.
fn by_ranks(ranks: &HashMap<Vec<u8>, u32>, piece: &[u8]) -> Vec<u32> {
    if let Some(&id) = ranks.get(piece) {
        return vec![id];
    }
    let mut parts: Vec<Vec<u8>> = piece.iter().map(|&byte| vec![byte]).collect();
    loop {
        let joined = parts.windows(2).map(|two| ranks.get(&two.concat()));
        let best = joined
            .enumerate()
            .filter_map(|(at, rank)| Some((*rank?, at)));
        let Some((_, at)) = best.min() else {
            return parts.iter().map(|part| ranks[part]).collect();
        };
        let right = parts.remove(at + 1);
        parts[at].extend(right);
    }
}

/// Hugging Face's rule: of all neighbours that the list of merges names, the earliest line merges
/// first, the leftmost of equals.
fn by_merges(tokens: &HashMap<Vec<u8>, u32>, merges: &[MergeRule], piece: &[u8]) -> Vec<u32> {
    let line: HashMap<MergeRule, usize> = merges.iter().copied().zip(0..).collect();
    let bytes: HashMap<u32, &Vec<u8>> = tokens.iter().map(|(bytes, &id)| (id, bytes)).collect();
    let mut parts: Vec<u32> = piece.iter().map(|&byte| tokens[&vec![byte]]).collect();
    loop {
        let lines = parts.windows(2).map(|two| line.get(&(two[0], two[1])));
        let best = lines
            .enumerate()
            .filter_map(|(at, line)| Some((*line?, at)));
        let Some((_, at)) = best.min() else {
            return parts;
        };
        let right = parts.remove(at + 1);
        parts[at] = tokens[&[&bytes[&parts[at]][..], &bytes[&right][..]].concat()];
    }
}

/// Check that `piece` merges to `want`: at once, and in windows small enough to be many.
fn check_all_ways(vocab: &Vocab, piece: &[u8], want: &[u32]) {
    let mut merger = Merger::default();
    let mut check = |sizes: Option<(usize, usize)>| {
        // What is in the buffer before stays.
        let mut numbers = vec![0, 1];
        match sizes {
            None => merger.merge_as_long(vocab, piece, &mut numbers),
            Some(sizes) => merger.merge_in_windows(vocab, piece, sizes, &mut numbers),
        }
        assert_eq!(numbers[..2], [0, 1]);
        let ids = numbers[2..].iter().filter_map(|&number| vocab.id(number));
        assert!(ids.eq(want.iter().copied()), "{piece:?}, {sizes:?}");
    };
    check(None);
    for sizes in [(1, 1), (2, 1), (3, 5), (7, 2), (16, 8)] {
        check(Some(sizes));
    }
}

const ROUNDS: usize = rounds(1500, 3);

#[test]
fn ranks_in_any_order() {
    // Includes tokens that no merge produces and merges with smaller ranks than their parts.
    let mut random = Random(1);
    for round in 0..ROUNDS {
        let letters = &b"abc"[..1 + round % 3];
        let mut ranks = HashMap::new();
        for _ in 0..random.below(30) {
            let len = 2 + random.below(if round % 5 == 0 { 9 } else { 4 });
            let token: Vec<u8> = random.picks(letters, len);
            let rank = random.below(1000) as u32;
            if !ranks.contains_key(&token) && !ranks.values().any(|&other| other == rank) {
                ranks.insert(token, rank);
            }
        }
        ranks.extend((0..=255).map(|byte| (vec![byte], 1000 + u32::from(byte))));
        let vocab = Vocab::from_ranks(ranks.iter().map(|(token, &rank)| (token, rank))).unwrap();
        for _ in 0..20 {
            let len = 1 + random.below(60);
            let piece: Vec<u8> = random.picks(letters, len);
            if vocab.whole_piece(&piece).is_none() {
                check_all_ways(&vocab, &piece, &by_ranks(&ranks, &piece));
            }
        }
    }
}

#[test]
fn merges_in_any_order() {
    let mut random = Random(2);
    for round in 0..ROUNDS {
        let letters = &b"abcd"[..1 + round % 4];
        let mut tokens: HashMap<Vec<u8>, u32> = (0..=255)
            .map(|byte| (vec![byte], 300 - u32::from(byte)))
            .collect();
        let mut known: Vec<Vec<u8>> = letters.iter().map(|&byte| vec![byte]).collect();
        let mut merges = Vec::new();
        for _ in 0..random.below(25) {
            let (left, right) = (random.below(known.len()), random.below(known.len()));
            let joined = [&known[left][..], &known[right][..]].concat();
            let pair = (tokens[&known[left]], tokens[&known[right]]);
            if joined.len() > 12 || merges.contains(&pair) {
                continue;
            }
            match tokens.get(&joined) {
                // In a trained vocabulary one merge produces a token; here several can.
                Some(_) if round % 3 > 0 => {}
                Some(_) => merges.push(pair),
                None => {
                    merges.push(pair);
                    tokens.insert(joined.clone(), 1000 + merges.len() as u32);
                    known.push(joined);
                }
            }
        }
        if round % 2 == 0 {
            for at in (1..merges.len()).rev() {
                merges.swap(at, random.below(at + 1));
            }
        }
        let vocab = Vocab::from_merges(tokens.iter().map(|(b, &id)| (b, id)), &merges, false);
        let vocab = vocab.unwrap();
        for _ in 0..20 {
            let len = 1 + random.below(60);
            let piece: Vec<u8> = random.picks(letters, len);
            check_all_ways(&vocab, &piece, &by_merges(&tokens, &merges, &piece));
        }
    }
}

#[test]
fn short_pieces_merge_as_long_ones_do() {
    let vocab = Vocab::published("r50k_base").unwrap();
    let mut merger = Merger::default();
    let text = "The quick brown fox's 12345 \u{4f60}\u{597d} internationalization  aaaaaaaaaa";
    for len in 1..=32 {
        for from in 0..text.len() - len {
            let piece = &text.as_bytes()[from..from + len];
            let (mut small, mut long) = (Vec::new(), Vec::new());
            merger.merge::<Portable>(&vocab, piece, &mut small);
            merger.merge_as_long(&vocab, piece, &mut long);
            assert_eq!(small, long, "{piece:?}");
        }
    }
}

#[test]
fn windows_of_long_pieces_join() {
    let mut random = Random(3);
    let names = ["r50k_base", "cl100k_base", "o200k_base"];
    for name in &names[..rounds(3, 1)] {
        let vocab = Vocab::published(name).unwrap();
        let mut merger = Merger::default();
        for round in 0..rounds(40, 1) {
            let letters: &[u8] = match round % 4 {
                0 => b"a",
                1 => b" ",
                2 => b"ab",
                _ => b"aeiounrst-=\xe4\xbd\xa0",
            };
            let len = 1 + random.below(rounds(2000, 300));
            let piece: Vec<u8> = random.picks(letters, len);
            let (mut whole, mut windows) = (Vec::new(), Vec::new());
            merger.merge_as_long(&vocab, &piece, &mut whole);
            let sizes = (1 + random.below(200), 1 + random.below(100));
            merger.merge_in_windows(&vocab, &piece, sizes, &mut windows);
            assert_eq!(whole, windows, "{name} {sizes:?}");
        }
    }
}

#[test]
fn of_a_merge_listed_twice_the_later_line_counts() {
    let tokens = [("a", 0), ("b", 1), ("ab", 2), ("ba", 3), ("", 4)];
    let ids = |merges: &[MergeRule]| {
        let vocab = Vocab::from_merges(tokens, merges, false).unwrap();
        let mut numbers = Vec::new();
        Merger::default().merge::<Portable>(&vocab, b"aba", &mut numbers);
        let id = |&number: &u32| vocab.id(number).unwrap();
        numbers.iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[(0, 1), (1, 0)]), [2, 0]);
    assert_eq!(ids(&[(0, 1), (1, 0), (0, 1)]), [0, 3]);
    // Nothing is made of the empty token.
    assert_eq!(ids(&[(4, 4), (4, 0), (0, 1)]), [2, 0]);
}

#[test]
#[cfg_attr(miri, ignore = "a long piece takes an hour")]
fn one_long_piece_keeps_no_memory() {
    let vocab = Vocab::published("r50k_base").unwrap();
    let (mut merger, mut numbers) = (Merger::default(), Vec::new());
    merger.merge::<Portable>(&vocab, &b"ab".repeat(400_000), &mut numbers);
    assert!(
        numbers.len() > MAX_KEPT_PARTS && merger.capacity() < 2 * MAX_KEPT_PARTS,
        "{}",
        merger.capacity()
    );
}

#[test]
fn training_gives_distinct_merges_of_earlier_tokens() {
    let problem = |alphabet: &[u8], merges: &[MergeRule]| {
        let vocab = Vocab::from_training(alphabet, merges);
        vocab.map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert_eq!(problem(b"ab", &[(0, 1), (2, 0)]), "");
    assert!(problem(b"aa", &[]).contains("0x61 twice"));
    assert!(problem(b"ab", &[(0, 1), (0, 1)]).contains("(0, 1) twice"));
    assert!(problem(b"ab", &[(0, 2)]).contains("below 2, got (0, 2)"));
}

/// What merging `piece` gives that starts from characters, and whether these are fewer than its bytes;
/// `None` where it has to start from bytes.
fn from_characters(vocab: &Vocab, piece: &[u8]) -> Option<(Vec<u32>, bool)> {
    let mut starts = vec![0; piece.len() + MOST_PARTS];
    let count = vocab
        .char_starts()?
        .write(vocab.pairs(), (piece, 0..piece.len()), &mut starts)?;
    let mut numbers = Vec::new();
    Merger::default().merge_symbols::<Portable>(vocab, &starts[..count], &mut numbers);
    let ids = numbers.iter().map(|&number| vocab.id(number).unwrap());
    Some((ids.collect(), count < piece.len()))
}

#[test]
fn starting_from_characters_changes_nothing() {
    // Characters that share their first and last bytes, so that many merges join parts of them.
    let alphabet = ["a", "é", "ñ", "ĩ", "你", "丠", "彩", "\u{fffd}", "😀", "🙀"];
    let (mut random, mut fewer) = (Random(6), 0);
    for round in 0..ROUNDS {
        let letters = &alphabet[round % 3..4 + round % 7];
        let bytes: Vec<u8> = letters.concat().into_bytes();
        let text = |random: &mut Random, len| random.picks::<_, String>(letters, len);
        let mut tokens: HashMap<Vec<u8>, u32> =
            (0..=255).map(|byte| (vec![byte], byte.into())).collect();
        let mut merges: Vec<MergeRule> = Vec::new();
        // As in training: each merge joins two neighbours of a text as it is merged so far. Some join
        // any two tokens instead, and some make a token again.
        let sample = text(&mut random, 12);
        for _ in 0..random.below(40) {
            let parts = by_merges(&tokens, &merges, sample.as_bytes());
            let any = |random: &mut Random| {
                let made = merges.len();
                match random.below(3) {
                    0 if made > 0 => 256 + random.below(made) as u32,
                    _ => random.pick(&bytes).into(),
                }
            };
            let pair = match random.below(4) {
                0 => (any(&mut random), any(&mut random)),
                _ if parts.len() < 2 => break,
                _ => {
                    let at = random.below(parts.len() - 1);
                    (parts[at], parts[at + 1])
                }
            };
            let bytes_of: HashMap<u32, &Vec<u8>> = tokens.iter().map(|(b, &id)| (id, b)).collect();
            let (Some(left), Some(right)) = (bytes_of.get(&pair.0), bytes_of.get(&pair.1)) else {
                continue;
            };
            let joined = [&left[..], &right[..]].concat();
            if joined.len() > 16 || merges.contains(&pair) {
                continue;
            }
            merges.push(pair);
            let id = 255 + merges.len() as u32;
            tokens.entry(joined).or_insert(id);
        }
        let named = tokens.iter().map(|(bytes, &id)| (bytes, id));
        let merged = Vocab::from_merges(named.clone(), &merges, false).unwrap();
        let ranked = Vocab::from_ranks(named).unwrap();
        for at in 0..20 {
            let len = 2 + random.below(12);
            let mut piece = text(&mut random, len).into_bytes();
            if at % 10 == 0 {
                // Not whole characters.
                let at = random.below(piece.len());
                match random.below(2) {
                    0 => _ = piece.remove(at),
                    _ => piece.insert(at, random.pick(&[0x80, 0xBD, 0xC1, 0xE4, 0xFF])),
                }
            }
            if let Some((ids, is_fewer)) = from_characters(&merged, &piece) {
                assert_eq!(ids, by_merges(&tokens, &merges, &piece), "{piece:?}");
                fewer += usize::from(is_fewer);
            }
            if ranked.whole_piece(&piece).is_none() && !tokens.contains_key(&piece) {
                if let Some((ids, is_fewer)) = from_characters(&ranked, &piece) {
                    assert_eq!(ids, by_ranks(&tokens, &piece), "{piece:?}");
                    fewer += usize::from(is_fewer);
                }
            }
        }
    }
    assert!(fewer > 10 * ROUNDS, "{fewer}");
}
