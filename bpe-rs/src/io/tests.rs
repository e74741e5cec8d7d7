//! Files read in parts: all forms, all sizes, changes meanwhile.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use super::{write_atomic, AtomicFile, Cuts, Reader, PART};
use crate::error::Result;

/// Cuts behind blanks, where neither a blank nor an `x` came just before.
struct Blanks;

impl Cuts for Blanks {
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

    fn files(&self) -> usize {
        std::fs::read_dir(&self.0).unwrap().count()
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
            assert!(bytes.len() >= PART - (PART >> 1));
            assert_eq!(Blanks.last_cut(&bytes, 0), Some(bytes.len()));
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
    let [first, second] = [(); 2].map(|()| reader.next(Vec::new()).unwrap().unwrap());
    let file = File::options().write(true).open(&paths[0]).unwrap();
    file.set_len(PART as u64).unwrap();
    let mut buffer = Vec::new();
    first.each(&mut buffer, |_| Ok(())).unwrap();
    for error in [
        second.each(&mut buffer, |_| Ok(())).unwrap_err(),
        reader.next(Vec::new()).err().unwrap(),
    ] {
        let error = error.to_string();
        assert!(error.contains("a.txt: the file became shorter"), "{error}");
    }
}

#[test]
fn every_load_sees_one_writers_whole_file() {
    const WRITERS: u8 = 4;
    let folder = Folder::new("atomic");
    let path = folder.write("shared", &[0; 100]);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let path = &path;
            // Each writes contents of its own length, all of one byte.
            let contents = vec![writer; 100 + 30_000 * usize::from(writer)];
            scope.spawn(move || (0..50).for_each(|_| write_atomic(path, &contents).unwrap()));
        }
        for _ in 0..200 {
            let contents = std::fs::read(&path).unwrap();
            let writer = contents[0];
            assert_eq!(contents.len(), 100 + 30_000 * usize::from(writer));
            assert!(contents.iter().all(|&byte| byte == writer));
        }
    });
    assert_eq!(folder.files(), 1, "temporary files are left");
}

#[test]
fn what_is_not_committed_leaves_nothing() {
    let folder = Folder::new("dropped");
    let mut file = AtomicFile::create(&folder.0.join("a")).unwrap();
    file.write_all(b"half").unwrap();
    drop(file);
    assert_eq!(folder.files(), 0);
    let error = write_atomic(&folder.0, b"x").unwrap_err().to_string();
    assert!(error.contains("directory"), "{error}");
}
