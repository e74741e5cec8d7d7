//! The published vocabularies, packed into the library: no download, no cache folder.
//!
//! A packed file holds the 256 bytes in rank order, then the merges as six planes of one byte per
//! merge: high, middle and low byte of the left parts' numbers, then of the right parts'. The
//! tokens' bytes follow from the merges, so a table is a third of its rank file, and planes
//! compress best inside a wheel (r50k 0.17 MB, cl100k 0.34, o200k 0.73). No decompression when a
//! process starts. `cargo run --example pack_ranks` writes the files.

use super::{PairTable, TokenBytes};

/// A packed vocabulary. Ranks are ids; merged token number `n` has rank `n`, but for one gap.
#[derive(Debug)]
pub(super) struct Packed {
    parts: &'static [&'static [u8]],
    /// Ranks from here on are one higher (p50k leaves out 50256, the end of text).
    gap_at: u32,
}

const NO_GAP: u32 = u32::MAX;
static R50K: &[u8] = include_bytes!("../../data/r50k.merges");
static P50K_TAIL: &[u8] = include_bytes!("../../data/p50k-tail.merges");
static CL100K: &[u8] = include_bytes!("../../data/cl100k.merges");
static O200K: &[u8] = include_bytes!("../../data/o200k.merges");

/// The packed vocabulary `name` ("r50k_base", "p50k_base", "cl100k_base" or "o200k_base").
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

/// Split a packed file into its byte order and its planes.
fn planes(part: &[u8]) -> (&[u8], [&[u8]; 6]) {
    let (order, rest) = part.split_at(256);
    let count = rest.len() / 6;
    (
        order,
        std::array::from_fn(|plane| &rest[plane * count..(plane + 1) * count]),
    )
}

impl Packed {
    /// How many merged tokens there are.
    pub(super) fn merges(&self) -> usize {
        self.parts.iter().map(|part| (part.len() - 256) / 6).sum()
    }

    /// `(left, right)` of every merge in order: the first makes number 256, and so on.
    fn pairs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.parts.iter().flat_map(|part| {
            let [lh, lm, ll, rh, rm, rl] = planes(part).1;
            (0..ll.len()).map(move |i| {
                let number = |h, m, l| u32::from_be_bytes([0, h, m, l]);
                (number(lh[i], lm[i], ll[i]), number(rh[i], rm[i], rl[i]))
            })
        })
    }

    /// The id of merge number `number`.
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
        let mut rank_of = [0; 256];
        let mut tokens = TokenBytes::with_capacity(self.merges() + 257, 8 * self.merges());
        for (rank, &byte) in (0..).zip(self.byte_order()) {
            rank_of[usize::from(byte)] = rank;
            tokens.push(rank, &[byte]);
        }
        for ((left, right), number) in self.pairs().zip(256..) {
            let id = |part: u32| {
                rank_of
                    .get(part as usize)
                    .copied()
                    .unwrap_or_else(|| self.id(part))
            };
            tokens.push_joined(self.id(number), id(left), id(right));
        }
        tokens
    }
}
