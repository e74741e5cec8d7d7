//! Count the tokens of files: `cargo run --release --example encode -- o200k_base FILE...`
//!
//! Without files it takes a text of its own. Prints one line a file: tokens, bytes, bytes a token.

use std::error::Error;
use std::fs;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "o200k_base".to_owned());
    let encoding = bpe_rs::get_encoding(&name)?;
    let mut texts = Vec::new();
    for path in arguments {
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        texts.push((path, text));
    }
    if texts.is_empty() {
        let text = "Byte-pair encoding merges the most frequent pair of neighbours.".to_owned();
        texts.push(("(example)".to_owned(), text));
    }
    for (path, text) in &texts {
        let mut ids = Vec::new();
        encoding.encode_ordinary(text, &mut ids)?;
        let mut back = Vec::new();
        encoding.decode(&ids, &mut back)?;
        assert_eq!(back, text.as_bytes(), "decoding gives the text back");
        let ratio = text.len() as f64 / ids.len().max(1) as f64;
        println!(
            "{path}: {} tokens, {} bytes, {ratio:.2} bytes a token",
            ids.len(),
            text.len()
        );
    }
    Ok(())
}
