//! Pack published rank files into `data/`: `cargo run --example pack_ranks -- FOLDER`, where
//! FOLDER holds `r50k_base.tiktoken` and the others.
//!
//! `src/vocab/published.rs` describes the layout. A test rebuilds the rank files and compares
//! their SHA-256 with the published ones.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use bpe_rs::format::tiktoken;
use bpe_rs::Vocab;

type Ranks = Vec<(Vec<u8>, u32)>;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("expected the folder of the rank files")?;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let read = |name: &str| -> Result<Ranks, Box<dyn Error>> {
        let path = Path::new(&folder).join(format!("{name}_base.tiktoken"));
        Ok(tiktoken::parse(&std::fs::read_to_string(path)?)?)
    };
    for name in ["r50k", "cl100k", "o200k"] {
        std::fs::write(data.join(format!("{name}.merges")), pack(read(name)?, 256)?)?;
    }
    let tail = pack(read("p50k")?, 50256)?;
    std::fs::write(data.join("p50k-tail.merges"), tail)?;
    Ok(())
}

/// The packed table: the bytes in rank order, then the planes of the merges from rank `from` on.
fn pack(ranks: Ranks, from: u32) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut by_rank = ranks.clone();
    by_rank.sort_by_key(|(_, rank)| *rank);
    let mut number_of = HashMap::new();
    let mut out = Vec::new();
    for (at, (token, _)) in by_rank.iter().enumerate() {
        let number = if at < 256 {
            u32::from(token[0])
        } else {
            at as u32
        };
        number_of.insert(by_rank[at].1, number);
        if at < 256 {
            out.extend_from_slice(token);
        }
    }
    let merges = Vocab::from_ranks(ranks)?.merges();
    if merges.len() + 256 != by_rank.len() {
        return Err("expected every token to come out of merging its own bytes".into());
    }
    let tail = &merges[from as usize - 256..];
    let sides = [
        tail.iter().map(|m| m.0).collect(),
        tail.iter().map(|m| m.1).collect(),
    ];
    for side in sides as [Vec<u32>; 2] {
        for shift in [16, 8, 0] {
            out.extend(side.iter().map(|id| (number_of[id] >> shift) as u8));
        }
    }
    Ok(out)
}
