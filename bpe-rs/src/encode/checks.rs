//! The caches against merging every piece anew.

use super::*;
use crate::registry::published;
use crate::simd::Level;

fn slowly(name: &str, text: &str) -> Vec<u32> {
    let encoding = published(name).unwrap();
    let (mut pieces, mut ids) = (PieceEncoder::default(), Vec::new());
    encoding
        .pattern()
        .engine()
        .pieces(text, &mut |piece| {
            pieces
                .encode(encoding.vocab(), &text.as_bytes()[piece], &mut ids)
                .unwrap();
        })
        .unwrap();
    ids
}

/// Words of every length and script, new ones and old ones.
fn sample(words: usize) -> String {
    let parts = [
        "the", " in", "ter", "ña", "tion", "你好", "мир", "\n", " ", "1234", "!", "\0", "x", "🙂",
        "é",
    ];
    let mut state = 5u64;
    let mut text = String::new();
    for _ in 0..words {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        text += parts[(state >> 33) as usize % parts.len()];
        if state >> 60 == 0 {
            text += &"ab".repeat((state >> 40) as usize % 300);
        }
    }
    text
}

#[test]
fn caches_change_nothing() {
    let text = sample(40_000);
    for name in ["r50k_base", "cl100k_base", "o200k_base"] {
        let encoding = published(name).unwrap();
        let want = slowly(name, &text);
        for level in Level::available() {
            level.force();
            // Large, small and hardly any.
            for limit in [32 << 20, 1 << 16, 0] {
                let mut scratch = Scratch::new(limit);
                for _ in 0..2 {
                    let mut ids = Vec::new();
                    let (vocab, pattern) = (encoding.vocab(), encoding.pattern());
                    encode_into(vocab, pattern, &text, &mut scratch, &mut ids).unwrap();
                    assert!(ids == want, "{name} {level:?} {limit}");
                    let mut most =
                        |limit| count(vocab, pattern, &text, limit, &mut scratch).unwrap();
                    assert_eq!(most(usize::MAX), Some(want.len()));
                    assert_eq!(most(want.len()), Some(want.len()));
                    assert_eq!(most(want.len() - 1), None);
                    assert_eq!(most(0), None);
                }
            }
        }
    }
}

#[test]
fn caches_stay_within_their_limit() {
    let encoding = published("r50k_base").unwrap();
    let limit = 2 << 20;
    let mut scratch = Scratch::new(limit);
    let mut ids = Vec::new();
    for round in 0..40 {
        let text: String = (0..20_000)
            .map(|i| format!(" word{round}x{i} longer-{i}-{round}-é"))
            .collect();
        ids.clear();
        encode_into(
            encoding.vocab(),
            encoding.pattern(),
            &text,
            &mut scratch,
            &mut ids,
        )
        .unwrap();
        assert!(
            scratch.cache_bytes() < 2 * limit,
            "{}",
            scratch.cache_bytes()
        );
    }
}

#[test]
fn long_pieces_take_time_in_proportion() {
    // Not timed: a quadratic way would take hours on these.
    let encoding = published("cl100k_base").unwrap();
    for part in ["a", " ", "0", "ab", "\u{4f60}", "\u{301}", "'s"] {
        let text = part.repeat(1_000_000 / part.len());
        let mut ids = Vec::new();
        encoding.encode_ordinary(&text, &mut ids).unwrap();
        let mut bytes = Vec::new();
        encoding.decode(&ids, &mut bytes).unwrap();
        assert_eq!(bytes, text.as_bytes());
    }
}

#[test]
fn own_vocabulary_through_all_tables() {
    // Small enough for Miri, which watches what the unsafe code of tables and output does.
    let tokens = [
        "ab",
        "abab",
        "ba",
        "the",
        " th",
        " the",
        "12",
        "\u{e9}",
        "\u{4f60}\u{597d}",
    ];
    let bytes = (0..=255u32).map(|byte| (vec![byte as u8], byte));
    let longer = tokens
        .iter()
        .zip(256..)
        .map(|(token, id)| (token.as_bytes().to_vec(), id));
    let vocab = Vocab::from_ranks(bytes.chain(longer)).unwrap();
    let (names, rounds, parts) = if cfg!(miri) {
        (&["cl100k"][..], 1, 40)
    } else {
        (&["gpt2", "cl100k", "o200k"][..], 200, 150)
    };
    for name in names {
        let pattern = Pretokenizer::new(name).unwrap();
        for (round, limit) in (0..rounds).zip([1 << 12, 0, 1 << 20].into_iter().cycle()) {
            let text: String = (0..parts + round)
                .map(|at| match at % 7 {
                    0 => " the".repeat(1 + at % 5),
                    1 => "abab".repeat(at * round % 40),
                    2 => format!(" {at}{round}"),
                    3 => "\u{4f60}\u{597d}".repeat(at % 4),
                    4 => "\n".into(),
                    _ => format!(" x{}y", "\u{e9}".repeat(at % 9)),
                })
                .collect();
            let (mut pieces, mut want) = (PieceEncoder::default(), Vec::new());
            let mut each = |piece| {
                let piece = &text.as_bytes()[piece];
                pieces.encode(&vocab, piece, &mut want).unwrap();
            };
            pattern.pieces(&text, &mut each).unwrap();
            let mut scratch = Scratch::new(limit);
            for _ in 0..2 {
                let mut ids = Vec::new();
                encode_into(&vocab, &pattern, &text, &mut scratch, &mut ids).unwrap();
                assert!(ids == want, "{name} {round} {limit}");
            }
        }
    }
}
