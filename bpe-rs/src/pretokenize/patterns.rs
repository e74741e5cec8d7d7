//! The published patterns, and the rules that the scanners follow for each.
//!
//! Sources: tiktoken 0.14 `openai_public.py` (gpt2, cl100k, o200k), the `tokenizer.json` files of
//! GPT-2, Llama 3 and Qwen 2/2.5/3.

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
pub static NAMED: [NamedPattern; 5] = [
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
