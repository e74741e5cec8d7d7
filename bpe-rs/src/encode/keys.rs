//! A piece's bytes as numbers: keys of the tables, beginnings of merges.

/// The pieces of a batch in their text.
#[derive(Clone, Copy)]
pub(super) struct Pieces<'a> {
    pub(super) text: &'a [u8],
    pub(super) bounds: &'a [u32],
}

impl<'a> Pieces<'a> {
    #[inline(always)]
    pub(super) fn place(self, j: usize) -> (usize, usize) {
        let start = self.bounds[j];
        (start as usize, (self.bounds[j + 1] - start) as usize)
    }

    #[inline(always)]
    pub(super) fn get(self, j: usize) -> &'a [u8] {
        let (start, len) = self.place(j);
        &self.text[start..start + len]
    }
}

/// The eight bytes at `text[at..]`, which may end before.
#[inline(always)]
pub(super) fn word(text: &[u8], at: usize) -> u64 {
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

/// The `len` bytes at `text[start..]` and whatever follows them.
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

/// The first `len` of up to eight bytes.
#[inline(always)]
fn first_bytes(word: u64, len: usize) -> u64 {
    // In two steps: a shift by 64 is none.
    word & !(u64::MAX << (4 * len) << (4 * len))
}

/// The key of a piece of `len` bytes that begins with `word`; 0 for more than eight bytes.
///
/// A bit behind the piece tells "a" from "a\0". That of eight bytes has no room for it; its key is
/// unique all the same, but where the eighth byte is 0 or 1: see [`is_odd`].
#[inline(always)]
pub(super) fn short_key(word: u64, len: u32) -> u64 {
    // In two steps: a shift by 64 is none.
    let half = 4 * len.min(8);
    let end = 1 << half << half;
    let key = word & !(u64::MAX << half << half) | end;
    if len > 8 {
        0
    } else {
        key
    }
}

/// Whether a piece of eight bytes must not be taken for a short one.
#[inline(always)]
pub(super) fn is_odd(key: u64, len: u32) -> bool {
    len == 8 && key >> 57 == 0
}

/// The key of a piece of 8 to 15 bytes.
#[inline(always)]
pub(super) fn medium_key(text: &[u8], start: usize, len: usize) -> [u64; 2] {
    let high = first_bytes(word(text, start + 8), len - 8) | (len as u64) << 56;
    [word(text, start), high]
}
