//! Picks destinations: given an exchange's bindings and a message, which queues get a copy.
//!
//! This crate is pure: values in, values out. It does not know what a queue is, keeps no messages, checks no
//! permissions and sends nothing. A [`Router`] holds the bindings of one exchange in the index of its
//! [`Kind`]; [`graph`] follows bindings between exchanges and alternate exchanges.
//!
//! Invariant: a clone of a [`Router`] costs a few reference counts and never changes again, whatever happens
//! to the original. So routing reads a snapshot without a lock while declarations replace it.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod bag;
mod binding;
mod direct;
mod fanout;
pub mod graph;
mod headers;
mod kind;
mod router;
mod seen;
mod topic;
mod value;

pub use graph::{Graph, Node, Target};
pub use kind::Kind;
pub use router::{BindError, Router};
pub use value::same_value;

use amq_protocol_types::FieldTable;

/// The most `#` words that a topic binding key may have. Each further one multiplies the work of a match.
pub const MAX_HASH_WILDCARDS: usize = 2;

/// What routing may look at.
pub trait Routable {
    /// The routing key that the message was published with.
    fn routing_key(&self) -> &[u8];

    /// The `headers` property. Only called when a headers exchange asks, so that a table is decoded only
    /// then; empty when the message has none.
    fn headers(&self) -> &FieldTable;

    /// Calls `visit` with every key to route by: the routing key and whatever else the message asks for (the
    /// `CC` and `BCC` headers). A message with several keys is routed once, by all of them, so that an
    /// alternate exchange applies only when none of them selects anything.
    fn each_routing_key(&self, visit: &mut impl FnMut(&[u8])) {
        visit(self.routing_key());
    }
}
