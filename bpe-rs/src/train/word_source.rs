//! The words that training learns from.

/// Distinct words and how often each occurs.
pub trait WordSource {
    /// Call `visit` with every word and its count, in the order that decides between pairs by
    /// first occurrence. Visits the same words in the same order every time.
    fn each(&self, visit: &mut dyn FnMut(&[u8], u64));
}

impl<W: AsRef<[u8]>> WordSource for [(W, u64)] {
    fn each(&self, visit: &mut dyn FnMut(&[u8], u64)) {
        for (word, count) in self {
            visit(word.as_ref(), *count);
        }
    }
}
