//! Targets for random inputs and fuzzing: each takes any bytes and panics where something is wrong.
//! `tests/random.rs` drives them everywhere, `fuzz/` under libFuzzer.

mod documents;
mod formats;
mod text;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bpe_rs::{get_encoding, Encoding};

/// Name and function.
pub(crate) type Target = (&'static str, fn(&[u8]));

pub(crate) const TARGETS: [Target; 8] = [
    ("scan", text::scan),
    ("encode", text::encode),
    ("own", text::own_vocabulary),
    ("decode", text::decode),
    ("files", documents::files),
    ("header", documents::header),
    ("tokenizer_json", formats::tokenizer_json),
    ("rank_files", formats::rank_files),
];

/// A published encoding, made once.
pub(crate) fn published(name: &'static str) -> &'static Encoding {
    static MADE: Mutex<Option<HashMap<&str, &Encoding>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.get_or_insert_default()
        .entry(name)
        .or_insert_with(|| Box::leak(Box::new(get_encoding(name).unwrap())))
}

/// Takes numbers and choices off the front of an input.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Bytes<'_> {
    pub(crate) fn byte(&mut self) -> usize {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first.into()
            }
            None => 0,
        }
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.byte() << 8 | self.byte()) % bound.max(1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One of each kind of character and string that the patterns tell apart.
const KINDS: [&str; 40] = [
    "a",
    "s",
    "L",
    "l",
    "é",
    "É",
    "你",
    "\u{301}",
    "ʰ",
    "ǅ",
    "1",
    "٣",
    " ",
    "\t",
    "\n",
    "\r",
    "\u{a0}",
    "\u{3000}",
    "!",
    "/",
    "'",
    "’",
    "🙂",
    "ſ",
    "\0",
    "e",
    "R",
    "the",
    " in",
    "tion",
    "'ll",
    "<|endoftext|>",
    "<|",
    "👩‍",
    "\r\n",
    "ab",
    "мир",
    "\u{200b}",
    "½",
    "\u{10ffff}",
];

/// The input as text: as it is where it is UTF-8, else as runs of kinds of characters.
pub(crate) fn text(data: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(data) {
        return text.into();
    }
    let mut text = String::new();
    for two in data.chunks(2) {
        let times = match two.get(1) {
            Some(&n) if n >= 250 => 300 * usize::from(n - 249),
            Some(&n) => usize::from(n % 8),
            None => 1,
        };
        text += &KINDS[usize::from(two[0]) % KINDS.len()].repeat(times);
    }
    text
}
