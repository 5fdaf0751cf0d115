//! The broker: virtual hosts, users, running queues, and the store below them.
//!
//! Everything here is synchronous and runs on the thread that brings the work; sockets and timers are in
//! `server`. The simulation drives it as it is.

mod batch;
mod client;
mod live_queue;
mod operations;
mod outbox;
pub mod records;
mod registry;
mod route_cache;
mod vhost;

pub use client::Client;
pub use live_queue::{Append, Figures, Incoming, LiveQueue, QueueRef};
pub use outbox::{Item, Outbox};
pub use registry::{Broker, Setup, StartError};
pub use vhost::Vhost;

use crate::store::Lsn;
use rabbit_compat::session::LogPosition;

impl From<Lsn> for LogPosition {
    fn from(lsn: Lsn) -> LogPosition {
        LogPosition(lsn.0)
    }
}
