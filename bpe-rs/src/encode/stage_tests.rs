//! Vocabularies that merge in two stages against merging every piece by all merges at once.

use super::tests::{reference, same_everywhere};
use super::*;
use crate::pretokenize::Pretokenizer;
use crate::testing::{rounds, Random};
use crate::vocab::{MergeRule, Vocab};

/// Whether a token has a word's end and a space behind it.
fn has_end_of_word(token: &str) -> bool {
    let characters = || token.chars();
    characters()
        .zip(characters().skip(1))
        .any(|(before, after)| after == ' ' && !before.is_whitespace())
}

/// Random merges: `first` of parts of words, then `second` of anything.
fn random_vocab(random: &mut Random, letters: &[char], (first, second): (usize, usize)) -> Vocab {
    let alphabet: Vec<u8> = (0..=255).collect();
    let mut merges: Vec<MergeRule> = Vec::new();
    let mut tokens: Vec<Vec<u8>> = alphabet.iter().map(|&byte| vec![byte]).collect();
    let mut used: Vec<u32> = Vec::new();
    for letter in letters {
        let utf8 = letter.to_string().into_bytes();
        used.extend(utf8.iter().map(|&byte| u32::from(byte)));
    }
    for round in 0..40 * (first + second) {
        if merges.len() == first + second {
            break;
        }
        let (left, right) = (random.pick(&used), random.pick(&used));
        let joined = [&tokens[left as usize][..], &tokens[right as usize][..]].concat();
        let is_first = merges.len() < first;
        if is_first && has_end_of_word(&String::from_utf8_lossy(&joined))
            || joined.len() > 24
            || tokens.contains(&joined)
            || merges.contains(&(left, right))
        {
            continue;
        }
        // Mostly with tokens, so that long ones are made.
        let new = tokens.len() as u32;
        used.extend(std::iter::repeat_n(new, 1 + round % 3));
        tokens.push(joined);
        merges.push((left, right));
    }
    Vocab::from_training(&alphabet, &merges).unwrap()
}

#[test]
fn two_stages_give_what_all_merges_give() {
    let mut random = Random(11);
    let patterns = ["superwords", r"[^|]+|\|", r"[\s\S]+"].map(|p| Pretokenizer::new(p).unwrap());
    let mut in_stages = 0;
    let all = rounds(120, 2);
    for round in 0..all {
        let letters: Vec<char> = match round % 3 {
            0 => "ab ".chars().collect(),
            1 => "ab c,| ".chars().collect(),
            _ => "abé中 \n1.| ".chars().collect(),
        };
        let counts = (1 + random.below(30), 1 + random.below(30));
        let vocab = random_vocab(&mut random, &letters, counts);
        in_stages += usize::from(vocab.stages().is_some());
        let pattern = &patterns[round % patterns.len()];
        // Few letters make long runs, also over the end of what is encoded at a time.
        let len = random.pick(&[40, 300, 9000]);
        let few: Vec<char> = random.picks(&letters, 3);
        let mut text: String = random.picks(&few, len);
        text += &random.picks::<_, String>(&letters, len);
        text += &"ab ".repeat(random.below(40));
        let want = reference(&vocab, pattern, &text);
        same_everywhere(&vocab, pattern, &text, &want, &format!("{round} {vocab:?}"));
    }
    assert!(in_stages > all / 2, "{in_stages} of {all}");
}

#[test]
fn a_run_without_end_takes_time_in_proportion() {
    // Not timed: anything quadratic would take hours here.
    let alphabet: Vec<u8> = (0..=255).collect();
    let (a, space) = (u32::from(b'a'), u32::from(b' '));
    let merges = [(space, a), (256, 256), (257, 257)];
    let vocab = Vocab::from_training(&alphabet, &merges).unwrap();
    assert!(vocab.stages().is_some());
    let pattern = Pretokenizer::new("superwords").unwrap();
    let times = rounds(1_000_000, 100);
    let mut ids = Vec::new();
    let scratch = &mut Scratch::new(1 << 20);
    encode_into(&vocab, &pattern, &" a".repeat(4 * times), scratch, &mut ids).unwrap();
    assert_eq!(ids, vec![258; times]);
}

#[test]
fn other_vocabularies_merge_in_one_stage() {
    let alphabet: Vec<u8> = (0..=255).collect();
    let (a, b, space) = (97, 98, 32);
    let stages = |merges: &[MergeRule]| {
        let vocab = Vocab::from_training(&alphabet, merges).unwrap();
        vocab.stages().is_some()
    };
    assert!(stages(&[(a, b), (256, space)]));
    assert!(
        !stages(&[(a, b), (space, space)]),
        "no word ends in a token"
    );
    assert!(!stages(&[(b, space), (256, a)]), "no first stage");
    // A part with a larger number than what it merges into.
    let token = |text: &str| text.as_bytes().to_vec();
    let longer = ["abb a", "ab", "b "].map(token);
    let tokens = alphabet.iter().map(|&byte| vec![byte]).chain(longer);
    let tokens: Vec<(Vec<u8>, u32)> = tokens.zip(0..).collect();
    let merges = [(257, 258), (a, b), (b, space)];
    let merged: Vec<(Vec<u8>, u32)> = [tokens.clone(), vec![(token("abb "), 259)]].concat();
    let vocab = Vocab::from_merges(merged, &merges, false).unwrap();
    assert!(vocab.stages().is_none());
}
