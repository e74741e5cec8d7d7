//! What splits and replacements look for.

use std::ops::Range;

use memchr::memmem;
use unicode_categories::UnicodeCategories;

use super::aligned::push_replaced;
use crate::error::Result;
use crate::format::components::Pattern;
use crate::format::regex::from_hugging_face;
use crate::pretokenize::Pretokenizer;

/// Finds matches in texts.
#[derive(Debug)]
pub(super) enum Matcher {
    /// A regular expression, which may match nothing.
    Pattern(Pretokenizer),
    /// A string that is not empty.
    Text(Box<str>),
    /// Single characters.
    Characters(fn(char) -> bool),
    /// One character.
    Character(char),
}

impl Matcher {
    /// Compile a pattern of a file.
    ///
    /// # Errors
    /// `Invalid` for a pattern that is no regular expression or that Hugging Face's engine reads
    /// differently.
    pub(super) fn new(pattern: &Pattern) -> Result<Self> {
        Ok(match pattern {
            Pattern::Regex(regex) => Self::Pattern(Pretokenizer::new(&from_hugging_face(regex)?)?),
            Pattern::String(text) if text.is_empty() => Self::Pattern(Pretokenizer::new("")?),
            Pattern::String(text) => Self::Text(text.as_str().into()),
        })
    }

    /// Whether it finds spaces and nothing else.
    pub(super) fn is_space(&self) -> bool {
        match self {
            Self::Text(text) => **text == *" ",
            Self::Character(character) => *character == ' ',
            Self::Pattern(_) | Self::Characters(_) => false,
        }
    }

    /// Append the matches in order. Those of a regular expression may be empty.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up.
    pub(super) fn find(&self, text: &str, out: &mut Vec<Range<usize>>) -> Result<()> {
        let mut characters = |is_match: &dyn Fn(char) -> bool| {
            let found = text.char_indices().filter(|(_, c)| is_match(*c));
            out.extend(found.map(|(at, c)| at..at + c.len_utf8()));
        };
        match self {
            Self::Pattern(pattern) if pattern.name().is_some() => {
                return pattern.pieces(text, &mut |piece| out.push(piece));
            }
            Self::Pattern(pattern) => {
                return pattern.engine().matches(text, &mut |found| out.push(found));
            }
            Self::Text(needle) => {
                let found = memmem::find_iter(text.as_bytes(), needle.as_bytes());
                out.extend(found.map(|at| at..at + needle.len()));
            }
            Self::Characters(is_match) => characters(is_match),
            Self::Character(one) => characters(&|character| character == *one),
        }
        Ok(())
    }
}

impl Matcher {
    /// `text` with `content` in place of every match.
    ///
    /// # Errors
    /// As [`Matcher::find`].
    pub(super) fn replaced(&self, text: &str, content: &str) -> Result<String> {
        let mut out = String::with_capacity(text.len() + text.len() / 2);
        let mut done = 0;
        let mut push = |found: Range<usize>| {
            out.push_str(&text[done..found.start]);
            out.push_str(content);
            done = found.end;
        };
        match self {
            Self::Text(needle) => match needle.as_bytes() {
                [byte] => {
                    push_replaced(&mut out, text, *byte, content);
                    return Ok(out);
                }
                needle => {
                    let found = memmem::find_iter(text.as_bytes(), needle);
                    found.for_each(|at| push(at..at + needle.len()));
                }
            },
            _ => {
                let mut matches = Vec::new();
                self.find(text, &mut matches)?;
                matches.into_iter().for_each(push);
            }
        }
        out.push_str(&text[done..]);
        Ok(out)
    }
}

/// Punctuation, as BERT counts it.
pub(super) fn is_punctuation(character: char) -> bool {
    character.is_ascii_punctuation() || character.is_punctuation()
}
