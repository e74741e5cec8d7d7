//! Files to ids.

use std::io::Write;

use bpe_rs::format::id_file::{Header, Width};
use bpe_rs::{encode_documents, encode_files, Encoding, FileOptions, Finder, IdWriter};

use super::{published, Bytes};

/// A file of any bytes gives the ids of its text or an error that names it, for any number of
/// threads.
pub(crate) fn files(data: &[u8]) {
    let mut bytes = Bytes(data);
    let encoding = published(["gpt2", "o200k_base"][bytes.below(2)]);
    let kind = bytes.pick(&["txt", "jsonl", "txt.gz", "jsonl.gz", "txt.zst", "gz"]);
    let separator = (bytes.below(2) == 0).then(|| "<|endoftext|>".to_string());
    let special_tokens = bytes.below(2) == 0;
    let repeat = [1, 1, 1, 3000][bytes.below(4)];
    let (text, json) = (super::text(bytes.0), kind.starts_with("jsonl"));
    let contents = if json && bytes.byte() % 4 > 0 {
        let line = serde_json::json!({ "text": text }).to_string() + "\n";
        line.repeat(repeat.min(100)).into_bytes()
    } else if bytes.byte() % 4 > 0 {
        text.repeat(repeat).into_bytes()
    } else {
        bytes.0.to_vec()
    };
    let folder = std::env::temp_dir();
    let path = folder.join(format!("bpe-rs-random-{}.{kind}", std::process::id()));
    let whole = kind.ends_with("gz") && bytes.byte() % 4 > 0;
    let stored = if whole {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&contents).unwrap();
        packed.finish().unwrap()
    } else {
        contents.clone()
    };
    std::fs::write(&path, stored).unwrap();
    let run = |threads| {
        let options = FileOptions {
            separator: separator.clone(),
            special_tokens,
            field: "text".into(),
            threads,
        };
        let mut out = IdWriter::memory(Width::U32);
        let mut last = 0;
        let mut progress = |done| {
            assert!(done >= last);
            last = done;
            Ok(())
        };
        let paths = [path.clone()];
        let done = encode_files(encoding, &paths, &options, 5, &mut progress, &mut out);
        done.and_then(|_| out.finish())
    };
    let (one, three) = (run(1), run(3));
    std::fs::remove_file(&path).unwrap();
    match (one, three) {
        (Ok(one), Ok(three)) => {
            assert!(one == three, "threads make a difference");
            if (kind == "txt" || whole) && !json {
                let text = std::str::from_utf8(&contents).expect("accepted, so it is UTF-8");
                let want = plain(encoding, text, separator.as_deref(), special_tokens);
                assert!(one == want, "{kind}: not the ids of the text");
            } else if json && kind == "jsonl" {
                let lines = contents.split(|&byte| byte == b'\n');
                let texts: Vec<String> = lines
                    .filter(|line| !line.trim_ascii().is_empty())
                    .map(|line| {
                        let value: serde_json::Value = serde_json::from_slice(line).unwrap();
                        value["text"].as_str().unwrap().to_string()
                    })
                    .collect();
                let want = rows(encoding, &texts, separator, special_tokens);
                assert!(one == want, "{kind}: not the ids of the lines");
            }
        }
        (Err(one), Err(three)) => {
            assert!(one.to_string().contains("bpe-rs-random-"), "{one}");
            assert_eq!(one.kind(), three.kind());
        }
        (one, three) => panic!("{:?} by one thread, {:?} by three", one.err(), three.err()),
    }
}

fn little_endian(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

/// The ids of a file of plain text, in one piece.
fn plain(encoding: &Encoding, text: &str, separator: Option<&str>, special: bool) -> Vec<u8> {
    let mut ids = Vec::new();
    let mut strings: Vec<&str> = separator.into_iter().collect();
    if special {
        strings = encoding.special().iter().map(|(text, _)| text).collect();
    }
    let finder = Finder::new(strings);
    encoding.encode(text, &finder, &mut ids).unwrap();
    ids.extend(separator.map(|text| encoding.special().id_of(text).unwrap()));
    little_endian(&ids)
}

/// The ids of documents, one by one; `encode_documents` must give the same.
fn rows(
    encoding: &Encoding,
    texts: &[String],
    separator: Option<String>,
    special_tokens: bool,
) -> Vec<u8> {
    let mut ids = Vec::new();
    for text in texts {
        if special_tokens {
            let finder = encoding.special().finder();
            encoding.encode(text, finder, &mut ids).unwrap();
        } else {
            encoding.encode_ordinary(text, &mut ids).unwrap();
        }
        ids.extend(
            separator
                .as_ref()
                .map(|text| encoding.special().id_of(text).unwrap()),
        );
    }
    let options = FileOptions {
        separator,
        special_tokens,
        field: String::new(),
        threads: 2,
    };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut out = IdWriter::memory(Width::U32);
    let done = encode_documents(encoding, &texts, &options, 0, &mut |_| Ok(()), &mut out).unwrap();
    assert_eq!(
        done,
        texts.iter().map(|text| text.len() as u64).sum::<u64>()
    );
    let want = little_endian(&ids);
    assert!(out.finish().unwrap() == want, "documents");
    want
}

/// A header of an id file that is accepted is written back the same.
pub(crate) fn header(data: &[u8]) {
    let mut bytes = data.to_vec();
    if let Some(head) = bytes.first_chunk_mut::<8>() {
        if head[0] % 2 == 0 {
            *head = *b"GPTPYIDS";
        }
    }
    if let Ok(header) = Header::from_bytes(&bytes) {
        let written = header.to_bytes();
        assert_eq!(Header::from_bytes(&written).unwrap().to_bytes(), written);
        assert_eq!(bytes[..written.len()], written);
    }
}
