//! Why a virtual host refuses an operation. `rabbit-compat` has the code and the words for each.

use crate::QueueType;
use amq_protocol_types::AMQPValue;
use exchanges::BindError;
use std::fmt;
use std::sync::Arc;

/// A name of an exchange, a queue or a virtual host.
pub type Name = Arc<str>;

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resource::Exchange => "exchange",
            Resource::Queue => "queue",
        })
    }
}

/// An operation that a virtual host does not carry out.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// There is no such exchange or queue.
    NotFound(Resource, Name),
    /// An exclusive queue of another connection, or a redeclaration that differs in being exclusive.
    Locked(Name),
    /// It exists with another property (`durable`, `auto_delete`, `internal`, `type`).
    Inequivalent {
        /// What exists.
        resource: Resource,
        /// Its name.
        name: Name,
        /// The property.
        property: &'static str,
        /// As the client has it.
        received: String,
        /// As it is.
        current: String,
    },
    /// It exists with another argument.
    InequivalentArgument {
        /// What exists.
        resource: Resource,
        /// Its name.
        name: Name,
        /// The argument.
        argument: &'static str,
        /// As the client has it.
        received: Option<AMQPValue>,
        /// As it is.
        current: Option<AMQPValue>,
    },
    /// An argument of a queue, or of a consumer of it, has a value of a wrong type or out of its range.
    InvalidArgument {
        /// The queue.
        queue: Name,
        /// The argument.
        argument: &'static str,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// A queue of that type can not have that property.
    InvalidProperty {
        /// The queue.
        queue: Name,
        /// `auto-delete`, `exclusive-owner` or `non-durable`.
        property: &'static str,
    },
    /// Queues of that type must be given a name.
    ServerNamed(QueueType),
    /// An argument that must be a string is not.
    NotAString {
        /// What it was for.
        resource: Resource,
        /// Its name.
        name: Name,
        /// The argument.
        argument: &'static str,
        /// Its value.
        value: AMQPValue,
    },
    /// No exchange type of that name.
    UnknownExchangeType(String),
    /// A new name begins with `amq.`.
    Reserved(Resource, Name),
    /// The default exchange can not be declared, deleted, bound or unbound.
    DefaultExchange,
    /// A predeclared exchange can not be deleted.
    SystemExchange(Name),
    /// Clients can not publish to an internal exchange.
    Internal(Name),
    /// A queue of a transaction takes no more messages.
    Full(Name),
    /// Deleting was asked for only if unused.
    InUse(Resource, Name),
    /// Deleting was asked for only if empty.
    NotEmpty(Name),
    /// An exclusive consumer is there, or was asked for beside others.
    ExclusiveUse(Name),
    /// The exchange does not take that binding.
    Binding(BindError),
    /// The user may not.
    AccessRefused {
        /// Which permission is missing: `configure`, `write` or `read`.
        permission: &'static str,
        /// On what.
        resource: Resource,
        /// Its name.
        name: Name,
    },
}

/// What is wrong with an argument of a queue or of a consumer.
#[derive(Clone, Debug, PartialEq)]
pub enum Flaw {
    /// Not of a type that the argument takes.
    UnacceptableType(AMQPValue),
    /// Not an integer.
    NotAnInteger(AMQPValue),
    /// Less than zero.
    Negative(i64),
    /// Zero, where there must be some.
    Zero,
    /// A longer time than there can be.
    TooLarge(u64),
    /// More than there can be.
    MaxExceeded(u64),
    /// Too long for a name or a routing key, or not UTF-8 where it must be.
    NotAShortString,
    /// No queue type of that name.
    UnsupportedQueueType(String),
    /// Not a version of classic queues that there is.
    UnsupportedQueueVersion(u64),
    /// Not a way to place queues.
    QueueLocator,
    /// Not a way to deal with too many messages.
    Overflow,
    /// `x-sync-mode` is none that there is.
    SyncMode,
    /// Neither at most once nor at least once.
    DeadLetterStrategy,
    /// A routing key for dead messages, and no exchange for them.
    RoutingKeyWithoutExchange,
    /// No such kind of messages that wait before they are ready again.
    DelayedRetryType,
    /// Not a number from 1 to 1000.
    DelayedRetryMultiplier,
    /// Not one to 32 times.
    DelayedRetryLevels,
    /// The longest wait is shorter than the shortest.
    DelayedRetryMaxBelowMin {
        /// Milliseconds.
        max: u64,
        /// Milliseconds.
        min: u64,
    },
    /// It means nothing without another argument.
    Requires(&'static str),
    /// It cannot be together with another argument.
    Excludes(&'static str),
    /// Queues of this type do not take it.
    OfAnotherQueueType(QueueType),
}
