//! The trainer against its reference implementation.

mod reference;

use std::collections::HashSet;

use super::corpus::Segmented;
use super::*;
use crate::error::{Error, Result};
use crate::simd::Level;

/// A small reproducible generator: tests need variety, not quality.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }

    fn words(&mut self) -> Vec<(Vec<u8>, u64)> {
        let letters = 1 + self.below(5) as usize;
        let longest = [3, 8, 14, 40, 200][self.below(5) as usize];
        let most = [1, 3, 50, 1 << 40][self.below(4) as usize];
        let mut seen = HashSet::new();
        (0..1 + self.below(40))
            .filter_map(|_| {
                let len = 1 + self.below(longest);
                let word: Vec<u8> = (0..len)
                    .map(|_| b"ab cd"[self.below(letters as u64) as usize])
                    .collect();
                let count = 1 + self.below(most);
                seen.insert(word.clone()).then_some((word, count))
            })
            .collect()
    }
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
        threads: 1,
    }
}

fn quiet() -> impl FnMut(u64) -> Result<()> {
    |_| Ok(())
}

/// Miri is a few hundred times slower.
fn rounds(usual: u64) -> u64 {
    if cfg!(miri) {
        2
    } else {
        usual
    }
}

#[test]
fn random_corpora_give_the_reference_merges() {
    for seed in 0..rounds(400) {
        let mut random = Random(seed);
        let words = random.words();
        let rule = RULES[random.below(4) as usize];
        let options = TrainOptions {
            min_frequency: random.below(3) * random.below(30),
            max_token_length: (random.below(3) == 0).then(|| 1 + random.below(9) as u32),
            threads: [1, 2, 8, 16][random.below(4) as usize],
            ..options(256 + random.below(60) as u32, rule)
        };
        let start: Vec<Vec<u8>> = rule.alphabet().iter().map(|&byte| vec![byte]).collect();
        let expected = reference::merges(&words, &start, &options);
        Level::for_each(|level| {
            for max_postings in [None, Some(1), Some(50)] {
                let corpus =
                    Corpus::from_bytes(words.as_slice(), &rule.alphabet(), &mut quiet()).unwrap();
                let got = corpus
                    .learn_with(&options, max_postings, &mut quiet())
                    .unwrap();
                assert_eq!(
                    got, expected,
                    "seed {seed}, {level:?}, {max_postings:?}, {options:?}"
                );
            }
        });
    }
}

#[test]
fn wide_records_give_the_reference_merges() {
    for seed in 0..rounds(300) {
        let mut random = Random(seed);
        let mut words = random.words();
        // With a count past 48 bits the corpus starts in the wide layout.
        words.push((b"zz".to_vec(), 1 << 50));
        let rule = RULES[random.below(4) as usize];
        let options = options(256 + random.below(60) as u32, rule);
        let start: Vec<Vec<u8>> = rule.alphabet().iter().map(|&byte| vec![byte]).collect();
        let expected = reference::merges(&words, &start, &options);
        Level::for_each(|level| {
            let corpus =
                Corpus::from_bytes(words.as_slice(), &rule.alphabet(), &mut quiet()).unwrap();
            assert!(matches!(corpus.words, Segmented::Wide(_)));
            let got = corpus.learn_with(&options, None, &mut quiet()).unwrap();
            assert_eq!(got, expected, "seed {seed}, {level:?}, {options:?}");
        });
    }
}

#[test]
fn ids_past_65535_go_on_in_wide_records() {
    // Distinct words of four random bytes: almost every pair is new, so there are many merges.
    let mut random = Random(7);
    let words: Vec<(Vec<u8>, u64)> = (0..70_000u64)
        .map(|i| {
            let word = (0..4).map(|_| random.below(256) as u8).collect();
            (word, 1 + i % 3)
        })
        .collect();
    for rule in RULES {
        let corpus =
            || Corpus::from_bytes(words.as_slice(), &rule.alphabet(), &mut quiet()).unwrap();
        let options = options(70_000, rule);
        let changing = corpus().learn(&options, &mut quiet()).unwrap();
        assert_eq!(changing.len(), 70_000 - 256);
        let mut wide = corpus();
        let Segmented::Narrow(records) = &wide.words else {
            panic!("not narrow at the start")
        };
        wide.words = Segmented::Wide(records.widen().unwrap());
        assert_eq!(
            wide.learn(&options, &mut quiet()).unwrap(),
            changing,
            "{rule:?}"
        );
    }
}

#[test]
fn threads_make_no_difference() {
    let mut random = Random(3);
    let words: Vec<(Vec<u8>, u64)> = (0..if cfg!(miri) { 50 } else { 3000 })
        .map(|i| {
            let len = 2 + random.below(9);
            let word = (0..len).map(|_| b'a' + random.below(20) as u8).collect();
            (word, 1 + i % 5)
        })
        .collect();
    for rule in RULES {
        let learned = |threads| {
            let options = TrainOptions {
                threads,
                ..options(600, rule)
            };
            let corpus = Corpus::from_bytes(words.as_slice(), &rule.alphabet(), &mut quiet());
            corpus.unwrap().learn(&options, &mut quiet()).unwrap()
        };
        let expected = learned(1);
        for threads in [2, 8] {
            assert_eq!(learned(threads), expected, "{rule:?}, {threads} threads");
        }
    }
}

#[test]
fn words_of_any_length() {
    let lengths = [
        2usize, 11, 12, 13, 27, 28, 29, 255, 256, 65_535, 65_536, 70_001,
    ];
    for &len in &lengths[..if cfg!(miri) { 7 } else { lengths.len() }] {
        let words = [(vec![b'a'; len], 3), (b"ab".repeat(len / 2), 2)];
        let options = options(256 + 12, TieBreak::Pair);
        let start: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        let expected = reference::merges(&words, &start, &options);
        let corpus =
            Corpus::from_bytes(words.as_slice(), &TieBreak::Pair.alphabet(), &mut quiet()).unwrap();
        assert_eq!(
            corpus.learn(&options, &mut quiet()).unwrap(),
            expected,
            "length {len}"
        );
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
    let letters = |count: u64| {
        let mut random = Random(count);
        let letter = |_| b'a' + random.below(count) as u8;
        (0..500).map(letter).collect::<Vec<u8>>()
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
        let start: Vec<Vec<u8>> = rule.alphabet().iter().map(|&byte| vec![byte]).collect();
        for from in 0..rounds(words.len() as u64) as usize {
            // One word, and all from one on with words of other kinds between them.
            for to in [from + 1, words.len()] {
                let mut words: Vec<_> = words[from..to].iter().cloned().zip(2..).collect();
                words.insert(0, (b"ab".to_vec(), 3));
                words.push((b"zz".to_vec(), if from % 2 == 0 { 1 } else { 1 << 50 }));
                let options = options(256 + 90, rule);
                let expected = reference::merges(&words, &start, &options);
                for max_postings in [None, Some(1)] {
                    let corpus =
                        Corpus::from_bytes(words.as_slice(), &rule.alphabet(), &mut quiet());
                    let learned = corpus
                        .unwrap()
                        .learn_with(&options, max_postings, &mut quiet());
                    assert_eq!(learned.unwrap(), expected, "{rule:?}, words {from}..{to}");
                }
            }
        }
    }
}

#[test]
fn sizes_that_no_words_can_fill_cost_nothing() {
    let words = [(b"low".to_vec(), 2), (vec![b'a'; 100], 1)];
    let learned = |vocab_size, threads| {
        let options = TrainOptions {
            threads,
            ..options(vocab_size, TieBreak::Pair)
        };
        let alphabet = TieBreak::Pair.alphabet();
        let corpus = Corpus::from_bytes(&words[..], &alphabet, &mut quiet()).unwrap();
        assert!(corpus.max_merges() == 103);
        corpus.learn(&options, &mut quiet()).unwrap()
    };
    assert_eq!(learned(u32::MAX, usize::MAX), learned(400, 1));
}

#[test]
fn extending_a_vocabulary_never_spells_a_token_twice() {
    for seed in 0..rounds(300) {
        let mut random = Random(seed);
        let words = random.words();
        let rule = RULES[random.below(4) as usize];
        let mut start: Vec<Vec<u8>> = rule.alphabet().iter().map(|&byte| vec![byte]).collect();
        // "abc" and "cab" are there without the tokens that lead to them.
        start.extend([
            b"ab".to_vec(),
            b"abc".to_vec(),
            b"cab".to_vec(),
            b"aa".to_vec(),
        ]);
        let options = options(260 + random.below(40) as u32, rule);
        let segment = |word: &[u8], ids: &mut Vec<u32>| {
            ids.extend(reference::segment(word, &start));
            Ok(())
        };
        let expected = reference::merges(&words, &start, &options);
        let corpus =
            Corpus::from_vocabulary(words.as_slice(), start.clone(), &segment, &mut quiet())
                .unwrap();
        let got = corpus.learn(&options, &mut quiet()).unwrap();
        assert_eq!(got, expected, "seed {seed}");
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let words = [(b"ab".to_vec(), 1u64)];
    let message = |result: Result<Corpus>| result.err().unwrap().to_string();
    assert!(message(Corpus::from_bytes(&words[..], b"a", &mut quiet())).contains("0x62"));
    assert!(message(Corpus::from_bytes(&words[..], b"aab", &mut quiet())).contains("twice"));
    let counts = [(b"aaaaa".to_vec(), u64::MAX / 2)];
    assert!(message(Corpus::from_bytes(&counts[..], b"a", &mut quiet())).contains("too large"));
    let corpus = Corpus::from_bytes(&words[..], b"ab", &mut quiet()).unwrap();
    let small = corpus.learn(&options(1, TieBreak::Pair), &mut quiet());
    assert!(small.unwrap_err().to_string().contains("vocab_size 1"));
    let corpus = Corpus::from_bytes(&words[..], b"ab", &mut quiet()).unwrap();
    let stopped = corpus.learn(&options(10, TieBreak::Pair), &mut |_| {
        Err(Error::interrupted())
    });
    assert!(stopped.is_err());
}

#[test]
fn the_learned_parts_are_those_that_a_rank_file_gives() {
    use crate::vocab::Vocab;
    for seed in 0..rounds(300) {
        let mut random = Random(seed);
        let words = random.words();
        let rule = RULES[random.below(4) as usize];
        let alphabet = rule.alphabet();
        let options = options(256 + random.below(60) as u32, rule);
        let corpus = Corpus::from_bytes(words.as_slice(), &alphabet, &mut quiet()).unwrap();
        let learned = corpus.learn(&options, &mut quiet()).unwrap();
        let merges: Vec<(u32, u32)> = learned.iter().map(|m| (m.left, m.right)).collect();
        let ours = Vocab::from_training(&alphabet, &merges).unwrap();
        let ranks: Vec<(Vec<u8>, u32)> = ours
            .tokens()
            .iter()
            .map(|(id, token)| (token.to_vec(), id))
            .collect();
        let theirs = Vocab::from_ranks(ranks).unwrap();
        assert_eq!(ours.len(), theirs.len(), "seed {seed}");
        assert_eq!(ours.merges(), theirs.merges(), "seed {seed}");
        assert!(theirs.whole_piece_ids().is_empty(), "seed {seed}");
    }
}

#[test]
fn merges_that_no_training_gives_are_refused() {
    use crate::vocab::Vocab;
    let message = |vocab: Result<Vocab>| vocab.err().map(|error| error.to_string()).unwrap();
    assert!(message(Vocab::from_training(b"aa", &[])).contains("0x61 twice"));
    assert!(message(Vocab::from_training(b"ab", &[(0, 2)])).contains("below 2, got (0, 2)"));
}
