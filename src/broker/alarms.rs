//! When queues want to be looked at, because a message expires, a retry or an answer is due, or nobody uses
//! them.
//!
//! One list for all queues, no timer for each. A queue enters a moment when it is earlier than what it
//! entered before; that it then has two entries does no harm, since a queue that is looked at too early has
//! nothing to do.

use parking_lot::Mutex;
use std::collections::BTreeSet;
use tokio::sync::Notify;
use vhosts::{Moment, QueueId};

/// The moments of all queues.
#[derive(Debug, Default)]
pub struct Alarms {
    entries: Mutex<BTreeSet<(Moment, QueueId)>>,
    earlier: Notify,
}

impl Alarms {
    /// A queue wants to be looked at.
    pub fn set(&self, at: Moment, queue: QueueId) {
        let mut entries = self.entries.lock();
        let is_first = entries.first().is_none_or(|(first, _)| at < *first);
        entries.insert((at, queue));
        drop(entries);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Takes out a queue that is to be looked at now.
    pub fn pop_due(&self, now: Moment) -> Option<QueueId> {
        let mut entries = self.entries.lock();
        let (_, queue) = *entries.first().filter(|(at, _)| *at <= now)?;
        entries.pop_first();
        Some(queue)
    }

    /// The next moment.
    pub fn next(&self) -> Option<Moment> {
        self.entries.lock().first().map(|(at, _)| *at)
    }

    /// Waits until [`next`](Self::next) became earlier.
    pub async fn earlier(&self) {
        self.earlier.notified().await;
    }
}
