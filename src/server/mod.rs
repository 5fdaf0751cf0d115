//! Sockets: listeners, and a task for each connection; and the few tasks that look after the broker.

mod alarms;
mod buffers;
mod connection;
mod listener;
mod resources;

pub use alarms::look_after_queues;
pub use listener::{Bound, bind, serve};
pub use resources::{DiskMonitor, watch_store};
