//! The published vocabularies as packed tables inside the library: no download, no cache folder.
//!
//! A packed table holds the 256 bytes in rank order, then the merges as six planes of one byte per
//! merge: high, middle and low byte of the left parts' merge numbers, then of the right parts'.
//! The tokens' bytes follow from the merges, so a table is a third the size of its rank file, and
//! planes compress best inside a wheel. The table is used as it is, so that a process does not
//! have to decompress it. `cargo run --example pack_ranks` writes the files.

use super::pairs::PairTable;
use super::tokens::TokenBytes;

/// A packed vocabulary. Ids are ranks; merge number `n` has rank `n`, or `n + 1` past the gap.
#[derive(Debug)]
pub(super) struct Packed {
    parts: &'static [&'static [u8]],
    /// The one rank that the vocabulary leaves out (p50k: 50256, the end of text).
    gap_at: u32,
}

const NO_GAP: u32 = u32::MAX;
#[cfg(feature = "vocabularies")]
static R50K: &[u8] = include_bytes!("../../data/r50k.merges");
#[cfg(feature = "vocabularies")]
static P50K_TAIL: &[u8] = include_bytes!("../../data/p50k-tail.merges");
#[cfg(feature = "vocabularies")]
static CL100K: &[u8] = include_bytes!("../../data/cl100k.merges");
#[cfg(feature = "vocabularies")]
static O200K: &[u8] = include_bytes!("../../data/o200k.merges");

/// The packed vocabulary `name`: "r50k_base", "p50k_base", "cl100k_base" or "o200k_base".
#[cfg(feature = "vocabularies")]
pub(super) fn packed(name: &str) -> Option<&'static Packed> {
    static PACKED: [(&str, Packed); 4] = [
        (
            "r50k_base",
            Packed {
                parts: &[R50K],
                gap_at: NO_GAP,
            },
        ),
        (
            "p50k_base",
            Packed {
                parts: &[R50K, P50K_TAIL],
                gap_at: 50256,
            },
        ),
        (
            "cl100k_base",
            Packed {
                parts: &[CL100K],
                gap_at: NO_GAP,
            },
        ),
        (
            "o200k_base",
            Packed {
                parts: &[O200K],
                gap_at: NO_GAP,
            },
        ),
    ];
    PACKED
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, packed)| packed)
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
