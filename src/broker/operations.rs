//! Carrying out what a client asked for, with the permissions that it needs (RabbitMQ, "Access Control").

use super::live_queue::{OnlyIf, QueueRef};
use super::outbox::Outbox;
use super::registry::Broker;
use super::vhost::{Outcome, Vhost};
use super::work::Work;
use crate::store::Lsn;
use amq_protocol_types::{AMQPValue, FieldTable};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use exchanges::Kind;
use rabbit_compat::session::{ConsumerId, Done, Operation};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use vhosts::exchange::ALTERNATE;
use vhosts::queue::{ConsumerKey, ConsumerSpec};
use vhosts::topology::QueueHandle;
use vhosts::{
    Access, Binding, ConnectionId, ConsumerArguments, ExchangeDefinition, Name, Permissions, QueueDefinition,
    QueueId, Refusal, Resource, consumer_arguments,
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
    /// Carries an operation out. `work` gets what nobody waits for.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn operate(self, operation: Operation, work: &mut Work) -> Result<Outcome<Done>, Refusal> {
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
                plain(self.vhost.unbind(binding, self.connection))
            }
            Operation::DeclareQueue { passive: true, name, .. } => self.look_for_queue(&name, work),
            Operation::DeclareQueue { name, durable, auto_delete, exclusive, arguments, .. } => {
                self.declare_queue(name, durable, auto_delete, exclusive, arguments, work)
            }
            Operation::DeleteQueue { name, if_unused, if_empty } => {
                self.permissions.check(Access::Configure, Resource::Queue, &name)?;
                let only = OnlyIf { unused: if_unused, empty: if_empty, expired: None };
                self.delete_queue(&name, only, work)
            }
            Operation::Purge { name } => {
                let queue = self.readable_queue(&name)?;
                done(Done::Messages(queue.purge(work)))
            }
            Operation::Consume { queue, consumer, spec, arguments } => {
                self.consume(queue, consumer, spec, &arguments, work)
            }
            Operation::Cancel { queue, key } => {
                self.cancel(queue, key, work);
                done(Done::Plain)
            }
            Operation::Get { queue, no_ack } => self.get(&queue, no_ack, work),
            // Those are the client's own.
            Operation::ConsumeReplies { .. }
            | Operation::CancelReplies { .. }
            | Operation::Commit { .. }
            | Operation::Rollback { .. } => done(Done::Plain),
        }
    }

    /// Removes a consumer; an auto-delete queue goes with its last one.
    pub fn cancel(self, queue: QueueId, key: ConsumerKey, work: &mut Work) {
        let Some(queue) = self.broker.queue(queue) else { return };
        if queue.cancel(key, self.broker.clock.now(), work) {
            let unused = OnlyIf { unused: true, ..OnlyIf::default() };
            // Refused when somebody else consumes it by now: then it stays.
            let _ = self.delete_queue(&queue.definition().name, unused, work);
        }
    }

    /// Deletes a queue without asking for permission.
    pub fn delete_queue(self, name: &str, only: OnlyIf, work: &mut Work) -> Result<Outcome<Done>, Refusal> {
        let (deleted, lsn) = self.vhost.delete_queue(name, self.connection, only, work)?;
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

    fn look_for_queue(self, name: &str, work: &mut Work) -> Result<Outcome<Done>, Refusal> {
        self.broker.totals.queues_declared.fetch_add(1, Relaxed);
        if self.broker.replies.is_live(name) {
            return done(Done::Queue { name: name.into(), messages: 0, consumers: 1 });
        }
        self.check_any(Resource::Queue, name)?;
        let queue = self.vhost.topology().load().expect_queue(name)?.clone();
        queue.definition().check_owner(self.connection)?;
        Ok((self.described(&queue, work), self.vhost.last_change()))
    }

    fn declare_queue(
        self,
        name: Name,
        durable: bool,
        auto_delete: bool,
        exclusive: bool,
        arguments: FieldTable,
        work: &mut Work,
    ) -> Result<Outcome<Done>, Refusal> {
        self.broker.totals.queues_declared.fetch_add(1, Relaxed);
        let server_named = name.is_empty();
        if server_named {
            QueueDefinition::check_server_named(&arguments)?;
        }
        let name = if server_named { server_name() } else { name };
        self.permissions.check(Access::Configure, Resource::Queue, &name)?;
        let known = self.vhost.topology().load().queue(&name).is_some();
        if name.starts_with("amq.") && !server_named && !known {
            return Err(Refusal::Reserved(Resource::Queue, name));
        }
        let owner = exclusive.then_some(self.connection);
        let id = self.broker.new_queue_id();
        let wanted = QueueDefinition { id, name, durable, auto_delete, owner, arguments };
        if !known && let Some(exchange) = wanted.dead_letter_exchange()? {
            self.permissions.check(Access::Read, Resource::Queue, &wanted.name)?;
            self.permissions.check(Access::Write, Resource::Exchange, &exchange)?;
        }
        let ((queue, made), lsn) = self.vhost.declare_queue(wanted, self.broker.clock.now())?;
        if made {
            self.broker.add_queue(queue.clone());
        }
        Ok((self.described(&queue, work), lsn))
    }

    fn consume(
        self,
        name: Name,
        consumer: ConsumerId,
        spec: ConsumerSpec,
        arguments: &FieldTable,
        work: &mut Work,
    ) -> Result<Outcome<Done>, Refusal> {
        let queue = self.readable_queue(&name)?;
        let ConsumerArguments { priority, timeout_ms } = consumer_arguments(queue.definition(), arguments)?;
        let spec = ConsumerSpec { priority, timeout_ms, ..spec };
        let key = queue.consume(spec, self.outbox.clone(), consumer, self.broker.clock.now(), work);
        let key = key.map_err(|_| Refusal::ExclusiveUse(name))?;
        done(Done::Consuming { queue: queue.definition().id, key })
    }

    fn get(self, name: &str, no_ack: bool, work: &mut Work) -> Result<Outcome<Done>, Refusal> {
        let queue = self.readable_queue(name)?;
        let id = queue.definition().id;
        loop {
            if let Some((delivery, left)) = queue.get(no_ack, self.broker.clock.now(), work) {
                return done(Done::Got { queue: id, delivery, left });
            }
            if !self.broker.fetch_next(&queue, work) {
                self.broker.totals.get_empty.fetch_add(1, Relaxed);
                return done(Done::Empty);
            }
        }
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

    /// Who asks for a queue uses it.
    fn described(self, queue: &QueueRef, work: &mut Work) -> Done {
        let (name, (messages, consumers)) =
            (queue.definition().name.clone(), queue.touch(self.broker.clock.now(), work));
        Done::Queue { name, messages, consumers }
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

fn server_name() -> Name {
    let nonce: [u8; 16] = rand::random();
    format!("amq.gen-{}", URL_SAFE_NO_PAD.encode(nonce)).into()
}
