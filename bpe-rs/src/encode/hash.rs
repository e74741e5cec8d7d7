//! Hashes of pieces.

use std::hash::{BuildHasher, RandomState};

/// Odd multipliers for multiply-shift hashing, whose best bits are the top ones. They are random in
/// each cache, so that no text can be made of pieces that collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeds(u64, u64);

impl Seeds {
    pub(super) fn new() -> Self {
        let state = RandomState::new();
        Self(state.hash_one(1) | 1, state.hash_one(2) | 1)
    }

    /// Hash the key of a piece of up to eight bytes.
    #[inline(always)]
    pub(super) fn short(self, key: u64) -> u64 {
        key.wrapping_mul(self.0)
    }

    /// Hash the key of a piece of up to 15 bytes.
    #[inline(always)]
    pub(super) fn medium(self, key: [u64; 2]) -> u64 {
        key[0]
            .wrapping_mul(self.0)
            .wrapping_add(key[1].wrapping_mul(self.1))
    }

    /// Hash the bytes of a piece of at least eight bytes.
    #[inline]
    pub(super) fn long(self, piece: &[u8]) -> u64 {
        let mut hash = piece.len() as u64;
        let mut mix = |word: [u8; 8]| {
            let product =
                u128::from(hash ^ u64::from_le_bytes(word)) * u128::from(self.0 ^ self.1 << 1);
            hash = (product as u64 ^ (product >> 64) as u64).wrapping_add(self.1);
        };
        let (words, _) = piece.as_chunks::<8>();
        words.iter().for_each(|word| mix(*word));
        mix(*piece.last_chunk().unwrap_or(&[0; 8]));
        hash.wrapping_mul(self.0)
    }
}
