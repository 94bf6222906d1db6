//! What is needed of every lane, as sets of seqs: a dense stretch costs one bit a seq, a sparse one
//! two bytes a member.

use crate::frame::{LaneId, Seq};

/// What is needed, by lane.
#[derive(Debug, Default)]
pub(crate) struct LiveSeqs {
    lanes: Vec<(LaneId, SeqSet)>,
}

impl LiveSeqs {
    /// Adds a seq of a lane; says whether it is new.
    pub(crate) fn insert(&mut self, lane: LaneId, seq: Seq) -> bool {
        let known = self.lanes.iter().position(|(known, _)| *known == lane);
        let at = known.unwrap_or_else(|| {
            self.lanes.push((lane, SeqSet::default()));
            self.lanes.len() - 1
        });
        self.lanes.get_mut(at).is_some_and(|(_, seqs)| seqs.insert(seq.0))
    }

    pub(crate) fn contains(&self, lane: LaneId, seq: Seq) -> bool {
        let found = self.lanes.iter().find(|(known, _)| *known == lane);
        found.is_some_and(|(_, seqs)| seqs.contains(seq.0))
    }
}

/// Seqs of one page: as a list while they are few.
#[derive(Debug)]
enum Page {
    Few(Vec<u16>),
    Many(Box<[u64; WORDS]>),
}

const PAGE_BITS: u32 = 12;
const WORDS: usize = 1 << (PAGE_BITS - 6);
/// From here on a list would be larger than bits for the whole page.
const FEW_MAX: usize = 256;

/// Seqs of one lane.
#[derive(Debug, Default)]
struct SeqSet {
    /// By number.
    pages: Vec<(u64, Page)>,
    /// Where the last search ended: seqs mostly come in order.
    at: usize,
}

impl SeqSet {
    /// Adds a seq; says whether it is new.
    fn insert(&mut self, seq: u64) -> bool {
        let (number, place) = split(seq);
        if self.pages.get(self.at).is_none_or(|&(known, _)| known != number) {
            self.at = self.pages.binary_search_by_key(&number, |&(known, _)| known).unwrap_or_else(
                |at| {
                    self.pages.insert(at, (number, Page::Few(Vec::new())));
                    at
                },
            );
        }
        self.pages.get_mut(self.at).is_some_and(|(_, page)| page.insert(place))
    }

    fn contains(&self, seq: u64) -> bool {
        let (number, place) = split(seq);
        let found = self.pages.binary_search_by_key(&number, |&(known, _)| known).ok();
        found.and_then(|at| self.pages.get(at)).is_some_and(|(_, page)| page.contains(place))
    }
}

/// The number of its page, and its place there.
fn split(seq: u64) -> (u64, u16) {
    (seq >> PAGE_BITS, u16::try_from(seq & ((1 << PAGE_BITS) - 1)).unwrap_or(0))
}

fn bit(place: u16) -> (usize, u64) {
    (usize::from(place >> 6), 1 << (place & 63))
}

impl Page {
    fn insert(&mut self, place: u16) -> bool {
        match self {
            Page::Few(list) => {
                let Err(at) = list.binary_search(&place) else { return false };
                list.insert(at, place);
                if list.len() > FEW_MAX {
                    *self = Page::many(list);
                }
                true
            }
            Page::Many(words) => {
                let (word, mask) = bit(place);
                let Some(word) = words.get_mut(word) else { return false };
                let is_new = *word & mask == 0;
                *word |= mask;
                is_new
            }
        }
    }

    fn many(list: &[u16]) -> Page {
        let mut words = Box::new([0; WORDS]);
        for &place in list {
            let (word, mask) = bit(place);
            if let Some(word) = words.get_mut(word) {
                *word |= mask;
            }
        }
        Page::Many(words)
    }

    fn contains(&self, place: u16) -> bool {
        let (word, mask) = bit(place);
        match self {
            Page::Few(list) => list.binary_search(&place).is_ok(),
            Page::Many(words) => words.get(word).is_some_and(|word| word & mask != 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_what_a_plain_set_holds(
            stretches in prop::collection::vec((0u64..20_000, 1u64..900, any::<bool>()), 1..20),
            probes in prop::collection::vec(0u64..(1 << 33), 100),
        ) {
            let (mut set, mut model) = (SeqSet::default(), BTreeSet::new());
            for (start, len, is_far) in stretches {
                let start = start + if is_far { 1 << 32 } else { 0 };
                for seq in start..start + len {
                    prop_assert_eq!(set.insert(seq), model.insert(seq));
                }
            }
            for seq in model.iter().copied().chain(probes) {
                prop_assert_eq!(set.contains(seq), model.contains(&seq));
                prop_assert_eq!(set.contains(seq + 1), model.contains(&(seq + 1)));
            }
        }
    }
}
