//! `.tiktoken` rank files: one token a line, base64, a space, its rank.

use std::collections::hash_map::Entry;
use std::collections::HashMap;

use crate::error::{quoted, Error, Result};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding.
fn base64(bytes: &[u8], out: &mut String) {
    for chunk in bytes.chunks(3) {
        let mut word = [0u8; 3];
        word[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        for place in 0..4 {
            if place <= chunk.len() {
                out.push(DIGITS[(bits >> (18 - 6 * place)) as usize & 63] as char);
            } else {
                out.push('=');
            }
        }
    }
}

/// The bytes of a base64 text; `None` where it is not valid.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    // The empty token, which some files list, as Python's decoder reads it.
    if matches!(text, b"=" | b"==") {
        return Some(Vec::new());
    }
    if text.is_empty() || !text.chunks_exact(4).remainder().is_empty() {
        return None;
    }
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for (index, group) in text.chunks_exact(4).enumerate() {
        let is_last = (index + 1) * 4 == text.len();
        let digits = if is_last { 4 - padding } else { 4 };
        let mut bits = 0u32;
        for &byte in &group[..digits] {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(digit);
        }
        bits <<= 6 * (4 - digits);
        bytes.extend_from_slice(&bits.to_be_bytes()[1..digits]);
    }
    Some(bytes)
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
            token => base64(token, &mut text),
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
            let mut text = String::new();
            base64(&bytes[..length], &mut text);
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
