//! Decoders.

use serde::{Deserialize, Serialize};

use super::{ByteLevel, Component, Metaspace, Pattern};

/// Turns tokens into text: each decoder makes a list of strings of one; the last list is joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Decoder {
    /// The byte-level alphabet back to bytes; invalid UTF-8 becomes `U+FFFD`.
    ByteLevel(ByteLevel),
    /// A character back to spaces; none at the start of the text.
    Metaspace(Metaspace),
    /// Something else for every match.
    Replace {
        /// What to look for.
        pattern: Pattern,
        /// What takes its place.
        content: String,
    },
    /// `<0xNN>` tokens to bytes; each of invalid UTF-8 becomes `U+FFFD`.
    ByteFallback,
    /// All strings joined.
    Fuse,
    /// Some of a character off the ends of each string.
    Strip {
        /// The character.
        content: char,
        /// At most so many at the start.
        start: usize,
        /// At most so many at the end.
        stop: usize,
    },
    /// The ends of words to spaces.
    #[serde(rename = "BPEDecoder")]
    Bpe {
        /// How tokens at the end of a word end.
        suffix: String,
    },
    /// A space before every string that does not continue a word.
    WordPiece {
        /// How strings that continue a word begin.
        prefix: String,
        /// Drop spaces before punctuation and contractions.
        cleanup: bool,
    },
    /// Repeated strings once, without padding.
    #[serde(rename = "CTC")]
    Ctc {
        /// The padding.
        pad_token: String,
        /// What stands between words.
        word_delimiter_token: String,
        /// As for `WordPiece`.
        cleanup: bool,
    },
    /// One after the other.
    Sequence {
        /// The decoders in order.
        decoders: Vec<Decoder>,
    },
}

impl Component for Decoder {}
