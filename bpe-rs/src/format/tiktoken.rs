//! `.tiktoken` rank files: one token a line, base64, a space, its rank.

use std::collections::hash_map::Entry;
use std::collections::HashMap;

use base64::engine::{Engine, GeneralPurpose, GeneralPurposeConfig};

use crate::error::{quoted, Error, Result};

/// Standard base64 with padding. Like Python's decoder, it does not look at the bits after the last
/// byte.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The bytes of a token in base64; `None` where it is not valid.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    match text {
        "" => None,
        // The empty token, which some files list, as Python's decoder reads it.
        "=" | "==" => Some(Vec::new()),
        text => BASE64.decode(text).ok(),
    }
}

/// Reads a rank file: tokens with their ranks, in file order. Of a token listed twice the later line
/// counts.
///
/// # Errors
/// `Invalid` for a line that is not a base64 token, a space and a rank.
pub fn parse(text: &str) -> Result<Vec<(Vec<u8>, u32)>> {
    let mut ranks: Vec<(Vec<u8>, u32)> = Vec::new();
    let mut places = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() {
            continue;
        }
        let mut fields = line.split_ascii_whitespace();
        let mut entry = || {
            let entry = (from_base64(fields.next()?)?, fields.next()?.parse().ok()?);
            fields.next().is_none().then_some(entry)
        };
        let (token, rank) = entry().ok_or_else(|| {
            let number = number + 1;
            let shown: String = line.chars().take(60).collect();
            Error::invalid(format!(
                ".tiktoken, line {number}: expected a base64 token, a space and its rank, \
                 got {shown}",
                shown = quoted(shown)
            ))
        })?;
        match places.entry(token.clone()) {
            Entry::Vacant(place) => {
                place.insert(ranks.len());
                ranks.push((token, rank));
            }
            Entry::Occupied(place) => ranks[*place.get()].1 = rank,
        }
    }
    Ok(ranks)
}

/// The text of a rank file, ordered by rank.
pub fn write<'a>(ranks: impl IntoIterator<Item = (&'a [u8], u32)>) -> String {
    let mut ranks: Vec<(&[u8], u32)> = ranks.into_iter().collect();
    ranks.sort_by_key(|&(_, rank)| rank);
    let mut text = String::with_capacity(ranks.len() * 16);
    for (token, rank) in ranks {
        match token {
            [] => text.push('='),
            token => BASE64.encode_string(token, &mut text),
        }
        text.push(' ');
        text.push_str(&rank.to_string());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length() {
        let bytes: Vec<u8> = (0..=255).rev().collect();
        for length in 1..bytes.len() {
            let text = BASE64.encode(&bytes[..length]);
            assert_eq!(from_base64(&text).as_deref(), Some(&bytes[..length]));
        }
    }

    #[test]
    fn known_lines() {
        let text = "IQ== 0\nIHRoZQ== 262\n//8= 263\n";
        let ranks = parse(text).unwrap();
        let expected: [(&[u8], u32); 3] = [(b"!", 0), (b" the", 262), (b"\xff\xff", 263)];
        assert!(ranks
            .iter()
            .map(|(token, rank)| (&token[..], *rank))
            .eq(expected));
        assert_eq!(write(expected), text);
    }

    #[test]
    fn errors_name_the_line() {
        for bad in [
            "IQ== 0\nIQ=",
            "IQ== 0\nIQ== x",
            "IQ== 0\n==== 1",
            "IQ== 0\nIg== 1 2",
            "IQ== 0\nI*== 1",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{error}");
        }
    }
}
