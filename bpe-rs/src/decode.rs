//! Ids to bytes.

use crate::error::{Error, Result};
use crate::simd::prefetch;

/// The bytes of every token up to fifteen bytes long, sixteen bytes to an id: one look-up, one
/// copy of fixed size.
#[derive(Debug, Default)]
pub struct ShortTokens(Vec<[u8; SLOT]>);

const SLOT: usize = 16;
/// The last byte of a slot is the token's length, or one of these: too long for a slot; no token.
const ELSEWHERE: u8 = u8::MAX;
const VACANT: u8 = ELSEWHERE - 1;
/// Beyond this many ids a table would cost more memory than it saves time.
const MOST: u32 = 1 << 21;
/// Slots lie all over the memory: so many ids before it is needed, one is asked for.
const AHEAD: usize = 32;
/// Ids between two looks at the room for output.
const CHUNK: usize = 1024;

impl ShortTokens {
    /// Of `(id, bytes)` in any order; of ids given twice the first counts.
    pub fn new<'a>(tokens: impl Iterator<Item = (u32, &'a [u8])>) -> Self {
        let mut slots = Vec::new();
        for (id, bytes) in tokens.filter(|(id, _)| *id < MOST) {
            let id = id as usize;
            if slots.len() <= id {
                slots.resize(id + 1, [VACANT; SLOT]);
            }
            if slots[id][SLOT - 1] != VACANT {
                continue;
            }
            slots[id][SLOT - 1] = ELSEWHERE;
            if bytes.len() < SLOT {
                slots[id][..bytes.len()].copy_from_slice(bytes);
                slots[id][SLOT - 1] = bytes.len() as u8;
            }
        }
        Self(slots)
    }
}

/// Append the bytes of `ids` to `out`; `token` knows all tokens, `short` the short ones of them.
///
/// Errors: `NotFound` for an id that `token` does not know.
pub fn decode_into<'a>(
    short: &ShortTokens,
    token: impl Fn(u32) -> Option<&'a [u8]>,
    ids: &[u32],
    out: &mut Vec<u8>,
) -> Result<()> {
    out.reserve(4 * ids.len());
    for chunk in ids.chunks(CHUNK) {
        out.reserve(SLOT * chunk.len());
        let mut len = out.len();
        for (at, &id) in chunk.iter().enumerate() {
            if let Some(slot) = chunk
                .get(at + AHEAD)
                .and_then(|&id| short.0.get(id as usize))
            {
                prefetch(slot);
            }
            match short.0.get(id as usize) {
                Some(slot) if slot[SLOT - 1] < VACANT => {
                    // SAFETY: SLOT bytes are reserved for each remaining id of the chunk.
                    unsafe {
                        let room = out.as_mut_ptr().add(len).cast::<[u8; SLOT]>();
                        room.write_unaligned(*slot);
                    }
                    len += usize::from(slot[SLOT - 1]);
                }
                _ => {
                    // SAFETY: each id so far wrote the bytes that it moved `len` by.
                    unsafe { out.set_len(len) };
                    out.extend_from_slice(token(id).ok_or_else(|| {
                        Error::not_found(format!("Invalid token for decoding: {id}"))
                    })?);
                    out.reserve(SLOT * (chunk.len() - at));
                    len = out.len();
                }
            }
        }
        // SAFETY: as above.
        unsafe { out.set_len(len) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_long_and_missing_tokens() {
        let long = [b'x'; 40];
        let tokens: Vec<(u32, &[u8])> = vec![
            (0, b"a"),
            (3, b"fifteen bytes.."),
            (4, b"sixteen bytes..."),
            (5, &long),
            (5, b"given twice"),
            (MOST + 7, b"far"),
        ];
        let find = |id| tokens.iter().find(|t| t.0 == id).map(|t| t.1);
        let table = ShortTokens::new(tokens.iter().copied());
        let known = [0, 3, 4, 5, MOST + 7];
        let count = if cfg!(miri) { 1100 } else { 5000 };
        let ids: Vec<u32> = (0..count).map(|i| known[i * i % 5]).collect();
        for short in [&table, &ShortTokens::default()] {
            let mut out = b"before".to_vec();
            decode_into(short, find, &ids, &mut out).unwrap();
            let parts = ids.iter().map(|&id| find(id).unwrap());
            let want: Vec<u8> = b"before".iter().chain(parts.flatten()).copied().collect();
            assert_eq!(out, want);
            for missing in [1, 2, 6, MOST, u32::MAX] {
                let mut out = Vec::new();
                let error = decode_into(short, find, &[0, missing, 0], &mut out).unwrap_err();
                assert!(error.to_string().contains(&missing.to_string()), "{error}");
                assert_eq!(out, b"a");
            }
        }
    }
}
