//! The trainer against its reference implementation.

mod reference;

use std::collections::HashSet;

use super::corpus::Segmented;
use super::*;
use crate::error::{Error, Result};
use crate::simd::Level;
use crate::testing::{rounds, Random};
use crate::vocab::Vocab;

fn random_words(random: &mut Random) -> Vec<(Vec<u8>, u64)> {
    let letters = &b"ab :cd"[..1 + random.below(6)];
    let longest = random.pick(&[3, 8, 14, 40, 200]);
    let most = random.pick(&[1, 3, 50, 1 << 40]);
    let mut seen = HashSet::new();
    (0..1 + random.below(40))
        .filter_map(|_| {
            let len = 1 + random.below(longest);
            let word: Vec<u8> = random.picks(letters, len);
            let count = 1 + random.number() % most;
            seen.insert(word.clone()).then_some((word, count))
        })
        .collect()
}

const RULES: [TieBreak; 4] = [
    TieBreak::HuggingFace,
    TieBreak::Pair,
    TieBreak::FirstSeen,
    TieBreak::Longest,
];

fn options(vocab_size: u32, tie_break: TieBreak) -> TrainOptions {
    TrainOptions {
        vocab_size,
        tie_break,
        min_frequency: 0,
        max_token_length: None,
        max_token_words: None,
        threads: 1,
    }
}

fn quiet() -> impl FnMut(u64) -> Result<()> {
    |_| Ok(())
}

/// The tokens that training starts from.
fn start(rule: TieBreak) -> Vec<Vec<u8>> {
    rule.alphabet().iter().map(|&byte| vec![byte]).collect()
}

fn corpus(words: &[(Vec<u8>, u64)], rule: TieBreak) -> Corpus {
    Corpus::from_bytes(words, &rule.alphabet(), &mut quiet()).unwrap()
}

fn learned(words: &[(Vec<u8>, u64)], options: &TrainOptions) -> Vec<Learned> {
    let corpus = corpus(words, options.tie_break);
    corpus.learn(options, &mut quiet()).unwrap()
}

/// Check that every level and limit of the postings gives the merges of the reference.
fn same_as_reference(words: &[(Vec<u8>, u64)], options: &TrainOptions, what: &str) {
    let expected = reference::merges(words, &start(options.tie_break), options);
    Level::for_each(|level| {
        for max_postings in [None, Some(1), Some(50)] {
            let corpus = corpus(words, options.tie_break);
            let learned = corpus.learn_with(options, max_postings, &mut quiet());
            let what = format!("{what}, {level:?}, {max_postings:?}, {options:?}");
            assert_eq!(learned.unwrap(), expected, "{what}");
        }
    });
}

#[test]
fn random_corpora_give_the_reference_merges() {
    for seed in 0..rounds(500, 4) as u64 {
        let mut random = Random(seed);
        let mut words = random_words(&mut random);
        if seed % 2 == 1 {
            // With a count past 48 bits the corpus starts in the wide layout.
            words.push((b"zz".to_vec(), 1 << 50));
        }
        let rule = random.pick(&RULES);
        let is_wide = matches!(corpus(&words, rule).words, Segmented::Wide(_));
        assert_eq!(is_wide, seed % 2 == 1);
        let options = TrainOptions {
            min_frequency: (random.below(3) * random.below(30)) as u64,
            max_token_length: (random.below(3) == 0).then(|| 1 + random.below(9) as u32),
            max_token_words: (random.below(3) == 0).then(|| 1 + random.below(3) as u32),
            threads: random.pick(&[1, 2, 8, 16]),
            ..options(256 + random.below(60) as u32, rule)
        };
        same_as_reference(&words, &options, &format!("seed {seed}"));
    }
}

#[test]
fn ids_past_65535_go_on_in_wide_records() {
    // Distinct words of four random bytes: almost every pair is new, so there are many merges.
    let mut random = Random(7);
    let words: Vec<(Vec<u8>, u64)> = (0..70_000)
        .map(|i| (random.number().to_le_bytes()[..4].to_vec(), 1 + i % 3))
        .collect();
    for rule in RULES {
        let options = options(70_000, rule);
        let changing = learned(&words, &options);
        assert_eq!(changing.len(), 70_000 - 256);
        let mut wide = corpus(&words, rule);
        let Segmented::Narrow(records) = &wide.words else {
            panic!("not narrow at the start")
        };
        wide.words = Segmented::Wide(records.widen().unwrap());
        assert!(
            wide.learn(&options, &mut quiet()).unwrap() == changing,
            "{rule:?}"
        );
    }
}

#[test]
fn threads_make_no_difference() {
    let mut random = Random(3);
    let letters: Vec<u8> = (b'a'..b'u').collect();
    let words: Vec<(Vec<u8>, u64)> = (0..rounds(3000, 50) as u64)
        .map(|i| {
            let len = 2 + random.below(9);
            (random.picks(&letters, len), 1 + i % 5)
        })
        .collect();
    for rule in RULES {
        let [one, two, eight] = [1, 2, 8].map(|threads| {
            let options = TrainOptions {
                threads,
                ..options(600, rule)
            };
            learned(&words, &options)
        });
        assert!(one == two && one == eight, "{rule:?}");
    }
}

#[test]
fn words_of_any_length() {
    let lengths = [
        2usize, 11, 12, 13, 27, 28, 29, 255, 256, 65_535, 65_536, 70_001,
    ];
    for &len in &lengths[..rounds(lengths.len(), 7)] {
        let words = [(vec![b'a'; len], 3), (b"ab".repeat(len / 2), 2)];
        let options = options(256 + 12, TieBreak::Pair);
        let expected = reference::merges(&words, &start(TieBreak::Pair), &options);
        assert_eq!(learned(&words, &options), expected, "length {len}");
    }
}

/// Words that are cut into many chunks, in which runs and periods cross the cuts.
#[test]
fn long_words_give_the_reference_merges() {
    let mut fibonacci = (b"a".to_vec(), b"ab".to_vec());
    while fibonacci.1.len() < 400 {
        let longer = [&fibonacci.1[..], &fibonacci.0].concat();
        fibonacci = (fibonacci.1, longer);
    }
    let runs = |i: u64| [vec![b'a'; 1 << (i % 7)], vec![b"bcd"[i as usize % 3]]].concat();
    let letters = |count: u8| {
        let letters: Vec<u8> = (b'a'..b'a' + count).collect();
        Random(count.into()).picks::<_, Vec<u8>>(&letters, 500)
    };
    let words = [
        vec![b'a'; 333],
        b"ab".repeat(150),
        b"aab".repeat(100),
        b"abcdefg".repeat(60),
        fibonacci.1,
        (0..20).flat_map(runs).collect(),
        letters(2),
        letters(4),
        letters(26),
    ];
    for rule in RULES {
        for from in 0..rounds(words.len(), 2) {
            // One word, and all from one on with words of other kinds between them.
            for to in [from + 1, words.len()] {
                let mut words: Vec<_> = words[from..to].iter().cloned().zip(2..).collect();
                words.insert(0, (b"ab".to_vec(), 3));
                words.push((b"zz".to_vec(), if from % 2 == 0 { 1 } else { 1 << 50 }));
                let what = format!("words {from}..{to}");
                same_as_reference(&words, &options(256 + 90, rule), &what);
            }
        }
    }
}

#[test]
fn sizes_that_no_words_can_fill_cost_nothing() {
    let words = [(b"low".to_vec(), 2), (vec![b'a'; 100], 1)];
    assert_eq!(corpus(&words, TieBreak::Pair).max_merges(), 103);
    let options = options(400, TieBreak::Pair);
    let unbounded = TrainOptions {
        vocab_size: u32::MAX,
        threads: usize::MAX,
        ..options.clone()
    };
    assert_eq!(learned(&words, &unbounded), learned(&words, &options));
}

#[test]
fn extending_a_vocabulary_never_spells_a_token_twice() {
    for seed in 0..rounds(300, 2) as u64 {
        let mut random = Random(seed);
        let words = random_words(&mut random);
        let rule = random.pick(&RULES);
        let mut start = start(rule);
        // "abc" and "cab" are there without the tokens that lead to them.
        start.extend(["ab", "abc", "cab", "aa"].map(|token| token.as_bytes().to_vec()));
        let options = TrainOptions {
            max_token_words: (random.below(2) == 0).then_some(2),
            ..options(260 + random.below(40) as u32, rule)
        };
        let segment = |word: &[u8], ids: &mut Vec<u32>| {
            ids.extend(reference::segment(word, &start));
            Ok(())
        };
        let expected = reference::merges(&words, &start, &options);
        let tokens = start.clone();
        let corpus = Corpus::from_vocabulary(&words[..], tokens, &segment, &mut quiet());
        let got = corpus.unwrap().learn(&options, &mut quiet()).unwrap();
        assert_eq!(got, expected, "seed {seed}");
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let words = [(b"ab".to_vec(), 1u64)];
    let message = |words: &[(Vec<u8>, u64)], alphabet| {
        let corpus = Corpus::from_bytes(words, alphabet, &mut quiet());
        corpus.err().unwrap().to_string()
    };
    assert!(message(&words, b"a").contains("0x62"));
    assert!(message(&words, b"aab").contains("twice"));
    let counts = [(b"aaaaa".to_vec(), u64::MAX / 2)];
    assert!(message(&counts, b"a").contains("too large"));
    let corpus = || Corpus::from_bytes(&words[..], b"ab", &mut quiet()).unwrap();
    let small = corpus().learn(&options(1, TieBreak::Pair), &mut quiet());
    assert!(small.unwrap_err().to_string().contains("vocab_size 1"));
    let mut stop = |_| Err(Error::interrupted());
    let stopped = corpus().learn(&options(10, TieBreak::Pair), &mut stop);
    assert!(stopped.is_err());
}

#[test]
fn the_learned_parts_are_those_that_a_rank_file_gives() {
    for seed in 0..rounds(300, 2) as u64 {
        let mut random = Random(seed);
        let words = random_words(&mut random);
        let rule = random.pick(&RULES);
        let options = options(256 + random.below(60) as u32, rule);
        let learned = learned(&words, &options);
        let merges: Vec<(u32, u32)> = learned.iter().map(|m| (m.left, m.right)).collect();
        let vocab = Vocab::from_training(&rule.alphabet(), &merges).unwrap();
        assert!(
            vocab.is_ranked() && vocab.len() == 256 + merges.len(),
            "seed {seed}"
        );
        assert!(vocab.whole_piece_ids().is_empty(), "seed {seed}");
    }
}
