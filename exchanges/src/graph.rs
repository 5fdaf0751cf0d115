//! Routing through several exchanges: bindings from exchange to exchange, and alternate exchanges.
//!
//! Which exchanges a client may publish to and what happens to a message that finds no queue is decided
//! elsewhere.
//!
//! Invariant: every exchange is routed by once, so cycles end, and every queue is found once.

use crate::seen::Seen;
use crate::{Routable, Router};
use smallvec::{SmallVec, smallvec};
use std::hash::Hash;
use std::sync::Arc;

/// What a binding of an exchange leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target<Q> {
    /// A queue.
    Queue(Q),
    /// The exchange of this name.
    Exchange(Arc<str>),
}

/// Where exchanges are looked up by name.
pub trait Graph {
    /// The handle of a queue; cheap to clone.
    type Queue: Clone + Eq + Hash;

    /// The exchange of this name, if there is one.
    fn exchange(&self, name: &str) -> Option<Node<'_, Self::Queue>>;
}

/// An exchange as routing sees it.
#[derive(Debug)]
pub struct Node<'a, Q> {
    /// Its bindings.
    pub router: &'a Router<Target<Q>>,
    /// The exchange that gets what its bindings do not select.
    pub alternate: Option<&'a str>,
}

/// Appends to `found` every queue that gets a copy of `message`, published to `exchange`: each once, also
/// when `found` has it already, in an order that depends only on the order of the binds and unbinds. An
/// exchange that is missing gets nothing.
///
/// An exchange hands the message to its alternate when its own bindings select nothing at all. A binding to
/// an exchange that leads nowhere, or that had the message already, still counts as selected.
pub fn route<G: Graph>(graph: &G, exchange: &str, message: &impl Routable, found: &mut Vec<G::Queue>) {
    let mut queues = Seen::default();
    let mut exchanges = Seen::default();
    let mut names: SmallVec<[&str; 4]> = smallvec![exchange];
    let mut next = 0;
    while let Some(name) = names.get(next) {
        next += 1;
        let Some(node) = graph.exchange(name) else { continue };
        let mut selected = false;
        node.router.route(message, &mut |target| {
            selected = true;
            match target {
                Target::Queue(queue) if queues.is_new(queue, found) => found.push(queue.clone()),
                Target::Exchange(name) if exchanges.is_new(&&**name, &names) => names.push(name),
                _ => {}
            }
        });
        if !selected
            && let Some(alternate) = node.alternate
            && exchanges.is_new(&alternate, &names)
        {
            names.push(alternate);
        }
    }
}
