//! A persistent set that is read like a slice: the bindings that are selected together.
//!
//! Nothing is looked up in it while a message is routed; it is walked from end to end, without allocation.
//! A few members are a list. Many are chunks of a list, shared with older copies, and a map from a member to
//! its place, so that adding to 100,000 copies one chunk and the list of chunks, not all.
//!
//! Invariant: in [`Many`], every chunk but the last is full, and `places` says where each member is. The
//! order depends only on the order of the changes, not on hashes.

use foldhash::quality::RandomState;
use rpds::HashTrieMapSync;
use smallvec::{SmallVec, smallvec};
use std::hash::Hash;
use std::sync::Arc;

/// A map that is cheap to copy and change. Seeded, because peers pick the keys.
pub(crate) type Map<K, V> = HashTrieMapSync<K, V, RandomState>;

/// Up to so many members, comparing with each is cheaper than hashing.
const FEW_MAX: usize = 16;

/// Members of a chunk: what a change copies, besides one pointer for each chunk.
const CHUNK_LEN: usize = 256;

#[derive(Clone, Debug)]
pub(crate) enum Bag<T> {
    Few(SmallVec<[T; 1]>),
    Many(Arc<Many<T>>),
}

#[derive(Debug)]
pub(crate) struct Many<T> {
    chunks: Vec<Arc<Vec<T>>>,
    places: Map<T, usize>,
}

impl<T> Default for Bag<T> {
    fn default() -> Self {
        Bag::Few(SmallVec::new())
    }
}

impl<T: Clone + Eq + Hash> Bag<T> {
    pub(crate) fn of(item: T) -> Self {
        Bag::Few(smallvec![item])
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Bag::Few(items) => items.len(),
            Bag::Many(many) => many.places.size(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn contains(&self, item: &T) -> bool {
        match self {
            Bag::Few(items) => items.contains(item),
            Bag::Many(many) => many.places.contains_key(item),
        }
    }

    /// Calls `visit` for every member.
    pub(crate) fn for_each<'a>(&'a self, mut visit: impl FnMut(&'a T)) {
        match self {
            Bag::Few(items) => items.iter().for_each(visit),
            Bag::Many(many) => many.chunks.iter().for_each(|chunk| chunk.iter().for_each(&mut visit)),
        }
    }

    /// False when it was a member already.
    pub(crate) fn add(&mut self, item: T) -> bool {
        if self.contains(&item) {
            return false;
        }
        match self {
            Bag::Few(items) if items.len() < FEW_MAX => items.push(item),
            Bag::Few(items) => {
                let mut many = Many { chunks: Vec::new(), places: Map::default() };
                std::mem::take(items).into_iter().chain([item]).for_each(|item| many.push(item));
                *self = Bag::Many(Arc::new(many));
            }
            Bag::Many(many) => Arc::make_mut(many).push(item),
        }
        true
    }

    /// False when it was no member.
    pub(crate) fn remove(&mut self, item: &T) -> bool {
        match self {
            Bag::Few(items) => match items.iter().position(|held| held == item) {
                Some(place) => {
                    items.swap_remove(place);
                    true
                }
                None => false,
            },
            // Asked first, because making it ours may copy the list of chunks.
            Bag::Many(many) => many.places.contains_key(item) && Arc::make_mut(many).remove(item),
        }
    }
}

impl<T: Clone + Eq + Hash> Clone for Many<T> {
    fn clone(&self) -> Self {
        Many { chunks: self.chunks.clone(), places: self.places.clone() }
    }
}

impl<T: Clone + Eq + Hash> Many<T> {
    fn push(&mut self, item: T) {
        self.places.insert_mut(item.clone(), self.places.size());
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK_LEN => Arc::make_mut(last).push(item),
            _ => self.chunks.push(Arc::new(vec![item])),
        }
    }

    /// Fills the gap with the last member.
    fn remove(&mut self, item: &T) -> bool {
        let Some(&place) = self.places.get(item) else { return false };
        self.places.remove_mut(item);
        let Some(last) = self.pop() else { return false };
        if last != *item {
            self.places.insert_mut(last.clone(), place);
            Arc::make_mut(&mut self.chunks[place / CHUNK_LEN])[place % CHUNK_LEN] = last;
        }
        true
    }

    fn pop(&mut self) -> Option<T> {
        let last_chunk = Arc::make_mut(self.chunks.last_mut()?);
        let last = last_chunk.pop();
        if last_chunk.is_empty() {
            self.chunks.pop();
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(bag: &Bag<u16>) -> Vec<u16> {
        let mut members = Vec::new();
        bag.for_each(|member| members.push(*member));
        members.sort_unstable();
        members
    }

    proptest! {
        #[test]
        fn is_a_set_and_copies_stay(changes in prop::collection::vec((any::<bool>(), 0..600u16), 0..2000)) {
            let mut bag = Bag::default();
            let mut set = std::collections::BTreeSet::new();
            let mut copies = Vec::new();
            for (at, (add, item)) in changes.into_iter().enumerate() {
                if at % 97 == 0 {
                    copies.push((bag.clone(), members(&bag)));
                }
                if add {
                    prop_assert_eq!(bag.add(item), set.insert(item));
                } else {
                    prop_assert_eq!(bag.remove(&item), set.remove(&item));
                }
                prop_assert_eq!(bag.len(), set.len());
            }
            prop_assert_eq!(members(&bag), set.into_iter().collect::<Vec<_>>());
            for (copy, at_the_time) in copies {
                prop_assert_eq!(members(&copy), at_the_time);
            }
        }
    }

    #[test]
    fn chunks_empty_from_the_end() {
        let mut bag = Bag::default();
        (0..1000u16).for_each(|item| assert!(bag.add(item)));
        (0..1000u16).for_each(|item| assert!(bag.remove(&item)));
        assert!(bag.is_empty());
        assert!(bag.add(7));
        assert_eq!(members(&bag), [7]);
    }
}
