//! Messages that were handed out and wait for an answer.
//!
//! Invariant: `bytes` is the sum of their bodies; a delivery is in `timeouts` exactly while it is unacked and
//! its consumer has a timeout.

use super::ConsumerKey;
use super::deadlines::Deadlines;
use super::ready::{Entry, Place};
use crate::window::Window;
use crate::{DeliveryId, Moment};

/// A message that was handed out.
#[derive(Debug)]
pub struct HandedOut {
    /// The message.
    pub entry: Entry,
    /// Where it goes when it comes back.
    pub place: Place,
    /// To whom; none: it was taken by `basic.get`.
    pub consumer: Option<ConsumerKey>,
    /// When.
    pub since: Moment,
}

/// The unacked messages of one queue.
#[derive(Debug)]
pub struct Unacked {
    deliveries: Window<HandedOut>,
    bytes: u64,
    timeouts: Deadlines<DeliveryId>,
}

impl Unacked {
    /// None yet.
    #[must_use]
    pub fn new() -> Unacked {
        Unacked { deliveries: Window::starting_at(1), bytes: 0, timeouts: Deadlines::default() }
    }

    /// Messages that wait for an answer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Bytes of their bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A message was handed out, and must be answered within `timeout_ms`, if there is such a limit.
    pub fn insert(&mut self, handed_out: HandedOut, timeout_ms: Option<u64>) -> DeliveryId {
        self.bytes += handed_out.entry.message.body_len();
        let since = handed_out.since;
        let id = DeliveryId(self.deliveries.push(handed_out));
        if let Some(timeout_ms) = timeout_ms {
            self.timeouts.insert(since.after_ms(timeout_ms), id);
        }
        id
    }

    /// Who has that delivery; nothing if nobody has.
    #[must_use]
    pub fn at(&self, id: DeliveryId) -> Option<&HandedOut> {
        self.deliveries.at(id.0)
    }

    /// Takes a delivery out. If it had a timeout, that is to be forgotten too.
    pub fn remove(&mut self, id: DeliveryId) -> Option<HandedOut> {
        let handed_out = self.deliveries.remove(id.0)?;
        self.bytes -= handed_out.entry.message.body_len();
        Some(handed_out)
    }

    /// Whether any delivery has a timeout.
    #[must_use]
    pub fn has_timeouts(&self) -> bool {
        !self.timeouts.is_empty()
    }

    /// A delivery that was handed out then, with that timeout, is not unacked any more.
    pub fn forget_timeout(&mut self, id: DeliveryId, since: Moment, timeout_ms: u64) {
        self.timeouts.remove(since.after_ms(timeout_ms), id);
    }

    /// Takes out the oldest delivery.
    pub fn pop(&mut self) -> Option<HandedOut> {
        let (_, handed_out) = self.deliveries.pop()?;
        self.bytes -= handed_out.entry.message.body_len();
        if self.deliveries.is_empty() {
            self.timeouts.clear();
        }
        Some(handed_out)
    }

    /// When the first answer is overdue.
    #[must_use]
    pub fn first_timeout(&self) -> Option<Moment> {
        self.timeouts.first()
    }

    /// A delivery whose answer is overdue; its timeout is over.
    pub fn pop_overdue(&mut self, now: Moment) -> Option<DeliveryId> {
        self.timeouts.pop_due(now)
    }

    /// The deliveries, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &HandedOut> {
        self.deliveries.iter().map(|(_, handed_out)| handed_out)
    }
}
