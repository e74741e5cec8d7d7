//! The caches against their reference: merging every piece anew.

use super::piece_encoder::PieceEncoder;
use super::scratch::Scratch;
use super::text::{count, encode_into};
use crate::pretokenize::Pretokenizer;
use crate::registry::get_encoding;
use crate::simd::Level;
use crate::vocab::Vocab;

/// The ids of `text`: pieces by the regex engine, each merged by itself.
fn reference(name: &str, text: &str) -> Vec<u32> {
    let encoding = get_encoding(name).unwrap();
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

/// Pieces of every length, of several scripts, new and repeated ones.
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
        let encoding = get_encoding(name).unwrap();
        let want = reference(name, &text);
        Level::for_each(|level| {
            // Large, small and next to no caches.
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
        });
    }
}

#[test]
fn caches_stay_within_their_limit() {
    let encoding = get_encoding("r50k_base").unwrap();
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
fn pieces_too_long_to_keep_leave_the_others() {
    let encoding = get_encoding("r50k_base").unwrap();
    let mut scratch = Scratch::new(1 << 20);
    let mut encode = |text: &str| {
        let mut ids = Vec::new();
        encode_into(
            encoding.vocab(),
            encoding.pattern(),
            text,
            &mut scratch,
            &mut ids,
        )
        .unwrap();
        (ids, scratch.pieces())
    };
    let (_, before) = encode(&sample(500));
    for round in 0..2000 {
        // A piece too long for the tables, next to another; so often that the arena would be full.
        let text = format!("{}q{round} {}", "xq".repeat(200), "zx".repeat(50));
        let (ids, pieces) = encode(&text);
        assert_eq!(ids, reference("r50k_base", &text));
        assert!(pieces >= before, "round {round}: {pieces} of {before}");
    }
}

#[test]
fn long_pieces_take_time_in_proportion() {
    // Not timed: anything quadratic would take hours here.
    let encoding = get_encoding("cl100k_base").unwrap();
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
    // Small enough for Miri, which checks the unsafe code of tables and output.
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

/// Few limits under Miri, which is slow.
const LIMITS: &[usize] = if cfg!(miri) {
    &[1]
} else {
    &[0, 1, 1 << 10, 1 << 16, 64 << 20, 1 << 63, usize::MAX]
};

/// A vocabulary of the 256 bytes and runs of "a"; token `i` has the id `id(i)`, which increases.
fn runs(id: impl Fn(u32) -> u32) -> Vocab {
    let bytes = (0..=255u8).map(|byte| vec![byte]);
    let longer = [2, 3, 4, 8, 16].map(|times| b"a".repeat(times));
    Vocab::from_ranks(bytes.chain(longer).zip((0..).map(id))).unwrap()
}

/// Check that every level and every limit of the caches, empty or filled, gives `want`.
fn same_everywhere(vocab: &Vocab, pattern: &Pretokenizer, text: &str, want: &[u32], what: &str) {
    Level::for_each(|level| {
        for &limit in LIMITS {
            let mut scratch = Scratch::new(limit);
            for _ in 0..2 {
                let mut ids = Vec::new();
                encode_into(vocab, pattern, text, &mut scratch, &mut ids).unwrap();
                assert!(ids == want, "{what} {level:?} {limit}");
            }
        }
    });
}

fn piece_by_piece(vocab: &Vocab, pattern: &Pretokenizer, text: &str) -> Vec<u32> {
    let (mut pieces, mut ids) = (PieceEncoder::default(), Vec::new());
    let mut each = |piece| {
        pieces
            .encode(vocab, &text.as_bytes()[piece], &mut ids)
            .unwrap()
    };
    pattern.pieces(text, &mut each).unwrap();
    ids
}

#[test]
#[cfg_attr(miri, ignore = "compiling the expression takes many minutes")]
fn pieces_that_are_nearly_alike_are_kept_apart() {
    // A key holds a piece's bytes and a bit behind them: pieces that differ in zeros and ones at
    // their end, of all lengths at which another table or buffer is used.
    let mut pieces = Vec::new();
    for len in [1, 2, 6, 7, 8, 9, 14, 15, 16, 17, 31, 32, 33, 255, 256, 257] {
        for tail in ["", "\0", "\u{1}", "\u{2}", "\0\0", "\u{1}\0", "\0\u{1}"] {
            pieces.push("a".repeat(len) + tail);
        }
    }
    let (vocab, pattern) = (runs(|i| i), Pretokenizer::new(r"[^|]+|\|").unwrap());
    // Around the ends of batches and of blocks of flags.
    for count in [1, 31, 32, 33, 127, 128, 129, 256, 257, 1000] {
        let all: Vec<_> = pieces.iter().cycle().take(count).cloned().collect();
        // Nothing behind the last piece, a little, and enough to read eight bytes.
        for end in ["", "|", "|a|a|a|a|a"] {
            let text = all.join("|") + end;
            let want = piece_by_piece(&vocab, &pattern, &text);
            same_everywhere(&vocab, &pattern, &text, &want, &format!("{count} {end:?}"));
        }
    }
}

#[test]
fn ids_of_any_size() {
    // Only ids below 2^20 can be packed.
    let large = |i: u32| match i {
        0..90 => i,
        90..130 => (1 << 20) - 110 + i,
        130..200 => (1 << 31) - 165 + i,
        _ => u32::MAX - 260 + i,
    };
    let (plain, vocab) = (runs(|i| i), runs(large));
    assert_eq!(vocab.max_id(), Some(u32::MAX));
    let pattern = Pretokenizer::new("cl100k").unwrap();
    let times = if cfg!(miri) { 1 } else { 40 };
    let text =
        "aaaaaaa Ab1 you kn\u{f6}w \u{4f60}\u{597d}aaaa!! xyz 99 az\n\0\u{1f642} m n\u{e9}\u{ff}"
            .repeat(times);
    let want: Vec<u32> = piece_by_piece(&plain, &pattern, &text)
        .into_iter()
        .map(large)
        .collect();
    same_everywhere(&vocab, &pattern, &text, &want, "");
    let encoding = crate::encoding::Encoding::new(
        "large",
        vocab,
        pattern,
        crate::special::SpecialTokens::new([]).unwrap(),
    );
    let (mut ids, mut bytes) = (Vec::new(), Vec::new());
    encoding.encode_ordinary(&text, &mut ids).unwrap();
    encoding.decode(&ids, &mut bytes).unwrap();
    assert!(ids == want && bytes == text.as_bytes());
}
