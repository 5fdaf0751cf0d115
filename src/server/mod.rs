//! Sockets: listeners, and a task for each connection.

mod alarms;
mod buffers;
mod connection;
mod listener;

pub use alarms::look_after_queues;
pub use listener::{Bound, bind, serve};
