//! Tokenizers that look at characters, not bytes: word-level BPE with an end-of-word mark, and
//! one id per character.
//!
//! Text is split on white space, every word ends in `</w>`, and `</u>` (unknown, id 0) and
//! `</p>` (padding, id 1) come before all tokens. There are two forms:
//!
//! * [`Form::Notebook`]: `</w>` is a symbol of its own while merging. The vocabulary is what the
//!   words consist of after the last merge, longest tokens first. Encoding takes the longest token
//!   anywhere in a word, then goes on left and right of it.
//! * [`Form::Standard`]: `</w>` is attached to the last character of a word. Merges are applied in
//!   the order in which they were learned (Sennrich, Haddow and Birch, 2016,
//!   <https://arxiv.org/abs/1508.07909>).
//!
//! White space is not kept: decoding joins words by one space.
//!
//! ```
//! use bpe_rs::words::{DistinctWords, Form, WordTokenizer};
//!
//! let mut words = DistinctWords::default();
//! words.add("low low lower lowest")?;
//! let tokenizer = WordTokenizer::train(&words, 3, Form::Notebook, &mut |_| Ok(()))?;
//! let ids = tokenizer.encode("low lower")?;
//! assert_eq!(tokenizer.decode(&ids)?, "low lower");
//! # Ok::<(), bpe_rs::Error>(())
//! ```

mod chars;
mod segment;
mod symbol;
mod tokenizer;
mod train;

pub use chars::{CharTokenizer, DistinctCharacters};
pub use symbol::{Form, Symbol, SymbolPair, END_OF_WORD, PADDING, PADDING_ID, UNKNOWN, UNKNOWN_ID};
pub use tokenizer::WordTokenizer;
pub use train::DistinctWords;
