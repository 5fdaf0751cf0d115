//! What the tests of routing share: a message made by hand, and tables written short.

use amq_protocol_types::{AMQPValue, FieldTable};
use exchanges::{Routable, Router};
use std::hash::Hash;

/// A message as routing sees it.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub key: Vec<u8>,
    pub headers: FieldTable,
    /// Further routing keys.
    pub copies: Vec<Vec<u8>>,
}

impl Sent {
    pub fn with_key(key: &[u8]) -> Self {
        Sent { key: key.to_vec(), ..Sent::default() }
    }
}

impl Routable for Sent {
    fn routing_key(&self) -> &[u8] {
        &self.key
    }

    fn headers(&self) -> &FieldTable {
        &self.headers
    }

    fn each_routing_key(&self, visit: &mut impl FnMut(&[u8])) {
        visit(&self.key);
        self.copies.iter().for_each(|key| visit(key));
    }
}

/// A table of these pairs.
pub fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert((*name).into(), value.clone());
    }
    table
}

/// A long string.
pub fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// What a message is routed to, sorted, each once.
pub fn selected<D: Clone + Ord + Hash>(router: &Router<D>, message: &Sent) -> Vec<D> {
    let mut found = Vec::new();
    router.route(message, &mut |destination| found.push(destination.clone()));
    found.sort();
    found.dedup();
    found
}
