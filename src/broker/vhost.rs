//! A virtual host at work: the topology that publishers read, and the operations that change it.
//!
//! Readers load a snapshot. Writers take turns: each changes a copy, hands the durable changes to the store
//! in the same turn, and puts the copy in place. What the store got from one turn is before what it gets
//! from the next, so the definitions on disk are those of some moment, never a mixture.

use super::live_queue::{LiveQueue, OnlyIf, QueueRef};
use super::paging::Paging;
use super::records;
use super::work::Work;
use crate::store::{Lsn, Op, Store};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::sync::Arc;
use vhosts::topology::{Change, QueueHandle};
use vhosts::{
    Binding, ConnectionId, ExchangeDefinition, Moment, Name, QueueDefinition, Refusal, Resource, Seq,
    Topology,
};

/// A virtual host.
pub struct Vhost {
    name: Name,
    topology: ArcSwap<Topology<QueueRef>>,
    /// Whoever holds it may change the topology. It knows where the store has the last change.
    turn: Mutex<Option<Lsn>>,
    store: Store,
    paging: Option<Paging>,
}

/// What an operation gave, and what must be safe before the client may be told; none if nothing ever was
/// written.
pub type Outcome<T> = (T, Option<Lsn>);

impl Vhost {
    /// With its topology as recovered, or the predeclared one, and what its queues leave messages to.
    pub fn new(name: Name, topology: Topology<QueueRef>, store: Store, paging: Option<Paging>) -> Vhost {
        Vhost { name, topology: ArcSwap::from_pointee(topology), turn: Mutex::new(None), store, paging }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The topology, for one look or for many that need not agree with later changes.
    pub fn topology(&self) -> &ArcSwap<Topology<QueueRef>> {
        &self.topology
    }

    /// Where the store has the last change: what must be safe before a client is told what is there.
    pub fn last_change(&self) -> Option<Lsn> {
        *self.turn.lock()
    }

    /// Makes sure that an exchange is there.
    pub fn declare_exchange(&self, wanted: ExchangeDefinition) -> Result<Outcome<()>, Refusal> {
        if let Some(exchange) = self.topology.load().exchange(&wanted.name) {
            wanted.validate()?;
            return exchange.definition.check_equivalent(&wanted).map(|()| ((), self.last_change()));
        }
        self.change(|topology, changes| topology.declare_exchange(wanted, changes))
    }

    /// Deletes an exchange.
    pub fn delete_exchange(&self, name: &str, if_unused: bool) -> Result<Outcome<()>, Refusal> {
        self.change(|topology, changes| topology.delete_exchange(name, if_unused, changes))
    }

    /// Makes sure that a binding is there.
    pub fn bind(&self, binding: Binding, connection: ConnectionId) -> Result<Outcome<()>, Refusal> {
        self.change(|topology, changes| {
            check_owner(topology, &binding, connection)?;
            topology.bind(binding, changes)
        })
    }

    /// Removes a binding.
    pub fn unbind(&self, binding: Binding, connection: ConnectionId) -> Result<Outcome<()>, Refusal> {
        self.change(|topology, changes| {
            // One that is not there is fine, whoever asks.
            if topology.is_bound(&binding) {
                check_owner(topology, &binding, connection)?;
            }
            topology.unbind(binding, changes)
        })
    }

    /// Makes sure that a queue is there. The second value is true when it was made.
    pub fn declare_queue(
        &self,
        wanted: QueueDefinition,
        now: Moment,
    ) -> Result<Outcome<(QueueRef, bool)>, Refusal> {
        let existing = |topology: &Topology<QueueRef>| {
            let queue = topology.queue(&wanted.name)?.clone();
            Some(queue.definition().check_equivalent(&wanted).map(|()| (queue, false)))
        };
        // Most declares are of what is there already: no new snapshot, so nobody forgets routes for it.
        if let Some(found) = existing(&self.topology.load()) {
            return found.map(|found| (found, self.last_change()));
        }
        self.change(|topology, changes| {
            if let Some(found) = existing(topology) {
                return found;
            }
            wanted.validate()?;
            let queue = LiveQueue::new(self.name.clone(), wanted.clone(), Seq(1), self.paging.clone(), now);
            let queue = QueueRef(Arc::new(queue));
            topology.insert_queue(queue.clone(), changes);
            Ok((queue, true))
        })
    }

    /// Deletes a queue, if `connection` may use it; says how many messages were ready. One that is not there is
    /// fine.
    pub fn delete_queue(
        &self,
        name: &str,
        connection: ConnectionId,
        only: OnlyIf,
        work: &mut Work,
    ) -> Result<Outcome<Option<(QueueRef, usize)>>, Refusal> {
        self.change(|topology, changes| {
            let Some(queue) = topology.queue(name).cloned() else { return Ok(None) };
            queue.definition().check_owner(connection)?;
            let ready = queue.delete(only, work)?;
            topology.remove_queue(name, changes);
            Ok(Some((queue, ready)))
        })
    }

    fn change<T>(
        &self,
        operation: impl FnOnce(&mut Topology<QueueRef>, &mut Vec<Change>) -> Result<T, Refusal>,
    ) -> Result<Outcome<T>, Refusal> {
        let mut last = self.turn.lock();
        let mut topology = Topology::clone(&self.topology.load());
        let mut changes = Vec::new();
        let result = operation(&mut topology, &mut changes)?;
        if !changes.is_empty() {
            let changes = changes.iter().map(|change| records::change(&self.name, change)).collect();
            *last = Some(self.store.submit(&mut vec![Op::Define(changes)]));
        }
        // Only now may others see it: what they publish there is behind the definition in the log, so that no
        // message can be safe in a queue that is not.
        self.topology.store(Arc::new(topology));
        // Also for what was there already: another client may have declared it, and not have been told yet.
        Ok((result, *last))
    }
}

/// Whether `connection` may use the queue that a binding leads to, if it is one.
fn check_owner(
    topology: &Topology<QueueRef>,
    binding: &Binding,
    connection: ConnectionId,
) -> Result<(), Refusal> {
    match topology.queue(&binding.destination) {
        Some(queue) if binding.destination_kind == Resource::Queue => {
            queue.definition().check_owner(connection)
        }
        _ => Ok(()),
    }
}
