//! The caches against their reference: merging every piece anew.

use super::*;
use crate::encoding::Encoding;
use crate::pretokenize::Pretokenizer;
use crate::registry::get_encoding;
use crate::simd::Level;
use crate::special::SpecialTokens;
use crate::testing::{rounds, Random};
use crate::vocab::Vocab;

/// The ids of `text`: pieces by the regex engine, each merged by itself.
pub(super) fn reference(vocab: &Vocab, pattern: &Pretokenizer, text: &str) -> Vec<u32> {
    let (mut pieces, mut ids) = (PieceEncoder::default(), Vec::new());
    let mut each = |piece| {
        let piece = &text.as_bytes()[piece];
        pieces.encode_from_bytes(vocab, piece, &mut ids);
    };
    if cfg!(miri) {
        // Where compiling the expression takes many minutes.
        pattern.pieces(text, &mut each).unwrap();
    } else {
        pattern.engine().pieces(text, &mut each).unwrap();
    }
    ids
}

fn encode(vocab: &Vocab, pattern: &Pretokenizer, text: &str, scratch: &mut Scratch) -> Vec<u32> {
    let mut ids = Vec::new();
    encode_into(vocab, pattern, text, scratch, &mut ids).unwrap();
    ids
}

/// Check that every level and every limit of the caches, empty or filled, gives `want`.
pub(super) fn same_everywhere(
    vocab: &Vocab,
    pattern: &Pretokenizer,
    text: &str,
    want: &[u32],
    what: &str,
) {
    const LIMITS: [usize; 7] = [1, 0, 1 << 10, 1 << 16, 64 << 20, 1 << 63, usize::MAX];
    Level::for_each(|level| {
        for limit in &LIMITS[..rounds(LIMITS.len(), 1)] {
            let mut scratch = Scratch::new(*limit);
            for _ in 0..2 {
                let ids = encode(vocab, pattern, text, &mut scratch);
                assert!(ids == want, "{what} {level:?} {limit}");
            }
            for most in [0, want.len().saturating_sub(1), want.len(), usize::MAX] {
                let counted = count(vocab, pattern, text, most, &mut scratch).unwrap();
                assert_eq!(counted, Some(want.len()).filter(|&count| count <= most));
            }
        }
    });
}

/// Pieces of every length, of several scripts, new and repeated ones.
pub(super) fn sample(words: usize) -> String {
    let parts = [
        "the", " in", "ter", "ña", "tion", "你好", "мир", "\n", " ", "1234", "!", "\0", "x", "🙂",
        "é",
    ];
    let mut random = Random(5);
    let mut text = String::new();
    for _ in 0..words {
        text += random.pick(&parts);
        if random.below(16) == 0 {
            text += &"ab".repeat(random.below(300));
        }
    }
    text
}

#[test]
fn caches_change_nothing() {
    let text = sample(10_000);
    for name in ["r50k_base", "cl100k_base", "o200k_base"] {
        let encoding = get_encoding(name).unwrap();
        let (vocab, pattern) = (encoding.vocab(), encoding.pattern());
        let want = reference(vocab, pattern, &text);
        same_everywhere(vocab, pattern, &text, &want, name);
    }
}

#[test]
#[cfg_attr(miri, ignore = "the published vocabularies are too large")]
fn starting_from_characters_changes_nothing() {
    for name in ["r50k_base", "cl100k_base", "o200k_base"] {
        let encoding = get_encoding(name).unwrap();
        let (vocab, pattern) = (encoding.vocab(), encoding.pattern());
        assert!(vocab.char_starts().is_some());
        // Tokens of all scripts side by side: many of their neighbours merge, some by their bytes.
        let tokens = vocab.tokens().iter().map(|(_, bytes)| bytes);
        let tokens = tokens.filter_map(|bytes| std::str::from_utf8(bytes).ok());
        let tokens: Vec<&str> = tokens.filter(|token| !token.is_ascii()).collect();
        let (mut random, mut text) = (Random(8), String::new());
        for _ in 0..4000 {
            for _ in 0..=random.below(9) {
                text += random.pick(&tokens);
            }
            text += random.pick(&[" ", "\n", "a", "，", "\u{4e00}", "", "🙂", "\u{2c88}"]);
        }
        let want = reference(vocab, pattern, &text);
        same_everywhere(vocab, pattern, &text, &want, name);
        let (mut pieces, mut ids) = (PieceEncoder::default(), Vec::new());
        let mut each = |piece| {
            let piece = &text.as_bytes()[piece];
            pieces.encode(vocab, piece, &mut ids).unwrap();
        };
        pattern.engine().pieces(&text, &mut each).unwrap();
        assert!(ids == want, "{name}");
    }
}

#[test]
fn caches_stay_within_their_limit() {
    let encoding = get_encoding("r50k_base").unwrap();
    let limit = 2 << 20;
    let mut scratch = Scratch::new(limit);
    for round in 0..40 {
        let text: String = (0..20_000)
            .map(|i| format!(" word{round}x{i} longer-{i}-{round}-é"))
            .collect();
        encode(encoding.vocab(), encoding.pattern(), &text, &mut scratch);
        let bytes = scratch.cache_bytes();
        assert!(bytes < 2 * limit, "{bytes}");
    }
}

#[test]
fn pieces_too_long_to_keep_leave_the_others() {
    let encoding = get_encoding("r50k_base").unwrap();
    let (vocab, pattern) = (encoding.vocab(), encoding.pattern());
    let mut scratch = Scratch::new(1 << 20);
    encode(vocab, pattern, &sample(500), &mut scratch);
    let before = scratch.pieces();
    for round in 0..2000 {
        // A piece too long for the tables, next to another; so often that the arena would be full.
        let text = format!("{}q{round} {}", "xq".repeat(200), "zx".repeat(50));
        let ids = encode(vocab, pattern, &text, &mut scratch);
        assert_eq!(ids, reference(vocab, pattern, &text));
        let pieces = scratch.pieces();
        assert!(pieces >= before, "round {round}: {pieces} of {before}");
    }
}

#[test]
fn long_pieces_take_time_in_proportion() {
    // Not timed: anything quadratic would take hours here.
    let encoding = get_encoding("cl100k_base").unwrap();
    for part in ["a", " ", "0", "ab", "\u{4f60}", "\u{301}", "'s"] {
        let text = part.repeat(1_000_000 / part.len());
        let (mut ids, mut bytes) = (Vec::new(), Vec::new());
        encoding.encode_ordinary(&text, &mut ids).unwrap();
        encoding.decode(&ids, &mut bytes).unwrap();
        assert_eq!(bytes, text.as_bytes());
    }
}

/// The 256 bytes and `longer` tokens; token `i` has the id `id(i)`, which increases.
pub(super) fn vocab_of(longer: &[&str], id: impl Fn(u32) -> u32) -> Vocab {
    let bytes = (0..=255u8).map(|byte| vec![byte]);
    let longer = longer.iter().map(|token| token.as_bytes().to_vec());
    Vocab::from_ranks(bytes.chain(longer).zip((0..).map(id))).unwrap()
}

/// Runs of "a".
const RUNS: [&str; 5] = ["aa", "aaa", "aaaa", "aaaaaaaa", "aaaaaaaaaaaaaaaa"];

#[test]
fn own_vocabulary_through_all_tables() {
    // Small enough for Miri, which checks the unsafe code of tables and output.
    let tokens = ["ab", "abab", "ba", "the", " th", " the", "12", "é", "你好"];
    let vocab = vocab_of(&tokens, |i| i);
    let names = ["cl100k", "gpt2", "o200k"];
    for name in &names[..rounds(3, 1)] {
        let pattern = Pretokenizer::new(name).unwrap();
        for round in 0..rounds(50, 1) {
            let text: String = (0..rounds(150, 40) + 4 * round)
                .map(|at| match at % 7 {
                    0 => " the".repeat(1 + at % 5),
                    1 => "abab".repeat(at * round % 40),
                    2 => format!(" {at}{round}"),
                    3 => "你好".repeat(at % 4),
                    4 => "\n".into(),
                    _ => format!(" x{}y", "é".repeat(at % 9)),
                })
                .collect();
            let want = reference(&vocab, &pattern, &text);
            same_everywhere(&vocab, &pattern, &text, &want, name);
        }
    }
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
    let vocab = vocab_of(&RUNS, |i| i);
    let pattern = Pretokenizer::new(r"[^|]+|\|").unwrap();
    // Around the ends of batches and of blocks of flags.
    for count in [1, 31, 32, 33, 127, 128, 129, 256, 257, 511, 512, 513, 2000] {
        let all: Vec<_> = pieces.iter().cycle().take(count).cloned().collect();
        // Nothing behind the last piece, a little, and enough to read eight bytes.
        for end in ["", "|", "|a|a|a|a|a"] {
            let text = all.join("|") + end;
            let want = reference(&vocab, &pattern, &text);
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
    let (plain, vocab) = (vocab_of(&RUNS, |i| i), vocab_of(&RUNS, large));
    assert_eq!(vocab.max_id(), Some(u32::MAX));
    let pattern = Pretokenizer::new("cl100k").unwrap();
    let text = "aaaaaaa Ab1 you knöw 你好aaaa!! xyz 99 az\n\0🙂 m né\u{ff}".repeat(rounds(40, 1));
    let want = reference(&plain, &pattern, &text).into_iter().map(large);
    let want: Vec<u32> = want.collect();
    same_everywhere(&vocab, &pattern, &text, &want, "");
    let special = SpecialTokens::new([]).unwrap();
    let encoding = Encoding::new("large", vocab, pattern, special);
    let (mut ids, mut bytes) = (Vec::new(), Vec::new());
    encoding.encode_ordinary(&text, &mut ids).unwrap();
    encoding.decode(&ids, &mut bytes).unwrap();
    assert!(ids == want && bytes == text.as_bytes());
}
