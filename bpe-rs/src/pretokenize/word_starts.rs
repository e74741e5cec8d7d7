//! Second pass of the vector scanner for cl100k, Llama 3, Qwen and o200k: any one character leads a
//! word, numbers come in groups, newlines belong to the punctuation before them or end white space.
//!
//! Nearly everything is decided by bits, 64 bytes at a time. Contractions, blank lines and changes
//! of case after letters without case are rare and decided one by one. Text that no rule here
//! covers is reported, and the scalar form takes over from there.

use super::classes::Mask;
use super::patterns::contraction;
use super::window::{flood, up, Window};

/// The classes of a block as these patterns tell them apart.
#[derive(Default)]
struct Block {
    word: u64,
    number: u64,
    /// Neither words, nor numbers, nor white space.
    other: u64,
    /// Newlines (and o200k's slashes) that belong to the punctuation before them.
    attached: u64,
    /// `other` but for what is attached.
    punctuation: u64,
    /// White space but for what is attached. It consists of newlines and of `inline_space`.
    space: u64,
    newline: u64,
    inline_space: u64,
    /// The character ' ' alone.
    blank: u64,
}

/// What a block hands on to the next one.
struct Carry {
    previous: Block,
    /// The bytes of characters that lead a word if one follows.
    leading: u64,
    /// Where groups of digits begin.
    group: u64,
    /// White space that begins after a newline reaches the next block.
    line_goes_on: bool,
    /// The last place where white space begins after a newline.
    line_start: Option<usize>,
    /// o200k: letters after which upper case begins a word, and letters without case.
    past_lower: u64,
    both: u64,
    /// o200k: where the last contraction ends.
    contraction_end: usize,
}

impl Window<'_> {
    /// Mark the starts of the window's pieces. `O200K`: by the rules of o200k; `digits` and
    /// `whole_tail` are those of [`super::patterns::Rules::Cl100k`].
    ///
    /// Returns the first position that the rules here do not cover.
    #[inline(always)]
    pub(super) fn mark_words<const O200K: bool>(
        &self,
        starts: &mut Mask,
        digits: u8,
        whole_tail: bool,
    ) -> Option<usize> {
        let mut carry = Carry {
            previous: Block::default(),
            leading: 0,
            group: 0,
            line_goes_on: false,
            line_start: None,
            past_lower: 0,
            both: 0,
            contraction_end: usize::MAX,
        };
        let mut uncovered = None;
        for k in 0..self.blocks {
            let block = self.classify::<O200K>(k, &carry.previous);
            let punctuation = punctuation_starts(&block, &carry.previous);
            starts[k] |= punctuation
                | self.word_starts(k, &block, punctuation, &mut carry)
                | self.number_starts(k, &block, digits, &mut carry);
            self.mark_white_space(starts, k, &block, &mut carry);
            let apostrophes = if O200K {
                let marks = self.marks_after_other(k, &block, &carry.previous);
                uncovered = first_of(uncovered, marks);
                self.mark_case_changes(starts, k, &mut carry);
                self.masks.apostrophe[k] & up(block.word, carry.previous.word)
            } else {
                self.masks.apostrophe[k] & punctuation
            };
            if apostrophes != 0 {
                let found = self.mark_contractions::<O200K>(starts, k, apostrophes, &mut carry);
                uncovered = first_of(uncovered, found);
            }
            carry.previous = block;
        }
        if whole_tail && self.to == self.text.len() {
            self.join_tail(starts);
        }
        uncovered
    }

    #[inline(always)]
    fn classify<const O200K: bool>(&self, k: usize, previous: &Block) -> Block {
        let m = self.masks;
        let word = if O200K {
            m.upper[k] | m.lower[k] | m.both[k]
        } else {
            m.letter[k]
        };
        let (number, space, newline) = (m.number[k], m.space[k], m.newline[k]);
        let other = !(word | number | space);
        // `[\r\n]*` after punctuation, `[\r\n/]*` in o200k.
        let tail = if O200K { newline | m.slash[k] } else { newline };
        let seed = up(other, previous.other) & newline | tail & (previous.attached >> 63);
        let attached = flood(tail, seed);
        let space = space & !attached;
        Block {
            word,
            number,
            other,
            attached,
            punctuation: other & !attached,
            space,
            newline: newline & space,
            inline_space: space & !newline,
            blank: m.blank[k],
        }
    }

    /// Starts of words that no character leads. The leading one is a white space other than a
    /// newline, or a character of punctuation at a start, which is one of `punctuation`.
    #[inline(always)]
    fn word_starts(&self, k: usize, block: &Block, punctuation: u64, carry: &mut Carry) -> u64 {
        let previous = &carry.previous;
        // All bytes of the leading character, at most four.
        let mut leading = punctuation;
        for _ in 0..3 {
            leading |= up(leading, carry.leading) & self.masks.inner[k];
        }
        let led = up(block.inline_space, previous.inline_space) | up(leading, carry.leading);
        carry.leading = leading;
        block.word & !up(block.word, previous.word) & !led
    }

    /// Starts of groups of `digits` numbers, which is 1 or 3. For 3, all numbers are ASCII: others
    /// are not covered.
    #[inline(always)]
    fn number_starts(&self, k: usize, block: &Block, digits: u8, carry: &mut Carry) -> u64 {
        let number = block.number;
        if digits == 1 {
            return number & !self.masks.inner[k];
        }
        let previous = carry.previous.number;
        let third = number & up(number, previous) & (number << 2 | previous >> 62);
        let mut group = number & !up(number, previous);
        loop {
            let next = (group << 3 | carry.group >> 61) & third & !group;
            if next == 0 {
                break;
            }
            group |= next;
        }
        carry.group = group;
        group
    }

    /// Mark white space: where a run starts, what follows its last newline, and its last character,
    /// which goes with what follows.
    #[inline(always)]
    fn mark_white_space(&self, starts: &mut Mask, k: usize, block: &Block, carry: &mut Carry) {
        let m = self.masks;
        let previous = &carry.previous;
        let last = block.inline_space & !(m.space[k] >> 1 | m.space[k + 1] << 63);
        let lines = up(block.newline, previous.newline) & block.inline_space;
        starts[k] |= block.space & !up(block.space, previous.space) | last | lines;
        if last & m.inner[k] != 0 {
            self.move_to_first_byte(starts, k, last);
        }
        self.join_blank_lines(starts, k, block, lines, carry);
    }

    /// Clear the starts, among `lines`, of white space that ends in another newline: the newline
    /// before it was not the last of the run.
    #[inline(always)]
    fn join_blank_lines(
        &self,
        starts: &mut Mask,
        k: usize,
        block: &Block,
        lines: u64,
        carry: &mut Carry,
    ) {
        // The carry of the addition marks the byte after each run.
        let (sum, over) = block.inline_space.overflowing_add(lines);
        let (sum, more) = sum.overflowing_add(u64::from(carry.line_goes_on));
        carry.line_goes_on = over | more;
        let mut ends = sum & !block.inline_space & block.newline;
        while ends != 0 {
            let end = ends & ends.wrapping_neg();
            ends ^= end;
            let before = lines & (end - 1);
            if before != 0 {
                starts[k] &= !(1 << (63 - before.leading_zeros()));
            } else if let Some(at) = carry.line_start {
                self.put(starts, at, false);
            }
        }
        if lines != 0 {
            carry.line_start = Some(self.from + 64 * k + 63 - lines.leading_zeros() as usize);
        }
    }

    /// o200k: the first mark after punctuation, which may belong to it or begin a word.
    #[inline(always)]
    fn marks_after_other(&self, k: usize, block: &Block, previous: &Block) -> Option<usize> {
        let marks = self.masks.both[k] & !self.masks.letter[k];
        let after_other = marks & up(block.other, previous.other);
        (after_other != 0).then(|| self.position(k, after_other))
    }

    /// o200k: mark where a word ends inside a run of letters.
    #[inline(always)]
    fn mark_case_changes(&self, starts: &mut Mask, k: usize, carry: &mut Carry) {
        let m = self.masks;
        let (upper, lower, both) = (m.upper[k], m.lower[k], m.both[k]);
        // After a lower-case letter, and the letters without case after it, upper case begins a
        // new word.
        let past_lower = lower | flood(both, up(lower, carry.past_lower) & both);
        starts[k] |= upper & up(past_lower, carry.past_lower);
        // A run of upper case after a letter without case belongs to that letter's word if lower
        // case or a letter without case follows the run; otherwise the word ends before the run.
        let mut tails = upper & up(both, carry.both);
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
        carry.past_lower = past_lower;
        carry.both = both;
    }

    /// Mark the ends of the contractions among `apostrophes` in block `k`. They are pieces of their
    /// own, but for o200k, where they belong to the word before them.
    ///
    /// Returns the first position after one that the rules do not cover.
    #[inline(always)]
    fn mark_contractions<const O200K: bool>(
        &self,
        starts: &mut Mask,
        k: usize,
        mut apostrophes: u64,
        carry: &mut Carry,
    ) -> Option<usize> {
        let mut uncovered = None;
        while apostrophes != 0 {
            let at = self.position(k, apostrophes);
            apostrophes &= apostrophes - 1;
            let len = contraction(self.text, at, true);
            // A word has one contraction: after "x's" another "'s" starts a new piece.
            if len == 0 || O200K && at == carry.contraction_end {
                continue;
            }
            if O200K {
                carry.contraction_end = at + len;
                let found = self.join_contraction(starts, k, at, len);
                uncovered = first_of(uncovered, found);
            }
            self.put(starts, at + len, true);
        }
        uncovered
    }

    /// o200k: clear the starts inside the contraction of `len` bytes at `at`, in block `k`.
    ///
    /// Returns a position that the rules do not cover, if there is one.
    #[inline(always)]
    fn join_contraction(
        &self,
        starts: &mut Mask,
        k: usize,
        at: usize,
        len: usize,
    ) -> Option<usize> {
        self.put(starts, at, false);
        let (second, end) = (at + 2, at + len);
        if len == 3 {
            // The two letters of "'lL" are no change of case.
            self.put(starts, second, false);
            // In the next block, whose starts are not marked yet, that would be one again.
            let in_next_block = (second - self.from) / 64 != k;
            if in_next_block && self.has(&self.masks.upper, second) {
                return Some(second);
            }
        }
        self.has(&self.masks.both, end).then_some(end)
    }

    /// cl100k: white space at the end of the text is one piece.
    #[inline(always)]
    fn join_tail(&self, starts: &mut Mask) {
        let m = self.masks;
        let len = self.to - self.from;
        let mut at = len;
        let mut first_newline = None;
        while at > 0 && m.space[(at - 1) / 64] >> ((at - 1) % 64) & 1 != 0 {
            at -= 1;
            if m.newline[at / 64] >> (at % 64) & 1 != 0 {
                first_newline = Some(at);
            }
        }
        // Newlines that begin the run may belong to punctuation; then they have no starts.
        let mut tail_start = at;
        if first_newline == Some(at) {
            let is_start = |at: usize| starts[at / 64] >> (at % 64) & 1 != 0;
            while tail_start < len && !is_start(tail_start) {
                tail_start += 1;
            }
        }
        for at in tail_start + 1..len {
            starts[at / 64] &= !(1 << (at % 64));
        }
    }
}

/// Starts of runs of punctuation, without those that begin with the ' ' before them.
#[inline(always)]
fn punctuation_starts(block: &Block, previous: &Block) -> u64 {
    block.punctuation
        & !up(block.punctuation, previous.punctuation)
        & !up(block.blank, previous.blank)
}

/// The smaller of two positions that may not exist.
#[inline(always)]
fn first_of(a: Option<usize>, b: Option<usize>) -> Option<usize> {
    a.into_iter().chain(b).min()
}
