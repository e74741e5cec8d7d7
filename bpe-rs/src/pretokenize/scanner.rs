//! The vector scanner: a window of text at a time, each from one piece's start to another's.

use super::bounds::Window;
use super::classes::{class_at, SPACE, UPPER};
use super::masks::{Mask, Masks, WINDOW};
use super::patterns::Rules;
use super::scalar::piece_end;
use crate::simd::{dispatch, Bytes64};

/// Bytes that the scalar form takes over where the vector form has no rule. Such places come in
/// swarms (emoji, digits of other scripts), and a window restarted for each would cost more.
const SCALAR_BYTES: usize = 1024;
/// A start this far from a window's end depends on nothing behind the end but a run of white
/// space or of capitals: see [`Scanner::settled`].
const MARGIN: usize = 8;

/// Buffers of one thread that scans.
pub struct Scanner {
    masks: Box<Masks>,
    starts: Box<Mask>,
    bounds: Box<[u32; WINDOW + 128]>,
    count: usize,
    /// The scalar form goes on to here.
    scalar_until: usize,
    /// Bytes of a window, and those that the scalar form takes over: tests take fewer.
    pub(super) window: usize,
    pub(super) scalar_bytes: usize,
    /// Bytes that the vector form has looked at.
    #[cfg(test)]
    pub(super) scanned: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scanner")
    }
}

impl Scanner {
    /// New buffers, about 45 KB.
    pub fn new() -> Self {
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

    /// Begin a new text.
    pub fn reset(&mut self) {
        self.scalar_until = 0;
    }

    /// Cut the next stretch of `text`, from the piece's start `from < text.len()`; returns where
    /// the stretch ends, which is where the next begins. [`Self::bounds`] holds the pieces.
    #[inline]
    pub fn next(&mut self, rules: Rules, text: &str, from: usize) -> usize {
        let text = text.as_bytes();
        if from < self.scalar_until {
            return self.scalar(rules, text, from, self.scalar_until);
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
            match self.settled(rules, text, from, to.min(uncovered), limit) {
                Some(end) => end,
                None => {
                    // Not for one piece only: a window scanned for each would be a worst case.
                    self.scalar_until = from + self.scalar_bytes;
                    return self.scalar(rules, text, from, self.scalar_until);
                }
            }
        };
        self.count = write_bounds(&self.starts, end - from, &mut self.bounds);
        end
    }

    /// Bounds of the pieces of the last stretch, from its start: piece `i` is
    /// `bounds[i]..bounds[i + 1]`.
    pub fn bounds(&self) -> &[u32] {
        &self.bounds[..self.count]
    }

    /// The last start behind `from`, and at `limit` or before it, that what the window has not
    /// seen cannot change; the rules cover `text[..edge]`, `limit < edge`.
    ///
    /// A start is one because of what stands before it, and where a piece ends depends on what
    /// stands behind it in three ways only:
    /// - an apostrophe may begin a contraction: at most four bytes, and the margin is wider;
    /// - a run of white space gives its last character to what follows, or reaches as far as its
    ///   last newline: the run has to be seen to its end;
    /// - o200k's `[U B]*[L B]+` keeps a run of capitals behind a letter without case where a letter
    ///   that is no capital follows, and gives it away otherwise: the same.
    ///
    /// So whatever starts before the run that reaches the edge, if such a run does, is settled. Both
    /// kinds of runs do not mix: behind white space no capital belongs to the word before it.
    fn settled(
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

    /// Pieces one by one until one ends at or after `until`.
    fn scalar(&mut self, rules: Rules, text: &[u8], from: usize, until: usize) -> usize {
        let (mut at, mut count) = (from, 1);
        while at < until.min(text.len()) && count <= SCALAR_BYTES {
            at = piece_end(rules, text, at);
            self.bounds[count] = (at - from) as u32;
            count += 1;
        }
        self.bounds[0] = 0;
        self.count = count;
        at
    }
}

/// Where the run of white space, or of o200k's capitals, begins that reaches `edge` in
/// `text[from..]`; `edge` itself where none does.
fn open_run(rules: Rules, text: &[u8], from: usize, edge: usize) -> usize {
    let before = |at: usize| (from..at).rev().find(|&i| text[i] & 0xC0 != 0x80);
    let kinds = if rules == Rules::O200k {
        SPACE | UPPER
    } else {
        SPACE
    };
    let Some(last) = before(edge) else {
        return edge;
    };
    let kind = class_at(text, last).0 & kinds;
    let (mut open, mut at) = (edge, Some(last));
    while let Some(place) = at.filter(|&place| class_at(text, place).0 & kind != 0) {
        open = place;
        at = before(place);
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

/// Mark the starts of the pieces of `text[from..to]`; returns the first place that needs the
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
            window.gpt2(starts);
            None
        }
        Rules::Words { digits, whole_tail } => {
            let uncovered = window.words::<false>(starts, digits, whole_tail);
            uncovered.or(wide_number.filter(|_| digits > 1))
        }
        Rules::O200k => {
            let uncovered = window.words::<true>(starts, 3, false);
            [uncovered, wide_number].into_iter().flatten().min()
        }
    };
    starts[0] |= 1;
    uncovered
}

dispatch! { S =>
    fn write_bounds(starts: &Mask, len: usize, bounds: &mut [u32; WINDOW + 128]) -> usize {
        write_bounds_with::<S>(starts, len, bounds)
    }
}

/// The starts below `len`, then `len`, as numbers; returns how many.
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
