//! Files of any size and form as parts of some hundred kilobytes, for counting and encoding.
//!
//! One thread at a time asks the [`Reader`] for the next part; any thread reads it. Where a part of
//! a large plain file ends is found by looking at a few kilobytes there, so that threads read from
//! one file at once, each into its own buffer. Files are read, not mapped: one that changes
//! meanwhile is an error, not a signal.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chunk::Chunk;
use super::cuts::{Cuts, Lines, PART};
use super::open::open;
use super::plain::{fill, read_whole, PlainFile};
use super::stream::Stream;
use super::text_format::TextFormat;
use crate::error::{Error, Result};

/// Most small files of a part.
const FILES: usize = 64;

/// Some bytes of the files that can be handled apart from all others.
pub(crate) struct Part<'a> {
    content: Content<'a>,
    /// Place of the text in all files' text.
    origin: u64,
    /// Bytes of text.
    text_bytes: u64,
    /// Bytes of files, fewer than those of text where they are compressed.
    file_bytes: u64,
}

enum Content<'a> {
    /// Plain files, each small and whole.
    Files(&'a [PathBuf]),
    /// A stretch of a large plain file.
    Stretch {
        file: Arc<File>,
        path: &'a Path,
        json_lines: bool,
        from: u64,
        ends_file: bool,
    },
    /// The next bytes of a stream, already read.
    Read {
        bytes: Vec<u8>,
        path: &'a Path,
        json_lines: bool,
        offset: u64,
        ends_file: bool,
    },
}

impl Part<'_> {
    /// Bytes of text, as far as they are known before the part is read.
    pub(crate) fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Bytes of the files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Calls `visit` with each chunk of text, in order: one for each file. `buffer` is memory to
    /// read into; what it holds does not matter.
    ///
    /// # Errors
    /// `Io`, also where a file has become shorter; those of `visit`.
    pub(crate) fn each(
        &self,
        buffer: &mut Vec<u8>,
        mut visit: impl FnMut(Chunk<'_>) -> Result<()>,
    ) -> Result<()> {
        match &self.content {
            Content::Files(paths) => {
                let mut origin = self.origin;
                paths.iter().try_for_each(|path| {
                    let bytes = read_whole(path, buffer)?;
                    let chunk = Chunk {
                        bytes,
                        path,
                        json_lines: TextFormat::of(path).json_lines,
                        offset: 0,
                        origin,
                        ends_file: true,
                    };
                    origin += bytes.len() as u64;
                    visit(chunk)
                })
            }
            Content::Stretch {
                file,
                path,
                json_lines,
                from,
                ends_file,
            } => visit(Chunk {
                bytes: fill(file, path, *from, self.text_bytes, buffer)?,
                path,
                json_lines: *json_lines,
                offset: *from,
                origin: self.origin,
                ends_file: *ends_file,
            }),
            Content::Read {
                bytes,
                path,
                json_lines,
                offset,
                ends_file,
            } => visit(Chunk {
                bytes,
                path,
                json_lines: *json_lines,
                offset: *offset,
                origin: self.origin,
                ends_file: *ends_file,
            }),
        }
    }

    /// The memory of a part that came from a stream, for another one.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        match self.content {
            Content::Read { bytes, .. } => bytes,
            _ => Vec::new(),
        }
    }
}

/// Hands out the parts of several files in order.
pub(crate) struct Reader<'a, C> {
    /// Those that are not begun.
    paths: &'a [PathBuf],
    /// [`plain_bytes`] of the first of them, if it was looked up.
    first: Option<Option<u64>>,
    current: Option<Current<'a>>,
    cuts: &'a C,
    origin: u64,
    /// Bytes of the plain text files begun since they were last asked for.
    begun: u64,
}

enum Current<'a> {
    Plain(PlainFile<'a>),
    Stream(Stream<'a>),
}

/// The length of a regular file that is not compressed; `None` for all others, and for empty ones:
/// the system's own files say that they are empty and are not.
fn plain_bytes(path: &Path) -> Option<u64> {
    if TextFormat::of(path).is_compressed() {
        return None;
    }
    let data = std::fs::metadata(path).ok()?;
    (data.is_file() && data.len() > 0).then_some(data.len())
}

impl<'a, C: Cuts> Reader<'a, C> {
    /// Reads `paths`; the text of the first stands at `origin` in a corpus.
    pub(crate) fn new(paths: &'a [PathBuf], cuts: &'a C, origin: u64) -> Self {
        Self {
            paths,
            first: None,
            current: None,
            cuts,
            origin,
            begun: 0,
        }
    }

    /// Bytes of the files of plain text begun since the last call: most of them are still to be
    /// handed out.
    pub(crate) fn take_begun(&mut self) -> u64 {
        std::mem::take(&mut self.begun)
    }

    /// The next part; `None` behind the last file. `buffer` is memory for what must be read at once.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn next(&mut self, buffer: Vec<u8>) -> Result<Option<Part<'a>>> {
        if self.current.is_none() {
            if let Some(part) = self.small_files() {
                return Ok(Some(part));
            }
            let Some((path, rest)) = self.paths.split_first() else {
                return Ok(None);
            };
            (self.paths, self.first) = (rest, None);
            self.current = Some(self.begin(path)?);
        }
        let (content, text_bytes, file_bytes) = match &mut self.current {
            Some(Current::Plain(file)) => {
                let lines = file.json_lines();
                let (from, to) = if lines {
                    file.next(&Lines)?
                } else {
                    file.next(self.cuts)?
                };
                let content = Content::Stretch {
                    file: file.file(),
                    path: file.path(),
                    json_lines: lines,
                    from,
                    ends_file: file.is_done(),
                };
                (content, to - from, to - from)
            }
            Some(Current::Stream(stream)) => {
                let offset = stream.offset();
                let lines = stream.json_lines();
                let bytes = if lines {
                    stream.next(&Lines, buffer)?
                } else {
                    stream.next(self.cuts, buffer)?
                };
                let text_bytes = bytes.len() as u64;
                let content = Content::Read {
                    bytes,
                    path: stream.path(),
                    json_lines: lines,
                    offset,
                    ends_file: stream.is_done(),
                };
                (content, text_bytes, stream.take_file_bytes())
            }
            None => return Ok(None),
        };
        if let Content::Stretch {
            ends_file: true, ..
        }
        | Content::Read {
            ends_file: true, ..
        } = content
        {
            self.current = None;
        }
        let origin = self.origin;
        self.origin += text_bytes;
        Ok(Some(Part {
            content,
            origin,
            text_bytes,
            file_bytes,
        }))
    }

    /// A part of the small plain files that come next, if the next one is such a file.
    fn small_files(&mut self) -> Option<Part<'a>> {
        let (mut count, mut bytes) = (0, 0);
        while count < FILES.min(self.paths.len()) {
            let known = self.first.take().filter(|_| count == 0);
            let more = known.unwrap_or_else(|| plain_bytes(&self.paths[count]));
            match more {
                Some(more) if bytes + more <= PART as u64 => {
                    if !TextFormat::of(&self.paths[count]).json_lines {
                        self.begun += more;
                    }
                    bytes += more;
                    count += 1;
                }
                more => {
                    self.first = Some(more);
                    break;
                }
            }
        }
        if count == 0 {
            return None;
        }
        let (files, rest) = self.paths.split_at(count);
        let origin = self.origin;
        self.paths = rest;
        self.origin += bytes;
        Some(Part {
            content: Content::Files(files),
            origin,
            text_bytes: bytes,
            file_bytes: bytes,
        })
    }

    fn begin(&mut self, path: &'a Path) -> Result<Current<'a>> {
        let file = open(path)?;
        let format = TextFormat::of(path);
        let data = file.metadata().map_err(|error| Error::io(path, error))?;
        if format.is_compressed() || !data.is_file() || data.len() == 0 {
            return Ok(Current::Stream(Stream::new(file, path, format)?));
        }
        if !format.json_lines {
            self.begun += data.len();
        }
        Ok(Current::Plain(PlainFile::new(
            file,
            path,
            format.json_lines,
            data.len(),
        )))
    }
}

#[cfg(test)]
#[cfg(not(miri))]
mod tests {
    use std::io::Write;

    use super::*;

    /// Cuts behind blanks, where neither a blank nor an `x` came just before.
    struct Blanks;

    impl Cuts for Blanks {
        fn exist(&self) -> bool {
            true
        }

        fn context(&self) -> usize {
            1
        }

        fn last_cut(&self, text: &[u8], from: usize) -> Option<usize> {
            (from + 1..=text.len())
                .rev()
                .find(|&at| text[at - 1] == b' ' && (at < 2 || !b"x ".contains(&text[at - 2])))
        }
    }

    struct Never;

    impl Cuts for Never {
        fn exist(&self) -> bool {
            false
        }

        fn context(&self) -> usize {
            0
        }

        fn last_cut(&self, _: &[u8], _: usize) -> Option<usize> {
            None
        }
    }

    /// All chunks: path, bytes, place in the file and in the corpus, whether the file ends.
    type Chunks = Vec<(PathBuf, Vec<u8>, u64, u64, bool)>;

    fn read(paths: &[PathBuf], cuts: &impl Cuts) -> Result<Chunks> {
        let (mut chunks, mut buffer, mut spare) = (Vec::new(), Vec::new(), Vec::new());
        let mut reader = Reader::new(paths, cuts, 7);
        while let Some(part) = reader.next(spare)? {
            part.each(&mut buffer, |chunk| {
                let bytes = chunk.bytes.to_vec();
                let place = (chunk.offset, chunk.origin);
                chunks.push((chunk.path.into(), bytes, place.0, place.1, chunk.ends_file));
                Ok(())
            })?;
            spare = part.into_buffer();
        }
        Ok(chunks)
    }

    /// A folder of its own, removed in the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("bpe-rs-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn chunks_are_the_files_cut_where_it_is_allowed() {
        let folder = Folder::new("parts");
        let words = "some words ".repeat(100_000).into_bytes();
        // A blank in 4 KB, in 64 KB, in 256 KB, in a megabyte; behind an `x`, where none counts.
        let rare = |every: usize, before: &str| {
            let word = "y".repeat(every) + before + " ";
            word.repeat(3 * PART / every + 2).into_bytes()
        };
        let contents = [
            words.clone(),
            b"small".to_vec(),
            Vec::new(),
            rare(5_000, ""),
            rare(70_000, ""),
            rare(300_000, ""),
            rare(1_000_000, ""),
            rare(70_000, "x"),
            b"a ".repeat(PART / 2),
        ];
        let mut paths: Vec<PathBuf> = (0..)
            .zip(&contents)
            .map(|(at, bytes)| folder.write(&format!("{at}.txt"), bytes))
            .collect();
        paths.push(folder.write("packed.gz", &gzip(&words)));
        paths.extend((0..200).map(|at| folder.write(&format!("s{at}"), &words[..at * 10])));
        let mut origin = 7;
        let mut chunks = read(&paths, &Blanks).unwrap().into_iter().peekable();
        for (at, path) in paths.iter().enumerate() {
            let want = match at {
                9 => &words,
                10.. => &words[..(at - 10) * 10].to_vec(),
                _ => &contents[at],
            };
            let mut got = Vec::new();
            loop {
                let (name, bytes, offset, place, ends) = chunks.next().unwrap();
                assert_eq!((&name, offset, place), (path, got.len() as u64, origin));
                got.extend_from_slice(&bytes);
                origin += bytes.len() as u64;
                if ends {
                    break;
                }
                assert!(
                    bytes.len() >= PART - (PART >> 1)
                        && Blanks.last_cut(&bytes, 0) == Some(bytes.len())
                );
            }
            assert!(&got == want, "{at}");
        }
        assert!(chunks.next().is_none());
        let whole = read(&paths[..1], &Never).unwrap();
        assert!(whole.len() == 1 && whole[0].1 == words);
    }

    #[test]
    fn small_files_share_parts() {
        let folder = Folder::new("small");
        let paths: Vec<PathBuf> = (0..300)
            .map(|at| folder.write(&at.to_string(), &[b'a'; 9_700]))
            .collect();
        let mut reader = Reader::new(&paths, &Blanks, 0);
        let mut parts = Vec::new();
        while let Some(part) = reader.next(Vec::new()).unwrap() {
            parts.push(part.text_bytes());
        }
        assert_eq!(parts.iter().sum::<u64>(), 300 * 9_700);
        assert_eq!(parts.len(), 300_usize.div_ceil(PART / 9_700));
        assert_eq!(reader.take_begun(), 300 * 9_700);
    }

    #[test]
    fn lines_stay_whole() {
        let folder = Folder::new("lines");
        let line = format!("{{\"text\": \"{}\"}}\n", "a b ".repeat(300));
        let lines = line.repeat(700).into_bytes();
        for path in [
            folder.write("a.jsonl", &lines),
            folder.write("a.jsonl.gz", &gzip(&lines)),
        ] {
            let chunks = read(&[path], &Never).unwrap();
            assert!(chunks.len() > 2);
            assert!(chunks.iter().all(|chunk| chunk.1.ends_with(b"\n")));
            let all: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.1).collect();
            assert!(all == lines);
        }
    }

    #[test]
    fn a_file_that_becomes_shorter_is_an_error() {
        let folder = Folder::new("shorter");
        let paths = [folder.write("a.txt", &b"word ".repeat(PART))];
        let mut reader = Reader::new(&paths, &Blanks, 0);
        let (first, second) = (
            reader.next(Vec::new()).unwrap(),
            reader.next(Vec::new()).unwrap(),
        );
        File::options()
            .write(true)
            .open(&paths[0])
            .unwrap()
            .set_len(PART as u64)
            .unwrap();
        let mut buffer = Vec::new();
        first.unwrap().each(&mut buffer, |_| Ok(())).unwrap();
        for error in [
            second.unwrap().each(&mut buffer, |_| Ok(())).unwrap_err(),
            reader.next(Vec::new()).err().unwrap(),
        ] {
            let message = error.to_string();
            assert!(
                message.contains("a.txt: the file became shorter"),
                "{message}"
            );
        }
    }
}
