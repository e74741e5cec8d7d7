//! Merge numbers to ids.

/// The id of each merge number, `None` for a byte without a token.
#[derive(Debug, Default)]
pub(super) struct Ids {
    list: Vec<Option<u32>>,
    /// From this number on every number is its own id: in most vocabularies from 256 on, so that hardly
    /// any has to be fetched from memory.
    same: u32,
}

impl From<Vec<Option<u32>>> for Ids {
    fn from(list: Vec<Option<u32>>) -> Self {
        let differs = |(at, id): (usize, &Option<u32>)| *id != u32::try_from(at).ok();
        let last = list.iter().enumerate().rposition(differs);
        Self {
            same: last.map_or(0, |last| last as u32 + 1),
            list,
        }
    }
}

impl Ids {
    /// The number of merge numbers.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The id of `number`, which is less than their number.
    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> Option<u32> {
        debug_assert!((number as usize) < self.len());
        if number >= self.same {
            return Some(number);
        }
        self.list[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_the_list_says() {
        let same = |from: u32, to: u32| (from..to).map(Some);
        let lists: [Vec<Option<u32>>; 6] = [
            vec![],
            vec![None],
            same(0, 300).collect(),
            [Some(1), None, Some(0)]
                .into_iter()
                .chain(same(3, 9))
                .collect(),
            same(0, 5).chain([None]).collect(),
            same(0, 5).chain([Some(9)]).chain(same(6, 8)).collect(),
        ];
        for (list, first_same) in lists.into_iter().zip([0, 1, 0, 3, 6, 6]) {
            let ids = Ids::from(list.clone());
            assert_eq!((ids.len(), ids.same), (list.len(), first_same));
            for (number, id) in (0..).zip(list) {
                assert_eq!(ids.get(number), id);
            }
        }
    }
}
