//! One consumer at a time (RabbitMQ, "Single Active Consumer").
//!
//! The one with the highest priority is served, and among equals the one that came first. When it goes, the
//! next takes over at once. When one with a higher priority comes, the active one gets nothing more, and the
//! new one takes over when it has answered all that it has: so the order of messages is kept. If the new one goes
//! before that, the active one goes on.
//!
//! Invariant: `active` was not cancelled.

use super::consumers::{ConsumerKey, Consumers};
use std::cmp::Reverse;

/// Who is served.
#[derive(Debug, Default)]
pub struct SingleActive {
    active: Option<ConsumerKey>,
    /// It was active, and must answer its last messages before another can be.
    leaving: Option<ConsumerKey>,
}

impl SingleActive {
    /// Whether it is that one.
    #[must_use]
    pub fn is_active(&self, key: ConsumerKey) -> bool {
        self.active == Some(key)
    }

    /// Looks who should be served, after someone came, went or answered. Says who is from now on, if that
    /// is another one.
    pub fn elect(&mut self, consumers: &Consumers) -> Option<ConsumerKey> {
        let busy =
            |key: ConsumerKey| consumers.live().any(|(other, consumer)| other == key && consumer.unacked > 0);
        let is_live = |key: ConsumerKey| consumers.live().any(|(other, _)| other == key);
        self.leaving = self.leaving.filter(|key| busy(*key));
        self.active = self.active.filter(|key| is_live(*key));
        let rank = |(_, consumer): &(_, &super::consumers::Consumer)| {
            (consumer.spec.priority, Reverse(consumer.arrival))
        };
        let (first, _) = consumers.live().max_by_key(rank)?;
        if self.active == Some(first) || self.leaving.is_some_and(|key| key != first) {
            return None;
        }
        self.leaving = self.active.take().filter(|key| busy(*key));
        if self.leaving.is_none() {
            self.active = Some(first);
        }
        self.active
    }
}
