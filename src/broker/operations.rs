//! Carrying out what a client asked for, with the permissions that it needs (RabbitMQ, "Access Control").

use super::live_queue::{OnlyIf, QueueRef};
use super::outbox::Outbox;
use super::registry::Broker;
use super::vhost::{Outcome, Vhost};
use crate::store::{Lsn, Op};
use amq_protocol_types::{AMQPValue, FieldTable};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use exchanges::Kind;
use rabbit_compat::session::{Done, Operation};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use vhosts::exchange::ALTERNATE;
use vhosts::queue::ConsumerKey;
use vhosts::topology::QueueHandle;
use vhosts::{
    Access, Binding, ConnectionId, ExchangeDefinition, Name, Permissions, QueueDefinition, QueueId, Refusal,
    Resource,
};

/// Who asks, and where.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The broker.
    pub broker: &'a Broker,
    /// The virtual host that the connection opened.
    pub vhost: &'a Vhost,
    /// The connection.
    pub connection: ConnectionId,
    /// What its user may do.
    pub permissions: &'a Permissions,
    /// What the broker has for it.
    pub outbox: &'a Arc<Outbox>,
}

impl Caller<'_> {
    /// Carries an operation out. `ops` gets what the store has to know and nobody waits for.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn operate(self, operation: Operation, ops: &mut Vec<Op>) -> Result<Outcome<Done>, Refusal> {
        match operation {
            Operation::DeclareExchange { passive: true, name, .. } => self.look_for_exchange(&name),
            Operation::DeclareExchange { name, kind, durable, auto_delete, internal, arguments, .. } => {
                let kind = Kind::parse(&kind).ok_or(Refusal::UnknownExchangeType(kind))?;
                self.declare_exchange(ExchangeDefinition {
                    name,
                    kind,
                    durable,
                    auto_delete,
                    internal,
                    arguments,
                })
            }
            Operation::DeleteExchange { name, if_unused } => self.delete_exchange(&name, if_unused),
            Operation::Bind(binding) => {
                self.check_binding(&binding)?;
                plain(self.vhost.bind(binding, self.connection))
            }
            Operation::Unbind(binding) => {
                self.check_binding(&binding)?;
                plain(self.vhost.unbind(binding))
            }
            Operation::DeclareQueue { passive: true, name, .. } => self.look_for_queue(&name),
            Operation::DeclareQueue { name, durable, auto_delete, exclusive, arguments, .. } => {
                self.declare_queue(name, durable, auto_delete, exclusive, arguments)
            }
            Operation::DeleteQueue { name, if_unused, if_empty } => {
                self.permissions.check(Access::Configure, Resource::Queue, &name)?;
                self.delete_queue(&name, OnlyIf { unused: if_unused, empty: if_empty })
            }
            Operation::Purge { name } => {
                let queue = self.readable_queue(&name)?;
                done(Done::Messages(queue.purge(ops)))
            }
            Operation::Consume { queue: name, consumer, spec } => {
                let queue = self.readable_queue(&name)?;
                let key = queue.consume(spec, self.outbox.clone(), consumer, ops);
                let key = key.map_err(|_| Refusal::ExclusiveUse(name))?;
                done(Done::Consuming { queue: queue.definition().id, key })
            }
            Operation::Cancel { queue, key } => {
                self.cancel(queue, key);
                done(Done::Plain)
            }
            Operation::Get { queue: name, no_ack } => {
                let queue = self.readable_queue(&name)?;
                let id = queue.definition().id;
                done(match queue.get(no_ack, ops) {
                    Some((delivery, left)) => Done::Got { queue: id, delivery, left },
                    None => {
                        self.broker.totals.get_empty.fetch_add(1, Relaxed);
                        Done::Empty
                    }
                })
            }
        }
    }

    /// Removes a consumer; an auto-delete queue goes with its last one.
    pub fn cancel(self, queue: QueueId, key: ConsumerKey) {
        let Some(queue) = self.broker.queue(queue) else { return };
        if queue.cancel(key) {
            let unused = OnlyIf { unused: true, ..OnlyIf::default() };
            // Refused when somebody else consumes it by now: then it stays.
            let _ = self.delete_queue(&queue.definition().name, unused);
        }
    }

    /// Deletes a queue without asking for permission.
    pub fn delete_queue(self, name: &str, only: OnlyIf) -> Result<Outcome<Done>, Refusal> {
        let (deleted, lsn) = self.vhost.delete_queue(name, self.connection, only)?;
        let count = deleted.map_or(0, |(queue, ready)| {
            self.broker.remove_queue(queue.definition().id);
            ready
        });
        Ok((Done::Messages(count), lsn))
    }

    fn look_for_exchange(self, name: &str) -> Result<Outcome<Done>, Refusal> {
        if name.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        self.check_any(Resource::Exchange, name)?;
        self.vhost.topology().load().expect_exchange(name)?;
        Ok((Done::Plain, self.vhost.last_change()))
    }

    fn declare_exchange(self, wanted: ExchangeDefinition) -> Result<Outcome<Done>, Refusal> {
        self.permissions.check(Access::Configure, Resource::Exchange, &wanted.name)?;
        if wanted.name.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        if let Some(AMQPValue::LongString(alternate)) = wanted.arguments.inner().get(ALTERNATE) {
            self.permissions.check(Access::Read, Resource::Exchange, &wanted.name)?;
            self.permissions.check(Access::Write, Resource::Exchange, &alternate.to_string())?;
        }
        plain(self.vhost.declare_exchange(wanted))
    }

    fn delete_exchange(self, name: &str, if_unused: bool) -> Result<Outcome<Done>, Refusal> {
        if name.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        self.permissions.check(Access::Configure, Resource::Exchange, name)?;
        plain(self.vhost.delete_exchange(name, if_unused))
    }

    fn look_for_queue(self, name: &str) -> Result<Outcome<Done>, Refusal> {
        self.broker.totals.queues_declared.fetch_add(1, Relaxed);
        self.check_any(Resource::Queue, name)?;
        let queue = self.vhost.topology().load().expect_queue(name)?.clone();
        queue.definition().check_owner(self.connection)?;
        Ok((described(&queue), self.vhost.last_change()))
    }

    fn declare_queue(
        self,
        name: Name,
        durable: bool,
        auto_delete: bool,
        exclusive: bool,
        arguments: FieldTable,
    ) -> Result<Outcome<Done>, Refusal> {
        self.broker.totals.queues_declared.fetch_add(1, Relaxed);
        let server_named = name.is_empty();
        let name = if server_named { server_name() } else { name };
        self.permissions.check(Access::Configure, Resource::Queue, &name)?;
        let known = self.vhost.topology().load().queue(&name).is_some();
        if name.starts_with("amq.") && !server_named && !known {
            return Err(Refusal::Reserved(Resource::Queue, name));
        }
        let owner = exclusive.then_some(self.connection);
        let id = self.broker.new_queue_id();
        let wanted = QueueDefinition { id, name, durable, auto_delete, owner, arguments };
        let ((queue, made), lsn) = self.vhost.declare_queue(wanted)?;
        if made {
            self.broker.add_queue(queue.clone());
        }
        Ok((described(&queue), lsn))
    }

    fn readable_queue(self, name: &str) -> Result<QueueRef, Refusal> {
        self.permissions.check(Access::Read, Resource::Queue, name)?;
        let queue = self.vhost.topology().load().expect_queue(name)?.clone();
        queue.definition().check_owner(self.connection)?;
        Ok(queue)
    }

    fn check_binding(self, binding: &Binding) -> Result<(), Refusal> {
        binding.check_ends()?;
        self.permissions.check(Access::Write, binding.destination_kind, &binding.destination)?;
        self.permissions.check(Access::Read, Resource::Exchange, &binding.source)
    }

    /// Looking at something needs any permission on it.
    fn check_any(self, resource: Resource, name: &str) -> Result<(), Refusal> {
        let check = |access| self.permissions.check(access, resource, name);
        check(Access::Read).or_else(|_| check(Access::Write)).or_else(|_| check(Access::Configure))
    }
}

fn done(done: Done) -> Result<Outcome<Done>, Refusal> {
    Ok((done, None))
}

fn plain(outcome: Result<Outcome<()>, Refusal>) -> Result<Outcome<Done>, Refusal> {
    let ((), lsn): ((), Option<Lsn>) = outcome?;
    Ok((Done::Plain, lsn))
}

fn described(queue: &QueueRef) -> Done {
    let figures = queue.figures();
    Done::Queue {
        name: queue.definition().name.clone(),
        messages: figures.ready,
        consumers: figures.consumers,
    }
}

fn server_name() -> Name {
    let nonce: [u8; 16] = rand::random();
    format!("amq.gen-{}", URL_SAFE_NO_PAD.encode(nonce)).into()
}
