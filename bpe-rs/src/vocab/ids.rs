//! The ids of merge numbers.
//!
//! Mostly they follow from the numbers, because vocabularies number their tokens in the order of their
//! merges. A list of them would be one more place in memory to wait for at the end of each new word.

/// The id of each merge number.
#[derive(Debug)]
pub(super) struct Ids {
    /// Those of the first numbers, at least one; `None` for a byte or symbol without a token.
    listed: Vec<Option<u32>>,
    /// Behind them an id is the number plus this, modulo 2^32 ...
    shift: u32,
    /// ... and one more from this number on.
    gap_at: u32,
    /// Of all numbers.
    len: usize,
}

impl Ids {
    /// No numbers.
    pub(super) fn empty() -> Self {
        Self::following(Vec::new(), 0, u32::MAX)
    }

    /// `listed`, then `merges` whose ids are their numbers, and one more from number `gap_at` on.
    pub(super) fn following(listed: Vec<Option<u32>>, merges: usize, gap_at: u32) -> Self {
        Self {
            len: listed.len() + merges,
            listed: if listed.is_empty() {
                vec![Some(0)]
            } else {
                listed
            },
            shift: 0,
            gap_at,
        }
    }

    /// The id of each number. From `first_merge` on `None` is for a number that no merge makes.
    pub(super) fn new(mut list: Vec<Option<u32>>, first_merge: usize) -> Self {
        let len = list.len();
        let shift_at = |at: usize| list[at].map(|id| id.wrapping_sub(at as u32));
        // Backwards while they follow, with one gap at most.
        let last = (first_merge..len).rev().find_map(shift_at);
        let (mut shift, mut gap_at, mut kept) = (last.unwrap_or(0), u32::MAX, len);
        while kept > first_merge.max(1) {
            match shift_at(kept - 1) {
                None => {}
                Some(here) if here == shift => {}
                Some(here) if here == shift.wrapping_sub(1) && gap_at == u32::MAX => {
                    (shift, gap_at) = (here, kept as u32);
                }
                Some(_) => break,
            }
            kept -= 1;
        }
        list.truncate(kept);
        list.shrink_to_fit();
        Self {
            len,
            shift,
            gap_at,
            ..Self::following(list, 0, gap_at)
        }
    }

    /// How many numbers there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The id of `number`, which is below [`Self::len`] and either listed or made by a merge.
    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> Option<u32> {
        // Without a branch, because which tokens are merged ones cannot be predicted.
        let last = self.listed.len() - 1;
        let listed = self.listed[last.min(number as usize)];
        let follows = Some(
            number
                .wrapping_add(self.shift)
                .wrapping_add(u32::from(number >= self.gap_at)),
        );
        if number as usize > last {
            follows
        } else {
            listed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{rounds, Random};

    /// `list` as it is, and how many of them are listed.
    fn kept(list: &[Option<u32>], first_merge: usize) -> usize {
        let ids = Ids::new(list.to_vec(), first_merge);
        assert_eq!(ids.len(), list.len());
        for (number, &id) in (0..).zip(list) {
            if id.is_some() || (number as usize) < first_merge {
                assert_eq!(ids.get(number), id, "{number} of {list:?}");
            }
        }
        ids.listed.len()
    }

    #[test]
    fn ids_that_follow_are_not_listed() {
        let some = |ids: &[u32]| ids.iter().map(|&id| Some(id)).collect::<Vec<_>>();
        assert_eq!(kept(&[], 0), 1);
        assert_eq!(kept(&[None, None], 2), 2);
        assert_eq!(kept(&some(&[5, 3, 2, 3, 4, 5]), 2), 2);
        assert_eq!(kept(&some(&[5, 3, 7, 8, 10, 11]), 2), 2, "one gap");
        assert_eq!(kept(&some(&[5, 3, 7, 8, 10, 11, 13]), 2), 4, "two gaps");
        assert_eq!(kept(&some(&[5, 3, 7, 8, 11, 12]), 2), 4, "a gap of two");
        assert_eq!(kept(&[Some(1), None, Some(7), None, Some(9)], 2), 2);
        assert_eq!(kept(&[Some(1), None, Some(7), None, None], 2), 2);
        assert_eq!(kept(&some(&[0, u32::MAX, 0, 1]), 1), 1, "around the end");
    }

    #[test]
    fn the_first_number_may_be_its_id() {
        let ids = Ids::following(Vec::new(), 3, 2);
        assert_eq!(ids.len(), 3);
        assert_eq!([0, 1, 2].map(|n| ids.get(n)), [Some(0), Some(1), Some(3)]);
    }

    #[test]
    fn any_list_is_kept() {
        let mut random = Random(3);
        for _ in 0..rounds(20_000, 200) {
            let len = random.below(12);
            let list: Vec<Option<u32>> = (0..len)
                .map(|at| match random.below(6) {
                    0 => None,
                    1 => Some(random.below(20) as u32),
                    more => Some((at + more / 3) as u32),
                })
                .collect();
            kept(&list, random.below(len + 1));
        }
    }
}
