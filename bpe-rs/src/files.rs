//! Files to ids: read in parts, encoded by all threads, written in order.
//!
//! Memory stays bounded whatever the size: the parts of a round are encoded and written before
//! those of the next are read.

use std::path::PathBuf;

use crate::encode::Scratch;
use crate::encoding::Encoding;
use crate::error::Result;
use crate::io::{Part, Progress, Reader, PART};
use crate::pretokenize::TextCuts;
use crate::threads::{self, ReusableBuffers};

mod encoder;
mod id_buffer;
mod id_writer;

use encoder::DocumentEncoder;
pub use encoder::FileOptions;
pub use id_writer::IdWriter;

/// Parts of a round for each thread: many enough that all threads end at about the same time, few
/// enough that their ids take little memory.
const ROUND: usize = 32;

/// Encodes `paths` in order and appends their ids to `out`: plain UTF-8 text, or JSON lines
/// (`.jsonl`, `.ndjson`), either compressed (`.gz`, `.zst`) or not. `done`: bytes of text that
/// earlier calls have encoded, which `progress` counts in; returns the new number.
///
/// # Errors
/// `Io`, also for a file that is not compressed as its name says, or that becomes shorter while
/// it is read; `Invalid` for bytes that are not UTF-8 or not JSON, or a separator that is no special
/// token; what `progress` returns.
pub fn encode_files(
    encoding: &Encoding,
    paths: &[PathBuf],
    options: &FileOptions,
    done: u64,
    progress: &mut Progress<'_>,
    out: &mut IdWriter,
) -> Result<u64> {
    let encoder = DocumentEncoder::new(encoding, options)?;
    let mut rounds = Rounds::new(&encoder, options, done, progress, out);
    let cuts = TextCuts::new(encoding.pattern(), encoder.special());
    let mut reader = Reader::new(paths, &cuts, 0);
    let mut buffers = Vec::new();
    loop {
        // The parts before one that cannot be read are encoded, so that an error in them is the
        // one reported.
        let (mut parts, mut failed) = (Vec::new(), Ok(()));
        while parts.len() < ROUND * rounds.threads {
            match reader.next(buffers.pop().unwrap_or_default()) {
                Ok(Some(part)) => parts.push(part),
                Ok(None) => break,
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            }
        }
        // At most one id a byte.
        let begun = reader.take_begun();
        if begun > 0 {
            rounds
                .out
                .expect(usize::try_from(begun).unwrap_or(usize::MAX));
        }
        if parts.is_empty() {
            return failed.map(|()| rounds.done);
        }
        let bytes = parts.iter().map(Part::text_bytes).sum();
        rounds.encode(&parts, bytes, |encoder, scratch, part, buffers| {
            part.each(&mut buffers.text, |chunk| {
                encoder.chunk(scratch, &chunk, &mut buffers.ids)
            })
        })?;
        failed?;
        buffers.extend(parts.into_iter().map(Part::into_buffer));
    }
}

/// Encodes documents that the caller has read, in order; otherwise as [`encode_files`].
///
/// # Errors
/// `Io`; `Invalid` for a separator that is no special token; what `progress` returns.
pub fn encode_documents(
    encoding: &Encoding,
    documents: &[&str],
    options: &FileOptions,
    done: u64,
    progress: &mut Progress<'_>,
    out: &mut IdWriter,
) -> Result<u64> {
    let encoder = DocumentEncoder::new(encoding, options)?;
    let mut rounds = Rounds::new(&encoder, options, done, progress, out);
    let mut left = documents;
    while !left.is_empty() {
        let (mut parts, mut total) = (Vec::new(), 0);
        while !left.is_empty() && parts.len() < ROUND / 4 * rounds.threads {
            let (mut count, mut bytes) = (0, 0);
            while count < left.len() && bytes < PART / 4 {
                bytes += left[count].len();
                count += 1;
            }
            let (part, rest) = left.split_at(count);
            parts.push(part);
            left = rest;
            total += bytes as u64;
        }
        rounds.encode(&parts, total, |encoder, scratch, part, buffers| {
            part.iter()
                .try_for_each(|text| encoder.document(scratch, text, &mut buffers.ids))
        })?;
    }
    Ok(rounds.done)
}

/// What the rounds of one call have in common.
struct Rounds<'a, 'p> {
    encoder: &'a DocumentEncoder<'a>,
    threads: usize,
    progress: &'a mut Progress<'p>,
    /// Bytes of text encoded.
    done: u64,
    out: &'a mut IdWriter,
    buffers: ReusableBuffers<Buffers, Vec<u8>>,
}

/// Memory of one thread.
#[derive(Default)]
struct Buffers {
    /// Bytes read from files.
    text: Vec<u8>,
    /// The ids of a part.
    ids: Vec<u32>,
}

impl<'a, 'p> Rounds<'a, 'p> {
    fn new(
        encoder: &'a DocumentEncoder<'a>,
        options: &FileOptions,
        done: u64,
        progress: &'a mut Progress<'p>,
        out: &'a mut IdWriter,
    ) -> Self {
        Self {
            encoder,
            threads: options.threads.max(1),
            progress,
            done,
            out,
            buffers: ReusableBuffers::default(),
        }
    }

    /// Encodes the parts of a round, `bytes` bytes of text, on all threads, writes their ids in order
    /// and calls `progress`.
    fn encode<P: Sync>(
        &mut self,
        parts: &[P],
        bytes: u64,
        encode: impl Fn(&DocumentEncoder<'_>, &mut Scratch, &P, &mut Buffers) -> Result<()> + Sync,
    ) -> Result<()> {
        let (encoder, out) = (self.encoder, &mut *self.out);
        let width = out.width();
        let work = |thread: usize, buffers: &mut Buffers, bytes: &mut Vec<u8>, i: usize| {
            buffers.ids.clear();
            encode(encoder, &mut encoder.lease(thread), &parts[i], buffers)?;
            bytes.clear();
            width.write(&buffers.ids, bytes)
        };
        let done = |bytes: &mut Vec<u8>, _| out.append(bytes);
        threads::in_order(parts.len(), self.threads, &mut self.buffers, work, done)?;
        self.done += bytes;
        (self.progress)(self.done)
    }
}
