//! Sockets: listeners, and a task for each connection.

mod buffers;
mod connection;
mod listener;

pub use listener::{Bound, bind, serve};

use std::time::{SystemTime, UNIX_EPOCH};
use vhosts::Moment;

/// What time it is, for machines.
pub fn now() -> Moment {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(since_epoch.as_millis() as u64)
}
