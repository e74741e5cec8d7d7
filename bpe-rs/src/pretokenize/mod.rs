//! Text to pieces: a pattern cuts the text, and merges never cross a cut.
//!
//! Three implementations give the same pieces. A regex engine runs any pattern and is the
//! reference. The published patterns are also written by hand: a scalar form, one character at a
//! time, and a vector scanner in two passes, from bytes to class masks and from masks to starts.

mod classes;
mod patterns;
mod pretokenizer;
mod regex_engine;
mod scanner;
#[cfg(test)]
mod tests;
mod window;
mod word_starts;

pub(crate) use patterns::Rules;
pub use patterns::NAMED;
pub use pretokenizer::Pretokenizer;
pub(crate) use pretokenizer::{check_length, TextCuts};
pub use regex_engine::RegexEngine;
pub(crate) use scanner::Scanner;
