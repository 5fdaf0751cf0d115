//! What a queue was declared with, and when a second declaration means the same queue.

use crate::refusal::{Flaw, Name, Refusal, Resource};
use crate::{ConnectionId, QueueId};
use amq_protocol_types::{AMQPValue, FieldTable};

/// A declared queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueDefinition {
    /// Its number.
    pub id: QueueId,
    /// Its name, unique in the virtual host.
    pub name: Name,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// The one connection that may use it, and with which it goes.
    pub owner: Option<ConnectionId>,
    /// Optional arguments, as declared.
    pub arguments: FieldTable,
}

/// Arguments that RabbitMQ knows and this broker does not act on. They are refused, not ignored.
const NOT_IMPLEMENTED: [&str; 19] = [
    "x-message-ttl",
    "x-expires",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-max-priority",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-queue-master-locator",
    "x-quorum-initial-group-size",
];

impl QueueDefinition {
    /// Whether it may be declared like this at all.
    ///
    /// # Errors
    /// [`Refusal::InvalidArgument`] or [`Refusal::NotImplemented`].
    pub fn validate(&self) -> Result<(), Refusal> {
        if let Some(argument) = NOT_IMPLEMENTED.iter().find(|name| self.arguments.contains_key(name)) {
            return Err(Refusal::NotImplemented(format!("queue argument '{argument}'")));
        }
        let flaw = match self.arguments.inner().get("x-queue-type") {
            None => return Ok(()),
            Some(AMQPValue::LongString(kind)) => match kind.as_bytes() {
                b"classic" | b"" => return Ok(()),
                b"quorum" => return Err(Refusal::NotImplemented("queue type 'quorum'".to_owned())),
                _ => Flaw::UnsupportedQueueType(kind.to_string()),
            },
            Some(other) => Flaw::UnacceptableType(other.clone()),
        };
        Err(Refusal::InvalidArgument { queue: self.name.clone(), argument: "x-queue-type", flaw })
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

    /// Whether declaring `wanted` again means this queue. Arguments that no queue type knows do not count.
    ///
    /// # Errors
    /// [`Refusal::Locked`] or [`Refusal::Inequivalent`].
    pub fn check_equivalent(&self, wanted: &QueueDefinition) -> Result<(), Refusal> {
        if self.owner != wanted.owner {
            return Err(Refusal::Locked(self.name.clone()));
        }
        let properties = [
            ("durable", wanted.durable, self.durable),
            ("auto_delete", wanted.auto_delete, self.auto_delete),
        ];
        for (property, received, current) in properties {
            if received != current {
                return Err(Refusal::Inequivalent {
                    resource: Resource::Queue,
                    name: self.name.clone(),
                    property,
                    received: received.to_string(),
                    current: current.to_string(),
                });
            }
        }
        Ok(())
    }
}
