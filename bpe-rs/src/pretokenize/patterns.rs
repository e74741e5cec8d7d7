//! The published patterns: their regular expressions, and the same rules written out character by
//! character (the scalar form).
//!
//! The scalar form is the readable reference of the vector scanner and takes over where that has no
//! rule. No pattern looks behind, so where a piece ends depends only on the text from its start on,
//! and cutting can begin at the start of any piece. Sources: tiktoken 0.14 `openai_public.py` (gpt2,
//! cl100k, o200k), the `tokenizer.json` files of GPT-2, Llama 3 and Qwen 2/2.5/3.

use super::classes::{class_at, LETTER, LOWER, NUMBER, SPACE, UPPER, WORD};

/// How a named pattern cuts text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// GPT-2, r50k, p50k: runs of letters, of numbers and of other characters, each with the ' '
    /// before it.
    Gpt2,
    /// cl100k, Llama 3, Qwen: any character but a newline may lead a word, numbers in groups.
    Cl100k {
        /// How many numbers make a group (3, or 1 for Qwen).
        digits: u8,
        /// Whether white space at the end of the text is one piece (cl100k) or splits after its
        /// last newline (Llama 3, Qwen).
        whole_tail: bool,
    },
    /// o200k: as cl100k without the whole tail, but words split at changes of case, and
    /// contractions belong to the word before them.
    O200k,
    /// SuperBPE's second stage: groups of numbers, two and more of punctuation and runs of ' ' are cut
    /// out, what is between is one piece. There is the scalar form only: pieces are long.
    Superwords,
}

/// A published pattern: its name, its rules and the regular expressions known to mean it.
#[derive(Debug)]
pub struct NamedPattern {
    /// The name by which [`super::Pretokenizer::new`] knows it.
    pub name: &'static str,
    /// Other names for the same pattern.
    pub aliases: &'static [&'static str],
    /// How it cuts.
    pub(crate) rules: Rules,
    /// The regular expression: the reference for the scanners, and what is saved to files.
    pub regex: &'static str,
    /// Other regular expressions that cut every text alike.
    pub spellings: &'static [&'static str],
}

/// Every pattern that has a hand-written scanner.
pub static NAMED: [NamedPattern; 6] = [
    NamedPattern {
        name: "gpt2",
        aliases: &["r50k_base", "p50k_base", "p50k_edit", "r50k", "p50k"],
        rules: Rules::Gpt2,
        regex: r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
        spellings: &[
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        ],
    },
    NamedPattern {
        name: "cl100k",
        aliases: &["cl100k_base"],
        rules: Rules::Cl100k {
            digits: 3,
            whole_tail: true,
        },
        regex: r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
        spellings: &[],
    },
    NamedPattern {
        name: "o200k",
        aliases: &["o200k_base", "o200k_harmony"],
        rules: Rules::O200k,
        regex: r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        spellings: &[],
    },
    NamedPattern {
        name: "llama3",
        aliases: &["llama-3", "llama3.1", "llama3.2", "llama3.3"],
        rules: Rules::Cl100k {
            digits: 3,
            whole_tail: false,
        },
        regex: r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        spellings: &[
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        ],
    },
    NamedPattern {
        name: "qwen2",
        aliases: &["qwen", "qwen2.5", "qwen3"],
        rules: Rules::Cl100k {
            digits: 1,
            whole_tail: false,
        },
        regex: r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        spellings: &[],
    },
    NamedPattern {
        name: "superwords",
        aliases: &[],
        rules: Rules::Superwords,
        regex: r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)|(?:(?!\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S))[\s\S])+",
        spellings: &[],
    },
];

/// The named pattern that `pattern` is: by name, alias or regular expression.
pub(super) fn find_named(pattern: &str) -> Option<&'static NamedPattern> {
    NAMED.iter().find(|named| {
        named.name == pattern
            || named.regex == pattern
            || named.aliases.contains(&pattern)
            || named.spellings.contains(&pattern)
    })
}

/// The end of the piece that starts at `at`, which is less than `text.len()` and the first byte of
/// a character. `text` is UTF-8.
pub(super) fn piece_end(rules: Rules, text: &[u8], at: usize) -> usize {
    match rules {
        Rules::Gpt2 => gpt2(text, at),
        Rules::Cl100k { digits, whole_tail } => cl100k(text, at, digits, whole_tail),
        Rules::O200k => o200k(text, at),
        Rules::Superwords => superwords(text, at),
    }
}

/// The length in bytes of the contraction that begins with the apostrophe at `at`; 0 if none does.
/// `any_case` is the regex flag `i`, under which `ſ` is an `s`.
#[inline]
pub(super) fn contraction(text: &[u8], at: usize, any_case: bool) -> usize {
    let fold = if any_case { 0x20 } else { 0 };
    let letter = |i: usize| {
        text.get(at + i)
            .map_or(0, |&b| if b.is_ascii_alphabetic() { b | fold } else { b })
    };
    match (letter(1), letter(2)) {
        (b's' | b'd' | b'm' | b't', _) => 2,
        (b'l', b'l') | (b'v' | b'r', b'e') => 3,
        (0xC5, 0xBF) if any_case => 3,
        _ => 0,
    }
}

/// The end of the run, from `at` on, of characters whose class `is_member` accepts.
#[inline]
fn run_end(text: &[u8], mut at: usize, is_member: impl Fn(u8) -> bool) -> usize {
    while at < text.len() {
        let (class, len) = class_at(text, at);
        if !is_member(class) {
            break;
        }
        at += len;
    }
    at
}

/// Neither letter, number nor white space. Marks are others, although o200k's words take them too.
#[inline]
fn is_other(class: u8) -> bool {
    class & (LETTER | NUMBER | SPACE) == 0
}

fn is_newline(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

fn gpt2(text: &[u8], at: usize) -> usize {
    if text[at] == b'\'' {
        let len = contraction(text, at, false);
        if len > 0 {
            return at + len;
        }
    }
    let body = if text[at] == b' ' && at + 1 < text.len() {
        at + 1
    } else {
        at
    };
    let (first, len) = class_at(text, body);
    if first & SPACE != 0 {
        return white_space(text, at, false, true);
    }
    let kind = first & (LETTER | NUMBER);
    run_end(text, body + len, |class| {
        class & (LETTER | NUMBER | SPACE) == kind
    })
}

/// The end of the piece of white space at `at`, where no word takes it.
///
/// `at_newlines`: whether a run is cut after its last newline; `whole_tail`: whether white space
/// that reaches the end of the text is one piece.
fn white_space(text: &[u8], at: usize, at_newlines: bool, whole_tail: bool) -> usize {
    let (mut end, mut last, mut after_newline) = (at, at, None);
    while end < text.len() {
        let (class, len) = class_at(text, end);
        if class & SPACE == 0 {
            break;
        }
        last = end;
        end += len;
        if is_newline(text[last]) {
            after_newline = Some(end);
        }
    }
    if end == text.len() && whole_tail {
        return end;
    }
    if let Some(cut) = after_newline.filter(|_| at_newlines) {
        return cut;
    }
    // The last character of a run goes with what follows.
    if end < text.len() && last > at {
        last
    } else {
        end
    }
}

fn cl100k(text: &[u8], at: usize, digits: u8, whole_tail: bool) -> usize {
    if text[at] == b'\'' {
        let len = contraction(text, at, true);
        if len > 0 {
            return at + len;
        }
    }
    let (first, len) = class_at(text, at);
    let letters = |from| run_end(text, from, |class| class & LETTER != 0);
    if first & LETTER != 0 {
        return letters(at + len);
    }
    if first & NUMBER != 0 {
        return number(text, at, digits);
    }
    if !is_newline(text[at]) {
        let end = letters(at + len);
        if end > at + len {
            return end;
        }
    }
    if let Some(end) = other(text, at, first, is_newline) {
        return end;
    }
    white_space(text, at, true, whole_tail)
}

/// The end of up to `digits` characters of `\p{N}`.
fn number(text: &[u8], at: usize, digits: u8) -> usize {
    let mut end = at;
    for _ in 0..digits {
        match text.get(end).map(|_| class_at(text, end)) {
            Some((class, len)) if class & NUMBER != 0 => end += len,
            _ => break,
        }
    }
    end
}

/// The end of ` ?[^\s\p{L}\p{N}]+` and the bytes after it that `is_tail` accepts; `None` where that
/// does not match. `first` is the class at `at`.
fn other(text: &[u8], at: usize, first: u8, is_tail: impl Fn(u8) -> bool) -> Option<usize> {
    let body = if text[at] == b' ' { at + 1 } else { at };
    if body == at && !is_other(first) {
        return None;
    }
    let mut end = run_end(text, body, is_other);
    if end == body {
        return None;
    }
    while text.get(end).is_some_and(|&b| is_tail(b)) {
        end += 1;
    }
    Some(end)
}

fn o200k(text: &[u8], at: usize) -> usize {
    let (first, len) = class_at(text, at);
    if first & NUMBER != 0 {
        return number(text, at, 3);
    }
    // A mark can be the prefix of a word or its first character: the word is the same.
    let prefix = first & WORD == 0 && !is_newline(text[at]);
    if let Some(end) = o200k_word(text, if prefix { at + len } else { at }) {
        return end;
    }
    if let Some(end) = other(text, at, first, |b| is_newline(b) || b == b'/') {
        return end;
    }
    white_space(text, at, true, false)
}

/// The end of `[U B]*[L B]+`, or else of `[U B]+[L B]*`, with the contraction after it, where U, L
/// and B are the classes UPPER, LOWER and BOTH; `None` where no word starts at `at`.
fn o200k_word(text: &[u8], at: usize) -> Option<usize> {
    // `end` is where `[U B]*` ends, `both` where its last B ends, to which `[L B]+` can go back.
    let (mut end, mut both) = (at, None);
    let mut lower = at;
    while end < text.len() {
        let (class, len) = class_at(text, end);
        if class & WORD == 0 || class & LOWER != 0 {
            break;
        }
        end += len;
        if class & UPPER == 0 {
            both = Some(end);
        }
    }
    if end < text.len() {
        lower = run_end(text, end, |class| class & (WORD & !UPPER) != 0);
    }
    let end = if lower > end {
        lower
    } else if let Some(both) = both {
        both
    } else if end > at {
        end
    } else {
        return None;
    };
    if text.get(end) == Some(&b'\'') {
        return Some(end + contraction(text, end, true));
    }
    Some(end)
}

fn superwords(text: &[u8], at: usize) -> usize {
    let (first, len) = class_at(text, at);
    if !is_cut_out(text, at) {
        let mut end = words_end(text, at + len);
        while end < text.len() && !is_cut_out(text, end) {
            end = words_end(text, end + class_at(text, end).1);
        }
        return end;
    }
    if first & NUMBER != 0 {
        return number(text, at, 3);
    }
    if let Some(end) = other(text, at, first, |b| is_newline(b) || b == b'/') {
        return end;
    }
    // ` +(?!\S)`: the last ' ' goes with the word that follows.
    let spaces = text[at..].iter().take_while(|&&b| b == b' ').count();
    let end = at + spaces;
    let is_before_word = end < text.len() && class_at(text, end).0 & SPACE == 0;
    end - usize::from(is_before_word)
}

/// The end, from `at` on, of ASCII letters and of single ' ' before them.
#[inline(always)]
fn words_end(text: &[u8], mut at: usize) -> usize {
    /// Bytes that are looked at without a branch.
    const BLOCK: usize = 16;
    let is_letter = |byte: u8| (byte | 0x20).wrapping_sub(b'a') < 26;
    while let Some(block) = text
        .get(at..)
        .and_then(|rest| rest.first_chunk::<{ BLOCK + 1 }>())
    {
        let letters: [bool; BLOCK + 1] = std::array::from_fn(|i| is_letter(block[i]));
        let in_words = (0..BLOCK).fold(true, |all, i| {
            all & (letters[i] | (block[i] == b' ') & letters[i + 1])
        });
        if !in_words {
            break;
        }
        at += BLOCK;
    }
    while at + 1 < text.len()
        && (is_letter(text[at]) || text[at] == b' ' && is_letter(text[at + 1]))
    {
        at += 1;
    }
    at
}

/// Whether `\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)` matches at `at`.
#[inline]
fn is_cut_out(text: &[u8], at: usize) -> bool {
    if text[at].is_ascii_alphabetic() {
        return false;
    }
    let class_at = |at: usize| (at < text.len()).then(|| class_at(text, at));
    let is_other_at = |at: usize| class_at(at).is_some_and(|(class, _)| is_other(class));
    let two_others = |at: usize| {
        class_at(at).is_some_and(|(class, len)| is_other(class) && is_other_at(at + len))
    };
    if text[at] == b' ' {
        let is_last = class_at(at + 1).is_none_or(|(class, _)| class & SPACE != 0);
        return is_last || two_others(at + 1);
    }
    let is_number = class_at(at).is_some_and(|(class, _)| class & NUMBER != 0);
    is_number || two_others(at)
}
