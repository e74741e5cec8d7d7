//! Second pass of the vector scanner: classes to the starts of pieces, 64 bytes at a time.
//!
//! All of a pattern's alternatives become statements about neighbouring bits. A carry that leaves
//! a block is the previous block's word, still at hand. What a block cannot decide by bits
//! (contractions, case changes next to letters without case) it decides one by one: such places
//! are rare. Text that no rule here covers is reported, and the scalar form takes over there.

use super::masks::{Mask, Masks};
use super::scalar::contraction;

/// `mask` moved to the next byte, with what the previous block moves in.
#[inline(always)]
fn up(mask: u64, previous: u64) -> u64 {
    mask << 1 | previous >> 63
}

/// The bits of `run` from each bit of `seed` (which are bits of `run`) to the end of their run.
#[inline(always)]
fn flood(run: u64, seed: u64) -> u64 {
    // The carry of an addition runs through ones.
    ((run.wrapping_add(seed) ^ run) & run) | seed
}

/// Move bits on inner bytes of a character down to its first byte.
#[inline(always)]
fn to_first_byte(starts: &mut Mask, k: usize, mut bits: u64, inner: &Mask) {
    while bits != 0 {
        let bit = bits & bits.wrapping_neg();
        bits ^= bit;
        starts[k] &= !bit;
        let mut at = 64 * k + bit.trailing_zeros() as usize;
        while inner[at / 64] >> (at % 64) & 1 != 0 {
            at -= 1;
        }
        starts[at / 64] |= 1 << (at % 64);
    }
}

/// One window on its way from classes to starts.
pub(super) struct Window<'a> {
    pub(super) masks: &'a Masks,
    pub(super) blocks: usize,
    pub(super) text: &'a [u8],
    /// Where the window begins in `text`, and where it ends.
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Window<'_> {
    /// Set or clear the start at `at` (a place in the text), if it lies in the window.
    #[inline(always)]
    fn put(&self, starts: &mut Mask, at: usize, start: bool) {
        let at = at - self.from;
        if at < 64 * self.blocks {
            let bit = 1 << (at % 64);
            starts[at / 64] = if start {
                starts[at / 64] | bit
            } else {
                starts[at / 64] & !bit
            };
        }
    }

    /// Whether `mask` has the byte at `at`.
    #[inline(always)]
    fn has(&self, mask: &Mask, at: usize) -> bool {
        let at = at - self.from;
        at < 64 * self.blocks && mask[at / 64] >> (at % 64) & 1 != 0
    }

    /// GPT-2: letters, numbers and others, each run with the ' ' before it.
    #[inline(always)]
    pub(super) fn gpt2(&self, starts: &mut Mask) {
        let m = self.masks;
        let [mut letters, mut numbers, mut spaces, mut blanks, mut others] = [0; 5];
        // An apostrophe that ends a block clears a start of the next one, so not before that one
        // has its starts.
        let (mut waiting, mut waiting_block) = (0, 0);
        for k in 0..self.blocks {
            let (l, n, s) = (m.letter[k], m.number[k], m.space[k]);
            let other = !(l | n | s);
            let runs = l & !up(l, letters) | n & !up(n, numbers) | other & !up(other, others);
            let led = runs & !up(m.blank[k], blanks);
            let last = s & !(s >> 1 | m.space[k + 1] << 63);
            starts[k] |= led | s & !up(s, spaces) | last;
            if last & m.inner[k] != 0 {
                to_first_byte(starts, k, last & m.inner[k], &m.inner);
            }
            self.gpt2_contractions(starts, waiting_block, waiting);
            (waiting, waiting_block) = (led & m.apostrophe[k], k);
            (letters, numbers, spaces, blanks, others) = (l, n, s, m.blank[k], other);
        }
        self.gpt2_contractions(starts, waiting_block, waiting);
    }

    /// Of the `apostrophes` that start a piece in block `k`, let those of contractions end it.
    #[inline(always)]
    fn gpt2_contractions(&self, starts: &mut Mask, k: usize, mut apostrophes: u64) {
        while apostrophes != 0 {
            let at = self.from + 64 * k + apostrophes.trailing_zeros() as usize;
            apostrophes &= apostrophes - 1;
            let len = contraction(self.text, at, false);
            if len > 0 {
                self.put(starts, at + 1, false);
                self.put(starts, at + len, true);
            }
        }
    }

    /// cl100k, Llama 3, Qwen (`O200K` false) and o200k (true): any one character leads a word,
    /// numbers in groups, newlines go with the punctuation before them or end white space.
    ///
    /// Returns the first place that these rules do not cover.
    #[inline(always)]
    pub(super) fn words<const O200K: bool>(
        &self,
        starts: &mut Mask,
        digits: u8,
        whole_tail: bool,
    ) -> Option<usize> {
        let m = self.masks;
        let mut p = Previous::default();
        // Where the word before an apostrophe ends in a contraction, for one that follows at once.
        let mut contracted = usize::MAX;
        let mut uncovered = None;
        let mut after_newline = None;
        for k in 0..self.blocks {
            let (n, s, newline) = (m.number[k], m.space[k], m.newline[k]);
            let word = if O200K {
                m.upper[k] | m.lower[k] | m.both[k]
            } else {
                m.letter[k]
            };
            let other = !(word | n | s);
            // Newlines (and o200k's slashes) right after punctuation belong to it.
            let tail = if O200K { newline | m.slash[k] } else { newline };
            let seed = up(other, p.any_other) & newline | tail & (p.attached >> 63);
            let attached = flood(tail, seed);
            let (punctuation, space) = (other & !attached, s & !attached);
            let led_blank = up(m.blank[k], p.blank);
            let punctuation_start = punctuation & !up(punctuation, p.punctuation) & !led_blank;
            // The bytes of a run's first character: alone before a word, it leads the word.
            let mut first = punctuation_start;
            for _ in 0..3 {
                first |= up(first, p.first) & m.inner[k];
            }
            let word_start = word & !up(word, p.word);
            let leading = up(s & !newline, p.leading) | up(first, p.first);
            let number_start = match digits {
                1 => n & !m.inner[k],
                _ => {
                    let run = n & up(n, p.number) & (n << 2 | p.number >> 62);
                    let mut group = n & !up(n, p.number);
                    loop {
                        let next = (group << 3 | p.group >> 61) & run & !group;
                        if next == 0 {
                            break;
                        }
                        group |= next;
                    }
                    p.group = group;
                    group
                }
            };
            // White space: its run, what follows its last newline, its last character.
            let last = space & !(s >> 1 | m.space[k + 1] << 63) & !newline;
            let line = up(newline & space, p.newline) & space & !newline;
            starts[k] |= word_start & !leading
                | punctuation_start
                | number_start
                | space & !up(space, p.space)
                | last
                | line;
            if last & m.inner[k] != 0 {
                to_first_byte(starts, k, last & m.inner[k], &m.inner);
            }
            // A line's white space that ends in another newline was not the last of its run.
            let blank_line = space & !newline;
            let (sum, over) = blank_line.overflowing_add(line);
            let (sum, more) = sum.overflowing_add(u64::from(p.line_goes_on));
            let mut ended = sum & !blank_line & newline & space;
            while ended != 0 {
                let end = ended & ended.wrapping_neg();
                ended ^= end;
                let here = line & (end - 1);
                if here != 0 {
                    starts[k] &= !(1 << (63 - here.leading_zeros()));
                } else if let Some(at) = after_newline {
                    self.put(starts, at, false);
                }
            }
            if line != 0 {
                after_newline = Some(self.from + 64 * k + 63 - line.leading_zeros() as usize);
            }
            p.line_goes_on = over | more;
            if O200K {
                let marks = m.both[k] & !m.letter[k];
                let after_other = marks & up(other, p.any_other);
                if after_other != 0 && uncovered.is_none() {
                    uncovered = Some(self.from + 64 * k + after_other.trailing_zeros() as usize);
                }
                self.case_changes(starts, k, &mut p);
            }
            let mut apostrophes = if O200K {
                m.apostrophe[k] & up(word, p.word)
            } else {
                m.apostrophe[k] & punctuation_start
            };
            while apostrophes != 0 {
                let at = self.from + 64 * k + apostrophes.trailing_zeros() as usize;
                apostrophes &= apostrophes - 1;
                let len = contraction(self.text, at, true);
                // After "x's" another "'s" starts a new piece.
                if len == 0 || O200K && at == contracted {
                    continue;
                }
                contracted = at + len;
                if O200K {
                    self.put(starts, at, false);
                    // The two letters of "'lL" are no change of case. Where the second one's block is
                    // the next, which has no starts yet, the scalar form takes over: that is rare.
                    let second = at + 2;
                    let split = len == 3 && (second - self.from) / 64 != k;
                    if len == 3 {
                        self.put(starts, second, false);
                    }
                    if split && self.has(&m.upper, second) {
                        uncovered = Some(uncovered.map_or(second, |first| first.min(second)));
                    } else if self.has(&m.both, contracted) {
                        uncovered =
                            Some(uncovered.map_or(contracted, |first| first.min(contracted)));
                    }
                }
                self.put(starts, contracted, true);
            }
            p.any_other = other;
            p.attached = attached;
            p.punctuation = punctuation;
            p.blank = m.blank[k];
            p.first = first;
            p.word = word;
            p.leading = s & !newline;
            p.number = n;
            p.newline = newline & space;
            p.space = space;
        }
        if whole_tail && self.to == self.text.len() {
            self.join_tail(starts);
        }
        uncovered
    }

    /// o200k: where a word ends inside a run of letters.
    #[inline(always)]
    fn case_changes(&self, starts: &mut Mask, k: usize, p: &mut Previous) {
        let m = self.masks;
        let (upper, lower, both) = (m.upper[k], m.lower[k], m.both[k]);
        // Past a lower-case letter (and what has no case after it) an upper-case one starts anew.
        let past_lower = lower | flood(both, up(lower, p.past_lower) & both);
        starts[k] |= upper & up(past_lower, p.past_lower);
        // Upper case at the end of a run, after a letter without case: the word ends before it.
        let mut tails = upper & up(both, p.both);
        while tails != 0 {
            let at = tails.trailing_zeros();
            tails &= tails - 1;
            let (mut block, mut run) = (k, m.upper[k] >> at);
            let mut end = at + (!run).trailing_zeros();
            while end >= 64 && block < self.blocks {
                block += 1;
                run = m.upper[block];
                end = (!run).trailing_zeros();
            }
            let word = (m.lower[block] | m.both[block]) >> (end & 63) & 1;
            if word == 0 {
                starts[k] |= 1 << at;
            }
        }
        p.past_lower = past_lower;
        p.both = both;
    }

    /// cl100k: white space at the end of the text is one piece.
    #[inline(always)]
    fn join_tail(&self, starts: &mut Mask) {
        let m = self.masks;
        let mut at = self.to - self.from;
        let mut newline_at = None;
        while at > 0 && m.space[(at - 1) / 64] >> ((at - 1) % 64) & 1 != 0 {
            at -= 1;
            if m.newline[at / 64] >> (at % 64) & 1 != 0 {
                newline_at = Some(at);
            }
        }
        // Newlines of punctuation stay with it: they are the run's head and have no starts.
        let mut kept = at;
        if newline_at == Some(at) {
            let has = |at: usize| starts[at / 64] >> (at % 64) & 1 != 0;
            while kept < self.to - self.from && !has(kept) {
                kept += 1;
            }
        }
        for at in kept + 1..self.to - self.from {
            starts[at / 64] &= !(1 << (at % 64));
        }
    }
}

/// The previous block's words.
#[derive(Default)]
struct Previous {
    any_other: u64,
    attached: u64,
    punctuation: u64,
    blank: u64,
    first: u64,
    word: u64,
    leading: u64,
    number: u64,
    group: u64,
    newline: u64,
    space: u64,
    line_goes_on: bool,
    past_lower: u64,
    both: u64,
}
