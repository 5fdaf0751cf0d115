//! What a virtual host remembers: its exchanges, queues and bindings, the messages in its queues, and who
//! may use them.
//!
//! This crate is pure. Machines take an input and the time, and return effects; they know no socket, no
//! disk, no clock and no task. Texts that RabbitMQ dictates are in `rabbit-compat`; here a refusal is a
//! value ([`Refusal`]).

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod ids;
pub mod message;
pub mod properties;

pub use ids::{DeliveryId, Moment, QueueId, Seq};
pub use message::{Message, MessageBuilder};
