//! Encoding documents and parts of documents: which special tokens count, what ends a document.

use crate::encode::{Lease, Scratch};
use crate::encoding::Encoding;
use crate::error::{quoted, Error, Result};
use crate::io::Chunk;
use crate::special::Finder;

/// How files and documents are encoded.
#[derive(Debug)]
pub struct FileOptions {
    /// The text of a special token. Its id is written after every document, and in plain text it ends
    /// a document where it occurs.
    pub separator: Option<String>,
    /// Whether other special tokens in the text become their ids; otherwise they are plain text.
    pub special_tokens: bool,
    /// The field of JSON lines that holds the text.
    pub field: String,
    /// Threads; 0 counts as 1.
    pub threads: usize,
}

/// Encodes documents as the options say; shared by all threads.
pub(super) struct DocumentEncoder<'a> {
    encoding: &'a Encoding,
    options: &'a FileOptions,
    separator: Option<u32>,
    /// Strings that become special tokens in plain text.
    in_text: Finder,
    /// The same in a document that is a line or a row. Its end is known, so that a separator in it
    /// is text.
    in_document: Finder,
}

impl<'a> DocumentEncoder<'a> {
    /// # Errors
    /// `Invalid` for a separator that is no special token.
    pub(super) fn new(encoding: &'a Encoding, options: &'a FileOptions) -> Result<Self> {
        let separator = options.separator.as_deref().map(|text| {
            encoding.special().id_of(text).ok_or_else(|| {
                let known: Vec<_> = encoding.special().iter().map(|(text, _)| text).collect();
                Error::invalid(format!(
                    "separator: expected a special token of {} ({}), got {}",
                    encoding.name(),
                    known[..known.len().min(8)].join(", "),
                    quoted(text)
                ))
            })
        });
        let all = encoding.special().iter().map(|(text, _)| text);
        let in_document: Vec<&str> = all.filter(|_| options.special_tokens).collect();
        let in_text = if options.special_tokens {
            in_document.clone()
        } else {
            options.separator.as_deref().into_iter().collect()
        };
        Ok(Self {
            encoding,
            options,
            separator: separator.transpose()?,
            in_text: Finder::new(in_text),
            in_document: Finder::new(in_document),
        })
    }

    /// Special tokens that a cut of plain text must not split.
    pub(super) fn special(&self) -> impl Iterator<Item = &str> {
        self.in_text.strings()
    }

    /// Buffers and caches for one part; preferably those that worker `thread` had before, since
    /// they know its words.
    pub(super) fn lease(&self, thread: usize) -> Lease<'a> {
        self.encoding.lease(thread)
    }

    /// Appends the ids of a chunk of a file, and the separator where a document ends.
    ///
    /// # Errors
    /// `Invalid` for bytes that are not UTF-8 or not JSON; `Pattern` when the regex engine gives up.
    pub(super) fn chunk(
        &self,
        scratch: &mut Scratch,
        chunk: &Chunk<'_>,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        if chunk.json_lines {
            return chunk.each_line(&self.options.field, |text, _| {
                self.document(scratch, text, ids)
            });
        }
        self.encoding
            .encode_with_scratch(scratch, chunk.text()?, &self.in_text, ids)?;
        if chunk.ends_file {
            ids.extend(self.separator);
        }
        Ok(())
    }

    /// Appends the ids of a document and the separator.
    ///
    /// # Errors
    /// `Pattern` when the regex engine gives up.
    pub(super) fn document(
        &self,
        scratch: &mut Scratch,
        text: &str,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        self.encoding
            .encode_with_scratch(scratch, text, &self.in_document, ids)?;
        ids.extend(self.separator);
        Ok(())
    }
}
