//! What a virtual host remembers: its exchanges, queues and bindings, the messages in its queues, and who
//! may use them.
//!
//! This crate is pure. Machines take an input and the time, and return effects; they know no socket, no
//! disk, no clock and no task. Texts that RabbitMQ dictates are in `rabbit-compat`; here a refusal is a
//! value ([`Refusal`]).

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod copies;
pub mod dead_letter;
pub mod exchange;
pub mod headers;
mod ids;
pub mod message;
pub mod permissions;
mod place;
pub mod properties;
pub mod queue;
mod queue_definition;
pub mod refusal;
pub mod table;
pub mod topology;
pub mod varint;
pub mod window;

pub use exchange::ExchangeDefinition;
pub use ids::{ConnectionId, DeliveryId, Moment, QueueId, Seq};
pub use message::{Message, MessageBuilder};
pub use permissions::{Access, Permissions};
pub use place::Place;
pub use queue::Queue;
pub use queue_definition::{ConsumerArguments, QueueDefinition, QueueType, consumer_arguments};
pub use refusal::{Name, Refusal, Resource};
pub use topology::{Binding, Change, QueueHandle, Topology};
