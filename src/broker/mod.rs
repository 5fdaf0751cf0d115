//! The broker: virtual hosts, users, running queues, and the store below them.
//!
//! Everything here is synchronous and runs on the thread that brings the work; sockets and timers are in
//! `server`. The simulation drives it as it is.

mod alarms;
mod batch;
mod client;
mod lanes;
mod letters;
mod live_queue;
mod operations;
mod outbox;
mod paging;
mod publishing;
pub mod records;
mod registry;
mod replies;
mod resources;
mod route_cache;
mod transaction;
mod vhost;
mod work;

pub use batch::Batch;
pub use client::Client;
pub use live_queue::{Amount, Figures, LiveQueue, QueueRef};
pub use outbox::{Item, Outbox};
pub use paging::RESIDENT;
pub use registry::{Broker, Setup, StartError};
pub use resources::{DiskSpace, Levels};
pub use vhost::Vhost;
pub use work::Work;

use crate::store::Lsn;
use rabbit_compat::session::LogPosition;

impl From<Lsn> for LogPosition {
    fn from(lsn: Lsn) -> LogPosition {
        LogPosition(lsn.0)
    }
}
