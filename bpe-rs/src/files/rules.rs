//! What a file's bytes become: where to cut them, which strings are special, which field counts.

use std::path::Path;

use super::FileOptions;
use crate::encode::{Lease, Scratch};
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::special::Finder;

/// Bytes of a part that one thread takes: its ids stay in the second-level cache.
pub(super) const PART: usize = 1 << 18;

/// What all threads share.
pub(super) struct Rules<'a> {
    encoding: &'a Encoding,
    pub(super) options: &'a FileOptions,
    pub(super) separator: Option<u32>,
    /// Strings that become special tokens in plain text, and the length of the longest.
    allowed: Finder,
    longest: usize,
    /// The same in a document that is a line's or a row's, whose end is not to be looked for.
    in_document: Finder,
}

impl<'a> Rules<'a> {
    pub(super) fn new(encoding: &'a Encoding, options: &'a FileOptions) -> Result<Self> {
        let separator = options.separator.as_deref().map(|text| {
            encoding.special().id_of(text).ok_or_else(|| {
                let known: Vec<_> = encoding.special().iter().map(|(text, _)| text).collect();
                Error::invalid(format!(
                    "separator: expected a special token of {} ({}), got {text:?}",
                    encoding.name(),
                    known[..known.len().min(8)].join(", ")
                ))
            })
        });
        let specials = encoding.special().iter().map(|(text, _)| text);
        let in_document: Vec<&str> = specials.filter(|_| options.special_tokens).collect();
        let allowed = if options.special_tokens {
            in_document.clone()
        } else {
            options.separator.as_deref().into_iter().collect()
        };
        Ok(Self {
            encoding,
            options,
            separator: separator.transpose()?,
            longest: allowed.iter().map(|text| text.len()).max().unwrap_or(0),
            allowed: Finder::new(allowed),
            in_document: Finder::new(in_document),
        })
    }

    /// Threads, at least one.
    pub(super) fn threads(&self) -> usize {
        self.options.threads.max(1)
    }

    /// The text in a line of JSON, which stands at `at` in its file.
    pub(super) fn field(&self, path: &Path, line: &[u8], at: u64) -> Result<String> {
        let wrong = |what: String| {
            let path = path.display();
            let field = &self.options.field;
            Error::invalid(format!(
                "{path}: offset {at}: expected a line of JSON with a string under {field:?}, {what}"
            ))
        };
        let mut object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(line).map_err(|error| wrong(format!("got {error}")))?;
        match object.remove(&self.options.field) {
            Some(serde_json::Value::String(text)) => Ok(text),
            Some(_) => Err(wrong("got another type".into())),
            None => {
                let keys: Vec<_> = object.keys().take(8).map(String::as_str).collect();
                Err(wrong(format!("got the fields {}", keys.join(", "))))
            }
        }
    }

    /// Buffers and caches of a thread, for a part.
    pub(super) fn lease(&self, thread: usize) -> Lease<'a> {
        self.encoding.lease(thread)
    }

    /// Append the ids of a part of plain text.
    pub(super) fn plain(
        &self,
        scratch: &mut Scratch,
        text: &str,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        self.encoding.encode_on(scratch, text, &self.allowed, ids)
    }

    /// Append the ids of a document and the separator.
    pub(super) fn document(
        &self,
        scratch: &mut Scratch,
        text: &str,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        self.encoding
            .encode_on(scratch, text, &self.in_document, ids)?;
        ids.extend(self.separator);
        Ok(())
    }

    /// Where the part that starts at `from` ends; `None` when the rest of `bytes` has no place to
    /// cut. Unless `bytes` are the `last`, a special token may go on behind their end.
    pub(super) fn cut(&self, bytes: &[u8], from: usize, last: bool) -> Option<usize> {
        let (mut searched, mut near) = (from, from + PART);
        let behind = if last { 0 } else { self.longest };
        while near + behind < bytes.len() {
            if let Some(cut) = self.encoding.pattern().safe_cut(bytes, searched, near) {
                if !self.inside_special(bytes, cut) {
                    return Some(cut);
                }
            }
            searched = near - 1;
            near += PART / 16;
        }
        None
    }

    /// Whether a string that is looked for lies across `cut`.
    fn inside_special(&self, bytes: &[u8], cut: usize) -> bool {
        let window = &bytes[cut.saturating_sub(self.longest)..bytes.len().min(cut + self.longest)];
        let before = cut.min(self.longest);
        self.allowed.strings().any(|special| {
            window.windows(special.len()).enumerate().any(|(at, part)| {
                at < before && at + special.len() > before && part == special.as_bytes()
            })
        })
    }
}
