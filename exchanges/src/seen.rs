//! Whether something came up before, asked while a list of what came up grows.
//!
//! Invariant: once there is a set, it holds everything in the list; before that the list alone is asked, and
//! nothing is allocated.

use foldhash::fast::RandomState;
use std::collections::HashSet;
use std::hash::Hash;

/// Up to so many, comparing with each is cheaper than a set.
const LINEAR_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct Seen<T> {
    set: Option<HashSet<T, RandomState>>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Seen { set: None }
    }
}

impl<T: Clone + Eq + Hash> Seen<T> {
    /// Whether `item` is not in `list`. If so, the caller adds it to the list and changes it in no other way.
    pub(crate) fn is_new(&mut self, item: &T, list: &[T]) -> bool {
        if let Some(set) = &mut self.set {
            return set.insert(item.clone());
        }
        if list.len() < LINEAR_MAX {
            return !list.contains(item);
        }
        // Where there are this many, there are often many more.
        let set = self.set.insert(HashSet::with_capacity_and_hasher(8 * list.len(), RandomState::default()));
        set.extend(list.iter().cloned());
        set.insert(item.clone())
    }
}
