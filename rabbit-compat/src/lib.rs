//! What RabbitMQ dictates: the wire format of AMQP 0-9-1, the conversation of a connection, and the codes
//! and texts of its errors.
//!
//! This crate is pure. A [`Session`] takes frames and gives back frames and commands; it knows no socket and
//! no clock.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod erlang;
mod refusals;
pub mod session;
pub mod violation;
pub mod wire;

pub use session::Session;
pub use violation::{Code, Violation};
