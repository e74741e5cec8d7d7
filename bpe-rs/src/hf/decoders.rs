//! Decoders: token strings to text.

use std::sync::Arc;

use super::matcher::Matcher;
use crate::error::Result;
use crate::format::byte_level;
use crate::format::components::{Decoder, Metaspace, PrependScheme};

/// The decoders of a tokenizer, in the order in which they apply. Each makes a list of strings of
/// one.
#[derive(Clone, Debug, Default)]
pub(super) struct Decoders(Option<Arc<[Step]>>);

#[derive(Debug)]
enum Step {
    ByteLevel,
    Metaspace(Metaspace),
    Replace {
        matcher: Matcher,
        content: String,
    },
    ByteFallback,
    Fuse,
    Strip {
        content: char,
        start: usize,
        stop: usize,
    },
    Bpe {
        suffix: String,
    },
    WordPiece {
        prefix: String,
        cleanup: bool,
    },
    Ctc {
        pad: String,
        delimiter: String,
        cleanup: bool,
    },
}

impl Decoders {
    /// Compile `decoder`.
    ///
    /// # Errors
    /// `Invalid` for a pattern that is no regular expression or that Hugging Face's engine reads
    /// differently.
    pub(super) fn new(decoder: Option<&Decoder>) -> Result<Self> {
        let Some(decoder) = decoder else {
            return Ok(Self(None));
        };
        let mut steps = Vec::new();
        flatten(decoder, &mut steps)?;
        Ok(Self(Some(steps.into())))
    }

    /// The text of token strings; invalid UTF-8 becomes U+FFFD. Without a decoder the strings are
    /// joined by spaces.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up.
    pub(super) fn decode<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> Result<String> {
        let Some(steps) = &self.0 else {
            return Ok(tokens.collect::<Vec<_>>().join(" "));
        };
        if let [Step::ByteLevel] = **steps {
            return Ok(byte_level_text(tokens));
        }
        let mut strings: Vec<String> = tokens.map(String::from).collect();
        for step in steps.iter() {
            strings = step.apply(strings)?;
        }
        Ok(strings.concat())
    }
}

fn flatten(decoder: &Decoder, steps: &mut Vec<Step>) -> Result<()> {
    steps.push(match decoder {
        Decoder::ByteLevel(_) => Step::ByteLevel,
        Decoder::Metaspace(settings) => Step::Metaspace(*settings),
        Decoder::Replace { pattern, content } => Step::Replace {
            matcher: Matcher::new(pattern)?,
            content: content.clone(),
        },
        Decoder::ByteFallback => Step::ByteFallback,
        Decoder::Fuse => Step::Fuse,
        Decoder::Strip {
            content,
            start,
            stop,
        } => Step::Strip {
            content: *content,
            start: *start,
            stop: *stop,
        },
        Decoder::Bpe { suffix } => Step::Bpe {
            suffix: suffix.clone(),
        },
        Decoder::WordPiece { prefix, cleanup } => Step::WordPiece {
            prefix: prefix.clone(),
            cleanup: *cleanup,
        },
        Decoder::Ctc {
            pad_token,
            word_delimiter_token,
            cleanup,
        } => Step::Ctc {
            pad: pad_token.clone(),
            delimiter: word_delimiter_token.clone(),
            cleanup: *cleanup,
        },
        Decoder::Sequence { decoders } => {
            return decoders.iter().try_for_each(|item| flatten(item, steps));
        }
    });
    Ok(())
}

fn byte_level_text<'a>(tokens: impl Iterator<Item = &'a str>) -> String {
    let mut bytes = Vec::new();
    for token in tokens {
        bytes.extend(byte_level::decoded_bytes(token));
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

impl Step {
    fn apply(&self, strings: Vec<String>) -> Result<Vec<String>> {
        let count = strings.len();
        Ok(match self {
            Self::ByteLevel => vec![byte_level_text(strings.iter().map(String::as_str))],
            Self::Metaspace(settings) => {
                let mut mark = [0; 4];
                let mark: &str = settings.replacement.encode_utf8(&mut mark);
                let drops = settings.prepend_scheme != PrependScheme::Never;
                let space = |at| if at == 0 && drops { "" } else { " " };
                let each = strings.iter().enumerate();
                each.map(|(at, text)| text.replace(mark, space(at)))
                    .collect()
            }
            Self::Replace { matcher, content } => strings
                .into_iter()
                .map(|text| match text.is_empty() {
                    // Hugging Face's engine finds nothing in nothing.
                    true => Ok(text),
                    false => matcher.replaced(&text, content),
                })
                .collect::<Result<_>>()?,
            Self::ByteFallback => byte_fallback(strings),
            Self::Fuse => vec![strings.concat()],
            Self::Strip {
                content,
                start,
                stop,
            } => strings
                .iter()
                .map(|text| stripped(text, *content, *start, *stop).to_owned())
                .collect(),
            Self::Bpe { suffix } => {
                let space = |at| if at + 1 == count { "" } else { " " };
                let each = strings.iter().enumerate();
                each.map(|(at, text)| text.replace(suffix, space(at)))
                    .collect()
            }
            Self::WordPiece { prefix, cleanup } => {
                let each = strings.iter().enumerate();
                let each = each.map(|(at, text)| match text.strip_prefix(prefix.as_str()) {
                    _ if at == 0 => text.clone(),
                    Some(rest) => rest.to_owned(),
                    None => format!(" {text}"),
                });
                each.map(|text| if *cleanup { cleaned(&text) } else { text })
                    .collect()
            }
            Self::Ctc {
                pad,
                delimiter,
                cleanup,
            } => {
                let mut strings = strings;
                strings.dedup();
                let each = strings.iter().map(|text| {
                    let text = text.replace(pad, "");
                    match cleanup {
                        true => cleaned(&text).replace(delimiter, " "),
                        false => text,
                    }
                });
                each.filter(|text| !text.is_empty()).collect()
            }
        })
    }
}

/// Runs of `<0xNN>` as the text that their bytes are, each U+FFFD where they are none.
fn byte_fallback(strings: Vec<String>) -> Vec<String> {
    let mut out = Vec::with_capacity(strings.len());
    let mut bytes = Vec::new();
    let flush =
        |bytes: &mut Vec<u8>, out: &mut Vec<String>| match String::from_utf8(std::mem::take(bytes))
        {
            Ok(text) if text.is_empty() => {}
            Ok(text) => out.push(text),
            Err(error) => {
                let count = error.as_bytes().len();
                out.extend(std::iter::repeat_n("\u{fffd}".to_owned(), count));
            }
        };
    for text in strings {
        match byte_of(&text) {
            Some(byte) => bytes.push(byte),
            None => {
                flush(&mut bytes, &mut out);
                out.push(text);
            }
        }
    }
    flush(&mut bytes, &mut out);
    out
}

/// The byte of `<0xNN>`.
fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    // As there, a sign counts as a digit.
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

fn stripped(text: &str, content: char, start: usize, stop: usize) -> &str {
    let run = |characters: &mut dyn Iterator<Item = char>, most: usize| {
        let run = characters.take(most).take_while(|c| *c == content);
        run.count() * content.len_utf8()
    };
    let from = run(&mut text.chars(), start);
    let to = text.len() - run(&mut text.chars().rev(), stop);
    &text[from..to.max(from)]
}

/// English text without the spaces that tokens put before punctuation and contractions.
fn cleaned(text: &str) -> String {
    const CHANGES: [(&str, &str); 11] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    let change = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
    CHANGES.iter().fold(text.to_owned(), change)
}
