//! Cutting many texts into work for several threads.

use std::ops::Range;
use std::sync::atomic::AtomicUsize;

/// A text, or a section of a long one.
pub(super) struct Section<'a> {
    /// The number of the text.
    pub(super) row: usize,
    pub(super) text: &'a str,
    /// The number of its ids, once it is encoded.
    pub(super) count: AtomicUsize,
}

/// All texts, long ones in sections of about `size` bytes. `cut(text, from, near)` gives a place after
/// `from` and not far from `near` where a text may be cut without changing its ids, if there is one.
pub(super) fn sections<'a>(
    texts: &[&'a str],
    size: usize,
    cut: impl Fn(&str, usize, usize) -> Option<usize>,
) -> Vec<Section<'a>> {
    let mut sections = Vec::with_capacity(texts.len());
    let mut add = |row, text| {
        let count = AtomicUsize::new(0);
        sections.push(Section { row, text, count });
    };
    for (row, text) in texts.iter().enumerate() {
        let mut from = 0;
        while text.len() - from > 2 * size {
            let (mut searched, mut near) = (from, from + size);
            let end = loop {
                match cut(text, searched, near) {
                    None if near + size < text.len() => {
                        searched = near - 1;
                        near += size;
                    }
                    end => break end,
                }
            };
            let Some(end) = end else {
                break;
            };
            add(row, &text[from..end]);
            from = end;
        }
        add(row, &text[from..]);
    }
    sections
}

/// Rounds of parts: a part is a run of sections of at least `part_size` bytes, which one thread takes
/// at once; a round is a run of parts of at least `round_size` bytes. The last of each may be smaller.
pub(super) fn rounds<'a>(
    sections: &'a [Section<'_>],
    part_size: usize,
    round_size: usize,
) -> impl Iterator<Item = Vec<Range<usize>>> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (mut parts, mut size) = (Vec::new(), 0);
        while at < sections.len() && size < round_size {
            let (from, had) = (at, size);
            while at < sections.len() && size - had < part_size {
                size += sections[at].text.len();
                at += 1;
            }
            parts.push(from..at);
        }
        (!parts.is_empty()).then_some(parts)
    })
}
