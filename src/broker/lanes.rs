//! The ways from a running queue to its consumers' connections.
//!
//! Invariant: `sinks` has an entry for each consumer of the machine, at its key, and `lanes` one for each of
//! their connections.

use super::outbox::{Item, Outbox};
use rabbit_compat::session::ConsumerId;
use std::sync::Arc;
use vhosts::QueueId;
use vhosts::queue::{ConsumerKey, Delivery};

/// All ways of one queue.
#[derive(Debug, Default)]
pub struct Lanes {
    sinks: Vec<Option<Sink>>,
    lanes: Vec<Option<Lane>>,
    /// The lanes that the current batch has something for.
    touched: Vec<usize>,
}

/// The way to a consumer.
#[derive(Clone, Copy, Debug)]
struct Sink {
    lane: usize,
    consumer: ConsumerId,
}

/// The way to a connection. Its consumers share one, so that what goes to several consumers of a channel
/// arrives in the order of the queue (AMQP 0-9-1, section 4.7).
#[derive(Debug)]
struct Lane {
    outbox: Arc<Outbox>,
    consumers: usize,
    /// What the current batch has for it.
    items: Vec<Item>,
}

impl Lanes {
    /// A consumer came; what it gets goes to `outbox`.
    pub fn enter(&mut self, key: ConsumerKey, outbox: Arc<Outbox>, consumer: ConsumerId) {
        let at = key.0 as usize;
        if self.sinks.len() <= at {
            self.sinks.resize_with(at + 1, || None);
        }
        let lane = self.lane_to(outbox);
        self.sinks[at] = Some(Sink { lane, consumer });
    }

    /// A consumer goes; its lane goes with its last one. What the current batch has for it is sent before.
    pub fn leave(&mut self, key: ConsumerKey) -> Option<(Arc<Outbox>, ConsumerId)> {
        self.flush();
        let Sink { lane: at, consumer } = self.sinks.get_mut(key.0 as usize)?.take()?;
        let lane = self.lanes[at].as_mut()?;
        let outbox = lane.outbox.clone();
        lane.consumers -= 1;
        self.lanes[at].take_if(|lane| lane.consumers == 0);
        Some((outbox, consumer))
    }

    /// A delivery joins the current batch.
    pub fn deliver(&mut self, key: ConsumerKey, queue: QueueId, delivery: Delivery) {
        let Some(Some(sink)) = self.sinks.get(key.0 as usize) else { return };
        let Some(Some(lane)) = self.lanes.get_mut(sink.lane) else { return };
        if lane.items.is_empty() {
            self.touched.push(sink.lane);
        }
        lane.items.push(Item::Delivery { consumer: sink.consumer, queue, delivery });
    }

    /// Sends the current batch.
    pub fn flush(&mut self) {
        for lane in self.touched.drain(..) {
            if let Some(Some(lane)) = self.lanes.get_mut(lane) {
                lane.outbox.push(&mut lane.items);
            }
        }
    }

    /// The lane to a connection, which has one consumer more from now on.
    fn lane_to(&mut self, outbox: Arc<Outbox>) -> usize {
        let is_it =
            |lane: &Option<Lane>| lane.as_ref().is_some_and(|lane| Arc::ptr_eq(&lane.outbox, &outbox));
        let known = self.lanes.iter().position(is_it);
        let at = known.or_else(|| self.lanes.iter().position(Option::is_none)).unwrap_or(self.lanes.len());
        if at == self.lanes.len() {
            self.lanes.push(None);
        }
        let lane = self.lanes[at].get_or_insert_with(|| Lane { outbox, consumers: 0, items: Vec::new() });
        lane.consumers += 1;
        at
    }
}
