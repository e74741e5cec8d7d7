//! The published vocabularies as packed tables inside the library: no download, no cache folder.
//!
//! A packed table holds the 256 bytes in rank order, then the merges as six planes of one byte per
//! merge: high, middle and low byte of the left parts' merge numbers, then of the right parts'.
//! The tokens' bytes follow from the merges. Planes compress well inside a wheel, and a process uses
//! them as they are. `cargo run --example pack_ranks` writes the files.

use super::ids::Ids;
use super::pairs::PairTable;
use super::tokens::TokenBytes;

/// A packed vocabulary. Ids are ranks; merge number `n` has rank `n`, or `n + 1` past the gap.
#[derive(Debug)]
pub(super) struct Packed {
    parts: &'static [&'static [u8]],
    /// The one rank that the vocabulary leaves out (p50k: 50256, the end of text), or `u32::MAX`.
    gap_at: u32,
}

/// The packed vocabulary `name`: "r50k_base", "p50k_base", "cl100k_base" or "o200k_base".
#[cfg(feature = "vocabularies")]
pub(super) fn packed(name: &str) -> Option<&'static Packed> {
    static R50K: &[u8] = include_bytes!("../../data/r50k.merges");
    static P50K_TAIL: &[u8] = include_bytes!("../../data/p50k-tail.merges");
    static CL100K: &[u8] = include_bytes!("../../data/cl100k.merges");
    static O200K: &[u8] = include_bytes!("../../data/o200k.merges");
    const fn without_gap(parts: &'static [&'static [u8]]) -> Packed {
        let gap_at = u32::MAX;
        Packed { parts, gap_at }
    }
    static PACKED: [(&str, Packed); 4] = [
        ("r50k_base", without_gap(&[R50K])),
        (
            "p50k_base",
            Packed {
                parts: &[R50K, P50K_TAIL],
                gap_at: 50256,
            },
        ),
        ("cl100k_base", without_gap(&[CL100K])),
        ("o200k_base", without_gap(&[O200K])),
    ];
    let found = PACKED.iter().find(|(known, _)| *known == name);
    found.map(|(_, packed)| packed)
}

/// Split a part into its byte order and its planes.
fn planes(part: &[u8]) -> (&[u8], [&[u8]; 6]) {
    let (order, rest) = part.split_at(256);
    let count = rest.len() / 6;
    (
        order,
        std::array::from_fn(|plane| &rest[plane * count..(plane + 1) * count]),
    )
}

impl Packed {
    /// The number of merges.
    pub(super) fn merges(&self) -> usize {
        self.parts.iter().map(|part| (part.len() - 256) / 6).sum()
    }

    /// `(left, right)` of every merge in order; the first makes merge number 256, and so on.
    fn pairs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.parts.iter().flat_map(|part| {
            let [left_high, left_middle, left_low, right_high, right_middle, right_low] =
                planes(part).1;
            (0..left_low.len()).map(move |i| {
                let number = |high, middle, low| u32::from_be_bytes([0, high, middle, low]);
                (
                    number(left_high[i], left_middle[i], left_low[i]),
                    number(right_high[i], right_middle[i], right_low[i]),
                )
            })
        })
    }

    /// The id of a merged token by its merge number.
    #[inline]
    pub(super) fn id(&self, number: u32) -> u32 {
        number + u32::from(number >= self.gap_at)
    }

    /// The ids of merge numbers; `bytes` are those of the bytes.
    #[cfg(feature = "vocabularies")]
    pub(super) fn ids(&self, bytes: Vec<Option<u32>>) -> Ids {
        Ids::following(bytes, self.merges(), self.gap_at)
    }

    /// The bytes in the order of their ranks.
    pub(super) fn byte_order(&self) -> &'static [u8] {
        planes(self.parts[0]).0
    }

    pub(super) fn pair_table(&self) -> PairTable {
        let mut table = PairTable::with_capacity(self.merges());
        for ((left, right), number) in self.pairs().zip(256..) {
            table.insert(left, right, number);
        }
        table
    }

    pub(super) fn tokens(&self) -> TokenBytes {
        const VALID: &str = "packed tables hold distinct tokens made of earlier ones";
        let mut rank_of = [0; 256];
        let mut tokens = TokenBytes::with_capacity(self.merges() + 257, 8 * self.merges());
        for (rank, &byte) in (0..).zip(self.byte_order()) {
            rank_of[usize::from(byte)] = rank;
            tokens.push(rank, &[byte]).expect(VALID);
        }
        let id_of = |number: u32| {
            let byte = rank_of.get(number as usize).copied();
            byte.unwrap_or_else(|| self.id(number))
        };
        for ((left, right), number) in self.pairs().zip(256..) {
            let joined = tokens.push_joined(self.id(number), id_of(left), id_of(right));
            joined.expect(VALID);
        }
        tokens
    }
}
