//! Normalisers.

use serde::{Deserialize, Serialize};

use super::{Component, Pattern};
use crate::format::charsmap::CharacterMap;

/// Changes the text before it is cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Normalizer {
    /// Unicode normalisation form C.
    #[serde(rename = "NFC")]
    Nfc,
    /// Unicode normalisation form D.
    #[serde(rename = "NFD")]
    Nfd,
    /// Unicode normalisation form KC.
    #[serde(rename = "NFKC")]
    Nfkc,
    /// Unicode normalisation form KD.
    #[serde(rename = "NFKD")]
    Nfkd,
    /// Every character in lower case.
    Lowercase,
    /// No white space at the ends.
    Strip {
        /// At the start.
        strip_left: bool,
        /// At the end.
        strip_right: bool,
    },
    /// No combining marks.
    StripAccents,
    /// No control characters, and spaces for all kinds of white space.
    Nmt,
    /// The text before everything else, unless that is empty.
    Prepend {
        /// The text.
        prepend: String,
    },
    /// Something else for every match.
    Replace {
        /// What to look for.
        pattern: Pattern,
        /// What takes its place.
        content: String,
    },
    /// Bytes as characters of the byte-level alphabet.
    ByteLevel,
    /// A character map of SentencePiece, looked up by grapheme clusters and characters.
    Precompiled {
        /// The map in base64.
        precompiled_charsmap: String,
    },
    /// What SentencePiece itself does with a character map, which no other component does. Only this
    /// crate reads it.
    SentencePiece {
        /// The map in base64.
        precompiled_charsmap: String,
        /// Put a space before the text.
        add_dummy_prefix: bool,
        /// Leave out spaces at the ends and repeated ones.
        remove_extra_whitespaces: bool,
    },
    /// What BERT does.
    BertNormalizer {
        /// Drop control characters, make all white space spaces.
        clean_text: bool,
        /// Put spaces around Chinese characters.
        handle_chinese_chars: bool,
        /// Drop accents; `None` means as `lowercase`.
        strip_accents: Option<bool>,
        /// Make all characters lower case.
        lowercase: bool,
    },
    /// One after the other.
    Sequence {
        /// The normalisers in order.
        normalizers: Vec<Normalizer>,
    },
}

impl Component for Normalizer {
    fn check(&self) -> std::result::Result<(), String> {
        match self {
            Self::Precompiled {
                precompiled_charsmap: map,
            }
            | Self::SentencePiece {
                precompiled_charsmap: map,
                ..
            } => match CharacterMap::from_base64(map) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
            Self::Sequence { normalizers } => normalizers.iter().try_for_each(Self::check),
            _ => Ok(()),
        }
    }
}
