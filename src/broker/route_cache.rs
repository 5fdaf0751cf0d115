//! Where the last messages of a connection went.
//!
//! Publishers repeat themselves: the same exchange and routing key, over and over. What the topology answered
//! holds until the topology changes, and so do the checks that come before routing.
//!
//! Invariant: every entry was computed on the snapshot that the cache holds.

use super::live_queue::QueueRef;
use amq_protocol_types::FieldTable;
use amq_protocol_types::parsing::parse_field_table;
use exchanges::Routable;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;
use vhosts::{Access, Message, Permissions, Refusal, Resource, Topology};

/// Addresses that are remembered; when there are more, all are forgotten.
const ADDRESSES_MAX: usize = 256;

/// The routes of one connection.
#[derive(Default)]
pub struct RouteCache {
    snapshot: Option<Arc<Topology<QueueRef>>>,
    routes: HashMap<Box<[u8]>, Route, foldhash::fast::RandomState>,
    /// For routes that are not remembered.
    found: Vec<QueueRef>,
}

enum Route {
    Queues(Vec<QueueRef>),
    /// Checked, but where it goes depends on the headers of each message.
    ByHeaders,
}

impl RouteCache {
    /// Makes sure that answers are those of `snapshot`.
    pub fn refresh(&mut self, snapshot: &Arc<Topology<QueueRef>>) {
        if self.snapshot.as_ref().is_none_or(|held| !Arc::ptr_eq(held, snapshot)) {
            self.routes.clear();
            self.snapshot = Some(snapshot.clone());
        }
    }

    /// The queues that a message goes to.
    ///
    /// # Errors
    /// The exchange is missing or internal, or the user may not write to it.
    pub fn route(&mut self, message: &Message, permissions: &Permissions) -> Result<&[QueueRef], Refusal> {
        let Some(snapshot) = &self.snapshot else { return Ok(&[]) };
        let known = self.routes.contains_key(message.address());
        if !known {
            let exchange = exchange_name(message);
            permissions.check(Access::Write, Resource::Exchange, &exchange)?;
            let definition = &snapshot.expect_exchange(&exchange)?.definition;
            if definition.internal {
                return Err(Refusal::Internal(definition.name.clone()));
            }
            let routed = Routed::new(message);
            let mut queues = Vec::new();
            snapshot.route(&exchange, &routed, &mut queues);
            let route = if routed.headers.get().is_none() && !message.marks().has_copies {
                Route::Queues(queues)
            } else {
                Route::ByHeaders
            };
            if self.routes.len() >= ADDRESSES_MAX {
                self.routes.clear();
            }
            self.routes.insert(message.address().into(), route);
        }
        match self.routes.get(message.address()) {
            Some(Route::Queues(queues)) if !message.marks().has_copies => Ok(queues),
            _ => {
                self.found.clear();
                snapshot.route(&exchange_name(message), &Routed::new(message), &mut self.found);
                Ok(&self.found)
            }
        }
    }
}

fn exchange_name(message: &Message) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(message.exchange())
}

/// A message as routing sees it. Its headers are decoded when the first headers exchange asks.
pub struct Routed<'a> {
    message: &'a Message,
    headers: OnceCell<FieldTable>,
}

impl<'a> Routed<'a> {
    /// That message.
    pub fn new(message: &'a Message) -> Routed<'a> {
        Routed { message, headers: OnceCell::new() }
    }
}

impl Routable for Routed<'_> {
    fn routing_key(&self) -> &[u8] {
        self.message.routing_key()
    }

    fn each_routing_key(&self, visit: &mut impl FnMut(&[u8])) {
        self.message.each_routing_key(visit);
    }

    fn headers(&self) -> &FieldTable {
        self.headers.get_or_init(|| {
            // The table was walked when it came in; names that are not UTF-8 match nothing.
            let raw = self.message.properties().headers;
            raw.and_then(|raw| parse_field_table(raw).ok()).map(|(_, table)| table).unwrap_or_default()
        })
    }
}
