//! Fanout exchanges: every binding, whatever its key.
//!
//! Invariant: keys still tell bindings apart. A queue bound with two keys stays bound until both are gone.

use crate::bag::Bag;
use crate::binding::Binding;
use amq_protocol_types::FieldTable;
use std::hash::Hash;

#[derive(Clone, Debug)]
pub(crate) struct Fanout<D> {
    bindings: Bag<Binding<D>>,
}

impl<D> Default for Fanout<D> {
    fn default() -> Self {
        Fanout { bindings: Bag::default() }
    }
}

impl<D: Clone + Eq + Hash> Fanout<D> {
    pub(crate) fn bind(&mut self, key: &[u8], arguments: &FieldTable, destination: D) -> bool {
        self.bindings.add(Binding::new(key, arguments, destination))
    }

    pub(crate) fn unbind(&mut self, key: &[u8], arguments: &FieldTable, destination: &D) -> bool {
        self.bindings.remove(&Binding::new(key, arguments, destination.clone()))
    }

    pub(crate) fn route<'a>(&'a self, visit: &mut impl FnMut(&'a D)) {
        self.bindings.for_each(|binding| visit(&binding.destination));
    }
}
