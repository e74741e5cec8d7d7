//! The vector scanner: cuts text in windows of 8 KB, each from one piece's start to another's.
//!
//! A window is classified byte by byte (`classes.rs`), the classes give the starts of its pieces
//! (`window.rs`, `word_starts.rs`), and it ends at the last start that the text after it cannot
//! change. Where the vector form has no rule, the scalar form cuts the next kilobyte.

use super::classes::{class_at, Mask, Masks, SPACE, UPPER, WINDOW};
use super::patterns::{piece_end, Rules};
use super::window::Window;
use crate::simd::{dispatch, Bytes64};

/// Bytes that the scalar form cuts where the vector form has no rule. Such places come in groups
/// (emoji, digits of other scripts), and a new window for each would cost more.
const SCALAR_BYTES: usize = 1024;
/// Starts at least this far before a window's end depend on the text after the end only through a
/// run of white space or of capitals that reaches the end: see [`Scanner::last_settled_start`].
const MARGIN: usize = 8;

/// The scanner's buffers, reusable from text to text, for one thread.
pub(crate) struct Scanner {
    masks: Box<Masks>,
    starts: Box<Mask>,
    bounds: Box<[u32; WINDOW + 128]>,
    /// How many of `bounds` are in use.
    count: usize,
    /// Before this position the scalar form cuts.
    scalar_until: usize,
    /// [`WINDOW`] and [`SCALAR_BYTES`]; tests use smaller ones.
    pub(super) window: usize,
    pub(super) scalar_bytes: usize,
    /// Bytes that the vector form has classified.
    #[cfg(test)]
    pub(super) scanned: usize,
}

impl Scanner {
    /// New buffers, about 45 KB.
    pub(crate) fn new() -> Self {
        Self {
            masks: Masks::new(),
            starts: Box::new([0; WINDOW / 64 + 1]),
            bounds: Box::new([0; WINDOW + 128]),
            count: 0,
            scalar_until: 0,
            window: WINDOW,
            scalar_bytes: SCALAR_BYTES,
            #[cfg(test)]
            scanned: 0,
        }
    }

    /// Prepare for a new text.
    pub(crate) fn reset(&mut self) {
        self.scalar_until = 0;
    }

    /// Cut the next stretch of `text`, from `from`, which must be the start of a piece and less
    /// than `text.len()`. The text must be shorter than 4 GiB. Returns where the stretch ends,
    /// which is where the next one begins; [`Self::bounds`] has its pieces.
    #[inline]
    pub(crate) fn next(&mut self, rules: Rules, text: &str, from: usize) -> usize {
        let text = text.as_bytes();
        if rules == Rules::Superwords {
            self.scalar_until = text.len();
        }
        if from < self.scalar_until {
            return self.scalar(rules, text, from);
        }
        let to = text.len().min(from + self.window);
        #[cfg(test)]
        {
            self.scanned += to - from;
        }
        let uncovered =
            scan(rules, &mut self.masks, &mut self.starts, text, from, to).unwrap_or(usize::MAX);
        let end = if uncovered == usize::MAX && to == text.len() {
            to
        } else {
            if uncovered < to {
                self.scalar_until = uncovered + self.scalar_bytes;
            }
            let margin = if to == text.len() { 0 } else { MARGIN };
            let limit = (to - margin).min(uncovered.saturating_sub(1));
            match self.last_settled_start(rules, text, from, to.min(uncovered), limit) {
                Some(end) => end,
                None => {
                    // For more than one piece: a whole window classified for each piece would be
                    // quadratic.
                    self.scalar_until = from + self.scalar_bytes;
                    return self.scalar(rules, text, from);
                }
            }
        };
        self.count = write_bounds(&self.starts, end - from, &mut self.bounds);
        end
    }

    /// Bounds of the pieces of the last stretch, relative to its start: piece `i` is
    /// `bounds[i]..bounds[i + 1]`.
    pub(crate) fn bounds(&self) -> &[u32] {
        &self.bounds[..self.count]
    }

    /// The last start after `from`, and at most at `limit`, that text outside the window cannot
    /// change. The rules cover `text[..edge]`, and `limit < edge`.
    ///
    /// Whether a piece starts at a position depends on what stands before it, and where it ends
    /// depends on what stands after it in three ways only:
    ///
    /// - An apostrophe may begin a contraction. It is at most four bytes long, less than
    ///   [`MARGIN`].
    /// - A run of white space gives its last character to what follows, or reaches as far as its
    ///   last newline, so the run has to be seen to its end.
    /// - o200k's `[U B]*[L B]+` keeps a run of capitals after a letter without case if a letter
    ///   that is no capital follows, and ends before it otherwise. The same holds for this run.
    ///
    /// So every start before the run that reaches the edge, if there is one, is settled. Such a run
    /// has one kind only: after white space no capital belongs to the word before it.
    fn last_settled_start(
        &self,
        rules: Rules,
        text: &[u8],
        from: usize,
        edge: usize,
        limit: usize,
    ) -> Option<usize> {
        let open = open_run(rules, text, from, edge);
        let mut at = limit.min(open.checked_sub(1)?).checked_sub(from)?;
        loop {
            let mut below = self.starts[at / 64] & (u64::MAX >> (63 - at % 64));
            if at < 64 {
                below &= !1;
            }
            if below != 0 {
                return Some(from + at / 64 * 64 + 63 - below.leading_zeros() as usize);
            }
            at = (at / 64).checked_sub(1)? * 64 + 63;
        }
    }

    /// Cut pieces one by one until one ends at or after `self.scalar_until`.
    fn scalar(&mut self, rules: Rules, text: &[u8], from: usize) -> usize {
        let until = self.scalar_until.min(text.len());
        let (mut at, mut count) = (from, 1);
        while at < until && count <= SCALAR_BYTES {
            at = piece_end(rules, text, at);
            self.bounds[count] = (at - from) as u32;
            count += 1;
        }
        self.bounds[0] = 0;
        self.count = count;
        at
    }
}

/// Where the run of white space, or of o200k's capitals, begins that ends at `edge` in
/// `text[from..edge]`; `edge` itself if there is none.
fn open_run(rules: Rules, text: &[u8], from: usize, edge: usize) -> usize {
    let character_before = |at: usize| (from..at).rev().find(|&i| text[i] & 0xC0 != 0x80);
    let kinds = if rules == Rules::O200k {
        SPACE | UPPER
    } else {
        SPACE
    };
    let Some(last) = character_before(edge) else {
        return edge;
    };
    let kind = class_at(text, last).0 & kinds;
    let (mut open, mut next) = (edge, Some(last));
    while let Some(at) = next.filter(|&at| class_at(text, at).0 & kind != 0) {
        open = at;
        next = character_before(at);
    }
    open
}

dispatch! { S =>
    fn scan(
        rules: Rules,
        masks: &mut Masks,
        starts: &mut Mask,
        text: &[u8],
        from: usize,
        to: usize,
    ) -> Option<usize> {
        scan_window::<S>(rules, masks, starts, text, from, to)
    }
}

/// Mark the starts of the pieces of `text[from..to]`; returns the first position that needs the
/// scalar form.
#[inline(always)]
fn scan_window<S: Bytes64>(
    rules: Rules,
    masks: &mut Masks,
    starts: &mut Mask,
    text: &[u8],
    from: usize,
    to: usize,
) -> Option<usize> {
    let (blocks, wide_number) = match rules {
        Rules::O200k => masks.fill::<S, true>(text, from, to),
        _ => masks.fill::<S, false>(text, from, to),
    };
    starts[..blocks].fill(0);
    let window = Window {
        masks,
        blocks,
        text,
        from,
        to,
    };
    let uncovered = match rules {
        Rules::Gpt2 => {
            window.mark_gpt2(starts);
            None
        }
        Rules::Cl100k { digits, whole_tail } => {
            let uncovered = window.mark_words::<false>(starts, digits, whole_tail);
            uncovered.or(wide_number.filter(|_| digits > 1))
        }
        Rules::O200k => {
            let uncovered = window.mark_words::<true>(starts, 3, false);
            [uncovered, wide_number].into_iter().flatten().min()
        }
        Rules::Superwords => Some(from),
    };
    starts[0] |= 1;
    uncovered
}

dispatch! { S =>
    fn write_bounds(starts: &Mask, len: usize, bounds: &mut [u32; WINDOW + 128]) -> usize {
        write_bounds_with::<S>(starts, len, bounds)
    }
}

/// Write the positions of the starts below `len`, then `len`; returns how many numbers that are.
#[inline(always)]
fn write_bounds_with<S: Bytes64>(
    starts: &Mask,
    len: usize,
    bounds: &mut [u32; WINDOW + 128],
) -> usize {
    let mut count = 0;
    for (k, &block) in starts.iter().enumerate().take(len.div_ceil(64)) {
        let keep = if len - 64 * k < 64 {
            (1 << (len - 64 * k)) - 1
        } else {
            u64::MAX
        };
        if let Some((out, _)) = bounds[count..].split_first_chunk_mut::<64>() {
            // SAFETY: `S` comes from `dispatch!`.
            count += unsafe { S::positions(block & keep, 64 * k as u32, out) };
        }
    }
    bounds[count] = len as u32;
    count + 1
}
