//! Direct exchanges: the routing key equals the binding key, byte for byte.
//!
//! Invariant: no key leads to an empty bag, so that unused keys take no room.

use crate::bag::{Bag, Map};
use crate::binding::Binding;
use amq_protocol_types::FieldTable;
use std::hash::Hash;

#[derive(Clone, Debug)]
pub(crate) struct Direct<D> {
    keys: Map<Box<[u8]>, Bag<Binding<D>>>,
}

impl<D> Default for Direct<D> {
    fn default() -> Self {
        Direct { keys: Map::default() }
    }
}

impl<D: Clone + Eq + Hash> Direct<D> {
    pub(crate) fn bind(&mut self, key: &[u8], arguments: &FieldTable, destination: D) -> bool {
        let binding = Binding::of_one_key(arguments, destination);
        // Asked first, because looking for a place to change copies the way to it, found or not.
        if self.keys.contains_key(key)
            && let Some(bag) = self.keys.get_mut(key)
        {
            return bag.add(binding);
        }
        self.keys.insert_mut(key.into(), Bag::of(binding));
        true
    }

    pub(crate) fn unbind(&mut self, key: &[u8], arguments: &FieldTable, destination: &D) -> bool {
        let binding = Binding::of_one_key(arguments, destination.clone());
        if !self.keys.get(key).is_some_and(|bag| bag.contains(&binding)) {
            return false;
        }
        let emptied = self.keys.get_mut(key).is_some_and(|bag| {
            bag.remove(&binding);
            bag.is_empty()
        });
        if emptied {
            self.keys.remove_mut(key);
        }
        true
    }

    pub(crate) fn route<'a>(&'a self, key: &[u8], visit: &mut impl FnMut(&'a D)) {
        if let Some(bag) = self.keys.get(key) {
            bag.for_each(|binding| visit(&binding.destination));
        }
    }
}
