//! The scalar form and the vector scanner against the regex engine, at every SIMD level.

use super::patterns::{piece_end, Rules};
use super::*;
use crate::simd::Level;
use crate::testing::{rounds, Random};

/// Where the pieces of `text` end, by the regex engine, which must leave nothing out.
fn by_engine(pattern: &Pretokenizer, text: &str) -> Vec<usize> {
    let mut ends = vec![0];
    let mut each = |piece: std::ops::Range<usize>| {
        assert_eq!(ends.last(), Some(&piece.start), "text is left out");
        ends.push(piece.end);
    };
    pattern.engine().pieces(text, &mut each).unwrap();
    ends
}

fn by_scalar(rules: Rules, text: &str) -> Vec<usize> {
    let (mut ends, mut at) = (vec![0], 0);
    while at < text.len() {
        at = piece_end(rules, text.as_bytes(), at);
        ends.push(at);
    }
    ends
}

fn by_scanner(pattern: &Pretokenizer, text: &str) -> Vec<usize> {
    let mut ends = vec![0];
    let mut each = |piece: std::ops::Range<usize>| ends.push(piece.end);
    pattern.pieces(text, &mut each).unwrap();
    ends
}

/// The scanner with windows of one or two blocks, and the scalar form for one piece at a time, so
/// that windows end everywhere.
fn by_small_windows(rules: Rules, text: &str, blocks: usize) -> Vec<usize> {
    let mut scanner = Scanner::new();
    (scanner.window, scanner.scalar_bytes) = (64 * blocks, 1);
    let (mut ends, mut at) = (vec![0], 0);
    while at < text.len() {
        let end = scanner.next(rules, text, at);
        let bounds = &scanner.bounds()[1..];
        ends.extend(bounds.iter().map(|&bound| at + bound as usize));
        at = end;
    }
    ends
}

/// Panic with the text around the first difference.
fn assert_same(what: &str, pattern: &Pretokenizer, text: &str, got: &[usize], want: &[usize]) {
    if got == want {
        return;
    }
    let at = got.iter().zip(want).position(|(a, b)| a != b).unwrap_or(0);
    let from = want[at.saturating_sub(2)];
    let near: String = text[from..].chars().take(30).collect();
    let (got, want) = (got.get(at), want.get(at));
    let name = pattern.name();
    panic!("{what} {name:?}: near byte {from} {near:?}: the piece ends at {got:?}, want {want:?}");
}

fn check(pattern: &Pretokenizer, text: &str) {
    let (rules, want) = (pattern.rules().unwrap(), by_engine(pattern, text));
    let same = |what, got: Vec<usize>| assert_same(what, pattern, text, &got, &want);
    same("scalar", by_scalar(rules, text));
    Level::for_each(|level| {
        same(level.name(), by_scanner(pattern, text));
        for blocks in [1, 2] {
            same("small windows", by_small_windows(rules, text, blocks));
        }
    });
}

fn named() -> impl Iterator<Item = Pretokenizer> {
    NAMED.iter().map(|n| Pretokenizer::new(n.name).unwrap())
}

/// One of each kind of character that some rule tells from others: changes of case, contractions,
/// white space of one byte and of more, numbers, newlines, letters without case, marks.
const KINDS: [&str; 27] = [
    "a", "s", "L", "l", "é", "É", "你", "\u{301}", "ʰ", "ǅ", "1", "٣", " ", "\t", "\n", "\r",
    "\u{a0}", "\u{3000}", "!", "/", "'", "’", "🙂", "ſ", "\0", "e", "R",
];

#[test]
fn all_short_texts() {
    for pattern in named() {
        for a in KINDS {
            for b in KINDS {
                for c in KINDS {
                    check(&pattern, &[a, b, c].concat());
                }
            }
        }
    }
}

#[test]
fn random_texts_of_all_kinds() {
    let mut random = Random(1);
    for pattern in named() {
        for round in 0..rounds(5000, 2) {
            // Few kinds at a time make long runs; many make every pair of neighbours.
            let kinds: Vec<&str> = random.picks(&KINDS, 1 + round % 7);
            let kinds = if round % 4 == 0 { &KINDS } else { &kinds[..] };
            let len = random.below(if round % 50 == 0 { 6000 } else { 300 });
            check(&pattern, &random.picks::<_, String>(kinds, len));
        }
        for round in 0..rounds(500, 1) {
            // Runs of one kind, up to a window long and longer, among others.
            let mut text = String::new();
            while text.len() < 400 {
                let times = 1 + random.below(2 + round % 80);
                text += &random.pick(&KINDS).repeat(times);
            }
            check(&pattern, &text);
        }
    }
}

#[test]
fn words_around_block_and_window_borders() {
    let mut random = Random(2);
    let parts = [
        "don't ",
        "x'll",
        "  \n\n ",
        "12345",
        "ABCdef",
        "你好A。",
        "!!\n/",
        " 'S",
        "🙂\u{fe0f}",
        "\u{3000}",
    ];
    for pattern in named() {
        for shift in (0..70).chain(8180..8200).chain(16370..16400) {
            let text = "a".repeat(shift % 61)
                + &" b".repeat((shift - shift % 61) / 2)
                + &random.picks::<_, String>(&parts, 40);
            check(&pattern, &text);
        }
    }
}

#[test]
fn repeated_parts_are_cut_alike_at_every_window() {
    let parts = [
        "x's你Aa!\u{301}",
        "aA",
        "\u{a0}x",
        "Aa'lL",
        "x'lL",
        "'sS",
        "你AA",
        "aA\u{301}",
        "\n\u{a0}A",
        "1 ",
        "\r\n x",
    ];
    for pattern in named() {
        for part in parts {
            for shift in 0..part.len() + 2 {
                let text = "b".repeat(shift) + &part.repeat(20_000 / part.len());
                let want = by_scalar(pattern.rules().unwrap(), &text);
                Level::for_each(|_| {
                    assert_same(part, &pattern, &text, &by_scanner(&pattern, &text), &want);
                });
            }
        }
    }
}

#[test]
fn every_scalar_in_ten_contexts() {
    // One text per context: the engine sees long texts, the scanner many windows.
    let contexts = [
        "{}",
        "a{}",
        "{}a",
        " {}b",
        "!{}c ",
        "1{}2",
        "\n{} ",
        "'{}s",
        "A{}B{} ",
        "{}'s {}\n\n",
    ];
    for pattern in named() {
        for context in contexts {
            let mut text = String::new();
            for c in ('\0'..=char::MAX).filter(|c| sampled(*c)) {
                text += &context.replace("{}", c.encode_utf8(&mut [0; 4]));
                text += "xy z";
                if text.len() > 60_000 {
                    check(&pattern, &text);
                    text.clear();
                }
            }
            check(&pattern, &text);
        }
    }
}

/// All of planes 0 to 2, and every 61st of the others, where tens of thousands of code points in a
/// row have one class; all if `BPE_RS_EVERY_SCALAR` is set (which takes minutes).
fn sampled(c: char) -> bool {
    static ALL: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let all = || std::env::var_os("BPE_RS_EVERY_SCALAR").is_some();
    (c as u32) < 0x3_0000 || (c as u32).is_multiple_of(61) || *ALL.get_or_init(all)
}

#[test]
fn safe_cuts_change_no_piece() {
    let mut random = Random(3);
    let all = [
        "a", "B", " ", " ", "\n", "!", "/", "1", "你", "'s", "'Ll", "\u{3000}", "\u{301}", "ʰ",
        "é", "٣", "\u{a0}", "\r",
    ];
    for pattern in named() {
        let mut cuts = 0;
        for round in 0..6000 {
            // Many kinds, few, and none of the letters and numbers where most cuts are.
            let kinds: Vec<&str> = match round % 3 {
                0 => all.to_vec(),
                1 => random.picks(&all, 3),
                _ => vec!["a", "\n", "\n", " ", "!", "你", "\u{3000}", "\u{301}"],
            };
            let text: String = random.picks(&kinds, 30);
            // The text may end anywhere, also inside a character.
            let end = text.len() - random.below(5);
            if let Some(cut) = pattern.safe_cut(&text.as_bytes()[..end], 0, end) {
                cuts += 1;
                let mut joined = by_engine(&pattern, &text[..cut]);
                let behind = by_engine(&pattern, &text[cut..]);
                joined.extend(behind[1..].iter().map(|end| end + cut));
                let whole = by_engine(&pattern, &text);
                assert_eq!(joined, whole, "{:?} {text:?} {cut}", pattern.name());
            }
        }
        assert!(cuts > 1500);
    }
}

#[test]
fn bytes_are_classified_a_bounded_number_of_times() {
    // Texts full of starts that are not settled at the end of a window. If each took a window of
    // its own, time would be quadratic.
    let parts = [
        "aA", " é", " !", " мир", "\u{a0}x", "A\u{301}", "你A", "!\u{301}", "1٣", "\r\n", "a", " ",
        "\t ", "\n ", "'s", "x's", "🙂", "\0", "\u{3000}", "ǅ", "/\n",
    ];
    let settled = [
        "aA",
        "\u{a0}x",
        " мир",
        " é",
        "A\u{301}",
        "x's",
        "\u{3000}x",
    ];
    for pattern in named() {
        let rules = pattern.rules().unwrap();
        for part in parts.into_iter().chain(settled) {
            let text = part.repeat(200_000 / part.len());
            let (mut scanner, mut at) = (Scanner::new(), 0);
            while at < text.len() {
                at = scanner.next(rules, &text, at);
            }
            let times = scanner.scanned as f64 / text.len() as f64;
            // Where the scalar form takes over, the window was classified further than it was used.
            let most = if settled.contains(&part) { 1.1 } else { 10.0 };
            assert!(times < most, "{:?} {part:?}: {times}", pattern.name());
        }
    }
}

#[test]
fn any_other_pattern_runs_on_the_engine() {
    let pattern = Pretokenizer::new(r"\d+").unwrap();
    let mut found = Vec::new();
    let mut each = |piece| found.push(piece);
    pattern.pieces("a12b345", &mut each).unwrap();
    assert_eq!(found, [1..3, 4..7]);
    let error = Pretokenizer::new("(").unwrap_err().to_string();
    assert!(error.contains("expected a regular expression"));
}

/// A pattern that keeps the text between the matches of another is not searched as it is written.
#[test]
fn kept_gaps_are_cut_as_written() {
    let inner = [
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)",
        r"(?<=a)b|\d+(?=x)",
        r"(?i)ab|c",
        r"é",
    ];
    let mut random = Random(5);
    for x in inner {
        let pattern = format!(r"{x}|(?:(?!{x})[\s\S])+");
        let engine = |pattern: &str| Pretokenizer::new(pattern).unwrap();
        // With something that matches nothing behind it the pattern is run as it stands.
        let (fast, slow) = (engine(&pattern), engine(&format!("{pattern}(?:)")));
        for _ in 0..rounds(2000, 20) {
            let len = random.below(30);
            let letters = [
                'a', 'b', 'B', 'c', ' ', '1', '2', 'x', '.', '-', '\n', '/', 'é',
            ];
            let text: String = random.picks(&letters, len);
            let mut pieces = [vec![], vec![]];
            for (pattern, pieces) in [&fast, &slow].into_iter().zip(&mut pieces) {
                pattern
                    .pieces(&text, &mut |piece| pieces.push(piece))
                    .unwrap();
            }
            assert_eq!(pieces[0], pieces[1], "{x} {text:?}");
        }
    }
    // Two searches, not one for every character.
    let long = Pretokenizer::new(&format!(r"{0}|(?:(?!{0})[\s\S])+", inner[0])).unwrap();
    let text = "by the way ".repeat(rounds(100_000, 100));
    let mut pieces = 0;
    long.pieces(&text, &mut |_| pieces += 1).unwrap();
    assert_eq!(pieces, 2); // the last space is one
}
