//! What queues have for one connection.
//!
//! A queue puts deliveries in while it holds its own lock, and never waits: consumers only get as many as
//! they gave credit for, so the box is bounded. The connection takes everything out when it has room to
//! write.

use parking_lot::Mutex;
use rabbit_compat::Violation;
use rabbit_compat::session::ConsumerId;
use std::collections::VecDeque;
use tokio::sync::Notify;
use vhosts::QueueId;
use vhosts::queue::Delivery;

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
    /// The queue of a consumer is gone.
    Cancelled(ConsumerId),
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

    /// Swaps everything that is in for the empty `room`.
    pub fn take(&self, room: &mut VecDeque<Item>) {
        std::mem::swap(&mut *self.items.lock(), room);
    }

    /// Whether nothing is in.
    pub fn is_empty(&self) -> bool {
        self.items.lock().is_empty()
    }

    /// Waits until something was put into an empty box.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }
}
