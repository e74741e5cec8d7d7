//! Write `data/classes.bin`, the character classes that the scanners look up: `cargo run --example
//! pack_classes`.
//!
//! The classes come from the regex engine, so that scanners and engine have the same version of
//! Unicode. A test compares the two for every scalar value.
//!
//! Layout: one byte for each of the 4352 blocks of 256 code points, the index of its table, then
//! the distinct tables of 256 bytes. The bits are those of `src/pretokenize/classes.rs`.

use std::error::Error;

use fancy_regex::Regex;

fn main() -> Result<(), Box<dyn Error>> {
    let classes = [
        r"\p{L}",
        r"\p{N}",
        r"\s",
        r"[\p{Lu}\p{Lt}]",
        r"\p{Ll}",
        r"[\p{Lm}\p{Lo}\p{M}]",
    ];
    let classes: Vec<Regex> = classes
        .iter()
        .map(|c| Regex::new(c))
        .collect::<Result<_, _>>()?;
    let mut bits = vec![0u8; 0x11_0000];
    for c in '\0'..=char::MAX {
        let text = c.to_string();
        for (bit, class) in classes.iter().enumerate() {
            bits[c as usize] |= u8::from(class.is_match(text.as_str())?) << bit;
        }
    }
    let (mut index, mut tables) = (Vec::new(), Vec::<&[u8]>::new());
    for block in bits.chunks(256) {
        let at = tables
            .iter()
            .position(|table| *table == block)
            .unwrap_or_else(|| {
                tables.push(block);
                tables.len() - 1
            });
        index.push(u8::try_from(at)?);
    }
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/classes.bin");
    std::fs::write(data, [index, tables.concat()].concat())?;
    Ok(())
}
