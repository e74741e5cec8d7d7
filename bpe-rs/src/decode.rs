//! From ids to bytes.
//!
//! Tokens of up to fifteen bytes lie in a table of slots of sixteen bytes, indexed by id. Decoding
//! one is a look-up and a copy of fixed size, without a branch on its length.

use crate::error::{Error, Result};
use crate::simd::prefetch;
use crate::threads::check_interrupt;

/// The bytes of every token that is short enough for a slot.
#[derive(Debug, Default)]
pub(crate) struct ShortTokens(Vec<[u8; SLOT]>);

const SLOT: usize = 16;
/// The last byte of a slot is the token's length, or one of these two: the token is too long for a
/// slot, or there is no token.
const TOO_LONG: u8 = u8::MAX;
const NO_TOKEN: u8 = TOO_LONG - 1;
/// Ids from here on have no slots, so that a far id cannot make the table huge.
const MAX_SLOTS: u32 = 1 << 21;
/// Slots are read in random order, so each is prefetched this many ids before it is needed.
const PREFETCH_DISTANCE: usize = 32;
/// Ids for which room in the output is reserved at once.
const CHUNK: usize = 1024;
/// Chunks between two checks whether the caller wants to stop.
const CHUNKS_PER_CHECK: usize = 256;

impl ShortTokens {
    /// The table of `(id, bytes)`, in any order. Of two tokens with one id the first counts.
    pub(crate) fn new<'a>(tokens: impl Iterator<Item = (u32, &'a [u8])>) -> Self {
        let mut slots = Vec::new();
        for (id, bytes) in tokens.filter(|(id, _)| *id < MAX_SLOTS) {
            let id = id as usize;
            if slots.len() <= id {
                slots.resize(id + 1, [NO_TOKEN; SLOT]);
            }
            if slots[id][SLOT - 1] != NO_TOKEN {
                continue;
            }
            slots[id][SLOT - 1] = TOO_LONG;
            if bytes.len() < SLOT {
                slots[id][..bytes.len()].copy_from_slice(bytes);
                slots[id][SLOT - 1] = bytes.len() as u8;
            }
        }
        Self(slots)
    }
}

/// Append the bytes of `ids` to `out`. `token` finds any token; `short` has some or all of the short
/// ones.
///
/// # Errors
/// `NotFound` for an id that `token` does not know; `out` then has the bytes of the ids before it.
/// `Interrupted` when the caller wants to stop.
pub(crate) fn decode_into<'a>(
    short: &ShortTokens,
    token: impl Fn(u32) -> Option<&'a [u8]>,
    ids: &[u32],
    out: &mut Vec<u8>,
) -> Result<()> {
    out.reserve(4 * ids.len());
    for (i, chunk) in ids.chunks(CHUNK).enumerate() {
        if i % CHUNKS_PER_CHECK == CHUNKS_PER_CHECK - 1 {
            check_interrupt()?;
        }
        out.reserve(SLOT * chunk.len());
        let mut len = out.len();
        for (at, &id) in chunk.iter().enumerate() {
            if let Some(slot) = chunk
                .get(at + PREFETCH_DISTANCE)
                .and_then(|&id| short.0.get(id as usize))
            {
                prefetch(slot);
            }
            match short.0.get(id as usize) {
                Some(slot) if slot[SLOT - 1] < NO_TOKEN => {
                    // SAFETY: SLOT bytes are reserved for each remaining id of the chunk.
                    unsafe {
                        let room = out.as_mut_ptr().add(len).cast::<[u8; SLOT]>();
                        room.write_unaligned(*slot);
                    }
                    len += usize::from(slot[SLOT - 1]);
                }
                _ => {
                    // SAFETY: each id so far wrote the bytes by which it advanced `len`.
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
            (MAX_SLOTS + 7, b"far"),
        ];
        let find = |id| tokens.iter().find(|t| t.0 == id).map(|t| t.1);
        let table = ShortTokens::new(tokens.iter().copied());
        let known = [0, 3, 4, 5, MAX_SLOTS + 7];
        let count = if cfg!(miri) { 1100 } else { 5000 };
        let ids: Vec<u32> = (0..count).map(|i| known[i * i % 5]).collect();
        for short in [&table, &ShortTokens::default()] {
            let mut out = b"before".to_vec();
            decode_into(short, find, &ids, &mut out).unwrap();
            let parts = ids.iter().map(|&id| find(id).unwrap());
            let want: Vec<u8> = b"before".iter().chain(parts.flatten()).copied().collect();
            assert_eq!(out, want);
            for missing in [1, 2, 6, MAX_SLOTS, u32::MAX] {
                let mut out = Vec::new();
                let error = decode_into(short, find, &[0, missing, 0], &mut out).unwrap_err();
                assert!(error.to_string().contains(&missing.to_string()), "{error}");
                assert_eq!(out, b"a");
            }
        }
    }
}
