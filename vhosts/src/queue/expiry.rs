//! When the time of a waiting message is up (RabbitMQ, "Time-To-Live and Expiration").
//!
//! A message lives as long as the shorter of the queue's time-to-live and its own `expiration`, counted from
//! its arrival, wherever in the queue it is: one that waits behind a longer-lived one expires on time too.
//!
//! Invariant: a place is in `deadlines` exactly while a message with a deadline waits there in memory, or a
//! page begins there that has one and was not asked for to expire.

use super::deadlines::Deadlines;
use super::ready::Place;
use crate::{Message, Moment};

/// The deadlines of the waiting messages of one queue.
#[derive(Debug, Default)]
pub struct Expiry {
    ttl_ms: Option<u64>,
    deadlines: Deadlines<Place>,
    /// So much was due at once that some of it is still there.
    pub is_behind: bool,
}

impl Expiry {
    /// With the time-to-live that the queue gives to each message.
    #[must_use]
    pub fn new(ttl_ms: Option<u64>) -> Expiry {
        Expiry { ttl_ms, ..Expiry::default() }
    }

    /// Whether no message that waits has a deadline.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    /// When the time of a message is up.
    #[must_use]
    #[inline]
    pub fn deadline(&self, message: &Message) -> Option<Moment> {
        if self.ttl_ms.is_none() && !message.marks().expires {
            return None;
        }
        let own = if message.marks().expires { message.properties().expiration_ms() } else { None };
        self.deadline_of(message.arrived(), own)
    }

    /// When the time of a message is up that came then, with its own time to live.
    #[must_use]
    pub fn deadline_of(&self, arrived: Moment, expiration_ms: Option<u64>) -> Option<Moment> {
        let ttl_ms = expiration_ms.into_iter().chain(self.ttl_ms).min()?;
        Some(arrived.after_ms(ttl_ms))
    }

    /// A message with that deadline, if it has one, waits at that place.
    pub fn enter(&mut self, place: Place, deadline: Option<Moment>) {
        if let Some(at) = deadline {
            self.deadlines.insert(at, place);
        }
    }

    /// It does not wait there any more. Says when its time is up, if that is still to be watched.
    pub fn leave(&mut self, place: Place, message: &Message) -> Option<Moment> {
        if self.deadlines.is_empty() {
            return None;
        }
        let at = self.deadline(message)?;
        self.deadlines.remove(at, place);
        Some(at)
    }

    /// Nothing at that place is to be watched any more.
    pub fn forget(&mut self, place: Place, deadline: Moment) {
        self.deadlines.remove(deadline, place);
    }

    /// The next deadline.
    #[must_use]
    pub fn first(&self) -> Option<Moment> {
        self.deadlines.first()
    }

    /// Takes out the place of a message whose time is up.
    pub fn pop_due(&mut self, now: Moment) -> Option<Place> {
        self.deadlines.pop_due(now)
    }

    /// No message waits any more.
    pub fn clear(&mut self) {
        self.deadlines.clear();
    }
}
