//! How many messages may be ready (RabbitMQ, "Queue Length Limit"). Only ready ones count, and of their
//! bytes only the bodies.

use super::ready::Ready;
use super::settings::{Limits, Overflow};

impl Limits {
    /// Whether that much more is refused, so that there are not too many.
    #[must_use]
    pub(super) fn refuse(&self, messages: u64, bytes: u64, ready: &Ready) -> bool {
        self.overflow != Overflow::DropHead
            && self.exceeded(ready.len() as u64 + messages, ready.bytes() + bytes)
    }

    /// Whether there are too many, and one has to go.
    #[must_use]
    pub(super) fn overflow(&self, ready: &Ready) -> bool {
        self.overflow == Overflow::DropHead && self.exceeded(ready.len() as u64, ready.bytes())
    }

    fn exceeded(&self, length: u64, bytes: u64) -> bool {
        self.max_length.is_some_and(|max| length > max)
            || self.max_length_bytes.is_some_and(|max| bytes > max)
    }
}
