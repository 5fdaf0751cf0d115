//! What a queue was declared with: whether that is allowed, what it means, and when a second declaration
//! means the same queue.
//!
//! The arguments are a table in `arguments`: one row each, and one function of the row both checks a value
//! and says what it does. Texts are not here: a [`Flaw`] is a value.
//!
//! Invariant: no argument that this broker acts on is ignored. It is refused by
//! [`QueueDefinition::validate`], or it is in the [`Settings`].

mod argument;
mod arguments;
mod consumer;
mod delayed_retry;
mod equivalence;
mod queue_type;
#[cfg(test)]
mod tests;
mod value;

pub use consumer::{ConsumerArguments, consumer_arguments};
pub use queue_type::QueueType;
pub use value::DURATION_MAX_MS;

use crate::queue::settings::Settings;
use crate::refusal::{Flaw, Name, Refusal, Resource};
use crate::{ConnectionId, QueueId};
use amq_protocol_types::{AMQPValue, FieldTable};
use arguments::{ARGUMENTS, DEAD_LETTER_EXCHANGE, QUEUE_TYPE, Wanted};
use std::borrow::Cow;

/// A declared queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueDefinition {
    /// Its number.
    pub id: QueueId,
    /// Its name, unique in the virtual host.
    pub name: Name,
    /// As declared; see [`survives_restart`](Self::survives_restart).
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// The one connection that may use it, and with which it goes.
    pub owner: Option<ConnectionId>,
    /// Optional arguments, as declared.
    pub arguments: FieldTable,
}

impl QueueDefinition {
    /// Whether there is anything of it to keep: an exclusive queue goes with its connection, and so with the
    /// process, also when it was declared durable.
    #[must_use]
    pub fn survives_restart(&self) -> bool {
        self.durable && self.owner.is_none()
    }

    /// Its type; classic when the arguments name none, or none that there is.
    #[must_use]
    pub fn queue_type(&self) -> QueueType {
        QueueType::of(&self.arguments).unwrap_or_default()
    }

    /// Whether it may be declared like this at all. When several things are wrong, it is the same one as in
    /// RabbitMQ that is told.
    ///
    /// # Errors
    /// [`Refusal::NotAString`], [`Refusal::InvalidArgument`] or [`Refusal::InvalidProperty`].
    pub fn validate(&self) -> Result<(), Refusal> {
        self.dead_letter_exchange()?;
        let queue_type = QueueType::of(&self.arguments).map_err(|flaw| self.invalid(QUEUE_TYPE, flaw))?;
        let (_, fault) = argument::take::<Wanted>(&ARGUMENTS, &self.arguments, queue_type);
        match fault {
            Some((argument, flaw)) => Err(self.invalid(argument, flaw)),
            None => self.check_properties(queue_type),
        }
    }

    /// What it does. An argument that [`validate`](Self::validate) refuses has no effect.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let queue_type = self.queue_type();
        let (wanted, _) = argument::take::<Wanted>(&ARGUMENTS, &self.arguments, queue_type);
        wanted.settings(queue_type)
    }

    /// The exchange for its dead messages: to declare it takes permission to write there.
    ///
    /// # Errors
    /// [`Refusal::NotAString`].
    pub fn dead_letter_exchange(&self) -> Result<Option<Cow<'_, str>>, Refusal> {
        match self.arguments.inner().get(DEAD_LETTER_EXCHANGE) {
            None => Ok(None),
            Some(AMQPValue::LongString(name)) => Ok(Some(String::from_utf8_lossy(name.as_bytes()))),
            Some(value) => Err(Refusal::NotAString {
                resource: Resource::Queue,
                name: self.name.clone(),
                argument: DEAD_LETTER_EXCHANGE,
                value: value.clone(),
            }),
        }
    }

    /// Whether a queue with such arguments may be declared without a name, to get one from the broker.
    ///
    /// # Errors
    /// [`Refusal::ServerNamed`].
    pub fn check_server_named(arguments: &FieldTable) -> Result<(), Refusal> {
        match QueueType::of(arguments) {
            Ok(QueueType::Quorum) => Err(Refusal::ServerNamed(QueueType::Quorum)),
            // What is no queue type is found out when the definition is validated.
            Ok(QueueType::Classic) | Err(_) => Ok(()),
        }
    }

    /// Whether `connection` may use the queue.
    ///
    /// # Errors
    /// [`Refusal::Locked`] when it belongs to another connection.
    pub fn check_owner(&self, connection: ConnectionId) -> Result<(), Refusal> {
        match self.owner {
            Some(owner) if owner != connection => Err(Refusal::Locked(self.name.clone())),
            _ => Ok(()),
        }
    }

    /// Quorum queues are for messages that must not be lost, so they are nobody's own and do not go away.
    fn check_properties(&self, queue_type: QueueType) -> Result<(), Refusal> {
        let wrong = [
            ("auto-delete", self.auto_delete),
            ("exclusive-owner", self.owner.is_some()),
            ("non-durable", !self.durable),
        ];
        match wrong.iter().find(|(_, is_so)| queue_type == QueueType::Quorum && *is_so) {
            Some((property, _)) => Err(Refusal::InvalidProperty { queue: self.name.clone(), property }),
            None => Ok(()),
        }
    }

    fn invalid(&self, argument: &'static str, flaw: Flaw) -> Refusal {
        Refusal::InvalidArgument { queue: self.name.clone(), argument, flaw }
    }
}
