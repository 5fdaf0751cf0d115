//! What queues have for one connection.
//!
//! A queue puts deliveries in while it holds its own lock, and never waits: consumers only get as many as
//! they gave credit for, so the box is bounded. The connection takes everything out when it has room to
//! write. Only replies come without credit; see [`Outbox::offer`].

use parking_lot::Mutex;
use rabbit_compat::Violation;
use rabbit_compat::session::ConsumerId;
use std::collections::VecDeque;
use tokio::sync::Notify;
use vhosts::queue::Delivery;
use vhosts::{Message, QueueId};

/// Items in a box to which no more is added that was not asked for.
const UNASKED_MAX: usize = 64 * 1024;

/// Something for a connection.
#[derive(Debug)]
pub enum Item {
    /// A message for one of its consumers.
    Delivery {
        /// Which consumer.
        consumer: ConsumerId,
        /// The queue that it comes from.
        queue: QueueId,
        /// The message.
        delivery: Delivery,
    },
    /// A reply for a consumer that waits for replies.
    Reply {
        /// Which consumer.
        consumer: ConsumerId,
        /// The message.
        message: Message,
    },
    /// The queue of a consumer is gone.
    Cancelled(ConsumerId),
    /// A consumer kept a message for too long, and was removed.
    TimedOut {
        /// Which consumer.
        consumer: ConsumerId,
        /// How long it had, in milliseconds.
        timeout_ms: u64,
    },
    /// The broker wants the connection to end.
    Close(Violation),
}

/// The way from queues to a connection.
#[derive(Debug, Default)]
pub struct Outbox {
    items: Mutex<VecDeque<Item>>,
    filled: Notify,
}

impl Outbox {
    /// Puts items in, in order, and wakes the connection if it may be waiting.
    pub fn push(&self, new: &mut Vec<Item>) {
        let mut items = self.items.lock();
        let was_empty = items.is_empty();
        items.extend(new.drain(..));
        drop(items);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Puts an item in that nobody gave credit for. False if there is no room for such.
    pub fn offer(&self, item: Item) -> bool {
        let mut items = self.items.lock();
        let fits = items.len() < UNASKED_MAX;
        let was_empty = items.is_empty();
        if fits {
            items.push_back(item);
        }
        drop(items);
        if fits && was_empty {
            self.filled.notify_one();
        }
        fits
    }

    /// Swaps everything that is in for the empty `room`.
    pub fn take(&self, room: &mut VecDeque<Item>) {
        std::mem::swap(&mut *self.items.lock(), room);
    }

    /// Whether nothing is in.
    pub fn is_empty(&self) -> bool {
        self.items.lock().is_empty()
    }

    /// Wakes the connection though nothing was put in: something else may have changed for it.
    pub fn wake(&self) {
        self.filled.notify_one();
    }

    /// Waits until something was put into an empty box, or until [`wake`](Self::wake).
    pub async fn filled(&self) {
        self.filled.notified().await;
    }
}
