//! What the tests of all rooms share.

/// Reproducible random values (SplitMix64, Steele, Lea and Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// `len` picks.
    pub(crate) fn picks<T: Copy, C: FromIterator<T>>(&mut self, from: &[T], len: usize) -> C {
        (0..len).map(|_| self.pick(from)).collect()
    }
}

/// `usual`, but `few` under Miri, which is a few hundred times slower.
pub(crate) const fn rounds(usual: usize, few: usize) -> usize {
    if cfg!(miri) {
        few
    } else {
        usual
    }
}
