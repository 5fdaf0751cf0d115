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
    /// As declared; see [`survives_restart`](Self::survives_restart).
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// The one connection that may use it, and with which it goes.
    pub owner: Option<ConnectionId>,
    /// Optional arguments, as declared.
    pub arguments: FieldTable,
}

/// Arguments that RabbitMQ knows and this broker does not act on yet. They are refused, not ignored.
const NOT_IMPLEMENTED: [&str; 18] = [
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
];

/// Arguments of queue types that this broker does not have.
const OF_OTHER_TYPES: [&str; 5] = [
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
    "x-quorum-initial-group-size",
];

/// Arguments that are taken and tell two declarations apart.
const TAKEN: [&str; 4] = ["x-queue-type", "x-queue-mode", "x-queue-version", "x-queue-leader-locator"];

impl QueueDefinition {
    /// Whether there is anything of it to keep: an exclusive queue goes with its connection, and so with the
    /// process, also when it was declared durable.
    #[must_use]
    pub fn survives_restart(&self) -> bool {
        self.durable && self.owner.is_none()
    }

    /// Whether it may be declared like this at all.
    ///
    /// # Errors
    /// [`Refusal::InvalidArgument`] or [`Refusal::NotImplemented`].
    pub fn validate(&self) -> Result<(), Refusal> {
        let has = |name: &&&str| self.arguments.contains_key(name);
        if let Some(argument) = NOT_IMPLEMENTED.iter().find(has) {
            return Err(Refusal::NotImplemented(format!("queue argument '{argument}'")));
        }
        if let Some(argument) = OF_OTHER_TYPES.iter().find(has) {
            return Err(self.invalid(argument, Flaw::OfAnotherQueueType));
        }
        for (argument, value) in
            TAKEN.iter().filter_map(|name| Some((*name, self.arguments.inner().get(*name)?)))
        {
            match (argument, value) {
                ("x-queue-type", AMQPValue::LongString(kind)) if kind.as_bytes() == b"quorum" => {
                    return Err(Refusal::NotImplemented("queue type 'quorum'".to_owned()));
                }
                _ => check_taken(argument, value).map_err(|flaw| self.invalid(argument, flaw))?,
            }
        }
        Ok(())
    }

    fn invalid(&self, argument: &'static str, flaw: Flaw) -> Refusal {
        Refusal::InvalidArgument { queue: self.name.clone(), argument, flaw }
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
    /// [`Refusal::Locked`], [`Refusal::Inequivalent`] or [`Refusal::InequivalentArgument`].
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
        match TAKEN.iter().chain(&NOT_IMPLEMENTED).find(|name| self.argument(name) != wanted.argument(name)) {
            None => Ok(()),
            Some(argument) => Err(Refusal::InequivalentArgument {
                resource: Resource::Queue,
                name: self.name.clone(),
                argument,
                received: wanted.argument(argument),
                current: self.argument(argument),
            }),
        }
    }

    /// An argument as it is compared: no queue type, and an empty one, mean `classic`.
    fn argument(&self, name: &str) -> Option<AMQPValue> {
        let value = self.arguments.inner().get(name).cloned();
        let unsaid = match &value {
            None => true,
            Some(AMQPValue::LongString(kind)) => kind.is_empty(),
            _ => false,
        };
        if name == "x-queue-type" && unsaid { Some(AMQPValue::LongString("classic".into())) } else { value }
    }
}

/// Whether the value of an argument that is taken is one that it can have.
fn check_taken(argument: &str, value: &AMQPValue) -> Result<(), Flaw> {
    match (argument, value) {
        ("x-queue-type", AMQPValue::LongString(kind)) => match kind.as_bytes() {
            b"classic" | b"" => Ok(()),
            _ => Err(Flaw::UnsupportedQueueType(kind.to_string())),
        },
        ("x-queue-leader-locator", AMQPValue::LongString(locator)) => match locator.as_bytes() {
            b"client-local" | b"balanced" => Ok(()),
            _ => Err(Flaw::LeaderLocator),
        },
        ("x-queue-version", AMQPValue::LongInt(2) | AMQPValue::LongLongInt(2)) => Ok(()),
        ("x-queue-version", AMQPValue::LongInt(version)) => {
            Err(Flaw::UnsupportedQueueVersion(i64::from(*version)))
        }
        ("x-queue-version", AMQPValue::LongLongInt(version)) => Err(Flaw::UnsupportedQueueVersion(*version)),
        ("x-queue-mode", _) => Ok(()),
        _ => Err(Flaw::UnacceptableType(value.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(durable: bool, owner: Option<ConnectionId>, arguments: &[(&str, AMQPValue)]) -> QueueDefinition {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        QueueDefinition {
            id: QueueId(1),
            name: "q".into(),
            durable,
            auto_delete: false,
            owner,
            arguments: table,
        }
    }

    fn text(value: &str) -> AMQPValue {
        AMQPValue::LongString(value.into())
    }

    #[test]
    fn a_durable_exclusive_queue_goes_with_its_connection() {
        assert!(queue(true, None, &[]).survives_restart());
        assert!(!queue(true, Some(ConnectionId(1)), &[]).survives_restart());
        assert!(!queue(false, None, &[]).survives_restart());
    }

    #[test]
    fn no_queue_type_means_classic() {
        let plain = queue(true, None, &[]);
        let classic = queue(true, None, &[("x-queue-type", text("classic"))]);
        let quorum = queue(true, None, &[("x-queue-type", text("quorum"))]);
        assert_eq!(plain.check_equivalent(&classic), Ok(()));
        assert_eq!(classic.check_equivalent(&plain), Ok(()));
        assert!(matches!(plain.check_equivalent(&quorum), Err(Refusal::InequivalentArgument { .. })));
    }

    #[test]
    fn unknown_arguments_are_taken_and_known_ones_are_checked() {
        let validate = |name, value| queue(true, None, &[(name, value)]).validate();
        assert_eq!(validate("x-mine", AMQPValue::Void), Ok(()));
        assert_eq!(validate("x-queue-leader-locator", text("balanced")), Ok(()));
        assert!(matches!(
            validate("x-queue-leader-locator", text("x")),
            Err(Refusal::InvalidArgument { .. })
        ));
        assert!(matches!(validate("x-queue-type", text("stream")), Err(Refusal::InvalidArgument { .. })));
        assert!(matches!(validate("x-message-ttl", AMQPValue::LongInt(1)), Err(Refusal::NotImplemented(_))));
    }
}
