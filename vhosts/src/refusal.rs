//! Why a virtual host refuses an operation. `rabbit-compat` has the code and the words for each.

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
    /// An argument has a value of a wrong type or out of its range.
    InvalidArgument {
        /// The queue.
        queue: Name,
        /// The argument.
        argument: &'static str,
        /// What is wrong with it.
        flaw: Flaw,
    },
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
    /// A feature that this broker does not have.
    NotImplemented(String),
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

/// What is wrong with a queue argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Flaw {
    /// Not of a type that the argument takes.
    UnacceptableType(AMQPValue),
    /// No queue type of that name.
    UnsupportedQueueType(String),
    /// Not a version of classic queues that there is.
    UnsupportedQueueVersion(i64),
    /// Not a way to place queues.
    LeaderLocator,
    /// For queues of another type.
    OfAnotherQueueType,
}
