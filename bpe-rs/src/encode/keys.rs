//! The bytes of a piece as numbers: keys of the tables, and the input of merges.

/// The eight bytes from `text[at]` on as a little-endian number, with zeros behind the text's end.
#[inline(always)]
pub(super) fn eight_bytes(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    match (rest.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(bytes), _) => u64::from_le_bytes(*bytes),
        (None, Some(last)) if !rest.is_empty() => {
            u64::from_le_bytes(*last) >> (64 - 8 * rest.len())
        }
        _ => {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(bytes)
        }
    }
}

/// `N` bytes from `text[start]` on, of which the first `len` are the piece and the others anything.
#[inline(always)]
pub(super) fn padded<const N: usize>(text: &[u8], start: usize, len: usize) -> [u8; N] {
    match text[start..].first_chunk::<N>() {
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; N];
            bytes[..len].copy_from_slice(&text[start..start + len]);
            bytes
        }
    }
}

/// The first `len` bytes, at most eight, of `word`.
#[inline(always)]
fn first_bytes(word: u64, len: usize) -> u64 {
    // Two shifts, because shifting by 64 at once is not allowed.
    word & !(u64::MAX << (4 * len) << (4 * len))
}

/// The key of a piece of `len` bytes that begins with `word`; 0 for more than eight bytes.
///
/// A one bit behind the piece tells "a" from "a\0". A piece of eight bytes has no room for that
/// bit, so its key is unique unless [`is_ambiguous`].
#[inline(always)]
pub(super) fn short_key(word: u64, len: u32) -> u64 {
    // Two shifts, as above.
    let half = 4 * len.min(8);
    let end = 1 << half << half;
    let key = word & !(u64::MAX << half << half) | end;
    if len > 8 {
        0
    } else {
        key
    }
}

/// Whether the key of a piece of eight bytes may be that of a shorter piece: its eighth byte is 0
/// or 1. Such a piece is not kept in the table of short pieces.
#[inline(always)]
pub(super) fn is_ambiguous(key: u64, len: u32) -> bool {
    len == 8 && key >> 57 == 0
}

/// The key of a piece of 8 to 15 bytes: the bytes, and the length in the last byte.
#[inline(always)]
pub(super) fn medium_key(text: &[u8], start: usize, len: usize) -> [u64; 2] {
    let high = first_bytes(eight_bytes(text, start + 8), len - 8) | (len as u64) << 56;
    [eight_bytes(text, start), high]
}
