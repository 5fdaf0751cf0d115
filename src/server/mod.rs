//! Sockets: listeners, and a task for each connection.

mod buffers;
mod connection;
mod listener;

pub use listener::{Bound, bind, serve};
