//! A running queue: the machine, a lock around it, and the way to its consumers' connections.
//!
//! Whoever brings work runs the machine, under the lock, for a whole batch: no task and no wake-up stands
//! between a publisher and a consumer. Effects are carried out before the lock is released, so that two
//! threads can not overtake each other.
//!
//! Invariant: `sinks` has an entry for each consumer of the machine, at its key, and `lanes` one for each of
//! their connections.

use super::outbox::{Item, Outbox};
use crate::store::{Op, Targets};
use parking_lot::{Mutex, MutexGuard};
use rabbit_compat::session::{Answer, ConsumerId, Grant};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use vhosts::queue::{ConsumerKey, ConsumerSpec, Counters, Delivery, Effect, ExclusiveUse};
use vhosts::topology::QueueHandle;
use vhosts::{Message, Queue, QueueDefinition, Refusal, Resource, Seq};

/// A running queue.
#[derive(Debug)]
pub struct LiveQueue {
    definition: QueueDefinition,
    running: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    queue: Queue,
    sinks: Vec<Option<Sink>>,
    lanes: Vec<Option<Lane>>,
    effects: Vec<Effect>,
    /// The lanes that the current batch has something for.
    touched: Vec<usize>,
    deleted: bool,
    /// A consumer was here; only then an auto-delete queue may go.
    was_used: bool,
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

/// A publish for one queue; `append` is where the batch keeps what must be stored.
#[derive(Debug)]
pub struct Incoming {
    /// The message.
    pub message: Message,
    /// Its place among the batch's [`Append`]s, if it is persistent.
    pub append: Option<usize>,
}

/// A persistent message of a batch, and the durable queues that it went to so far.
#[derive(Debug)]
pub struct Append {
    /// The message.
    pub message: Message,
    /// Where it is.
    pub targets: Targets,
}

/// What must hold for a queue to be deleted.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnlyIf {
    /// It has no consumers.
    pub unused: bool,
    /// It has no ready messages.
    pub empty: bool,
}

/// Numbers of a queue at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Messages that wait for a consumer.
    pub ready: usize,
    /// Messages that wait for an answer.
    pub unacked: usize,
    /// Consumers.
    pub consumers: usize,
    /// Since the start.
    pub counters: Counters,
}

impl LiveQueue {
    /// A queue with the messages that were recovered for it.
    pub fn new(definition: QueueDefinition, queue: Queue) -> LiveQueue {
        let running = Running {
            queue,
            sinks: Vec::new(),
            lanes: Vec::new(),
            effects: Vec::new(),
            touched: Vec::new(),
            deleted: false,
            was_used: false,
        };
        LiveQueue { definition, running: Mutex::new(running) }
    }

    /// Takes back a message that was stored before a restart.
    pub fn recover(&self, seq: Seq, message: Message) {
        self.running.lock().queue.recover(seq, message);
    }

    /// Takes in a batch of messages. What a deleted queue gets is gone, as if it had come before the delete.
    pub fn publish(&self, batch: &mut Vec<Incoming>, appends: &mut [Append], ops: &mut Vec<Op>) {
        let mut running = self.running.lock();
        if running.deleted {
            return batch.clear();
        }
        for Incoming { message, append } in batch.drain(..) {
            let Running { queue, effects, .. } = &mut *running;
            let seq = queue.publish(message, effects);
            if let Some(append) = append.filter(|_| self.definition.survives_restart()) {
                appends[append].targets.push((self.definition.id, seq));
            }
        }
        self.carry_out(running, ops);
    }

    /// Adds a consumer and hands it what is there.
    ///
    /// # Errors
    /// [`ExclusiveUse`].
    pub fn consume(
        &self,
        spec: ConsumerSpec,
        outbox: Arc<Outbox>,
        consumer: ConsumerId,
        ops: &mut Vec<Op>,
    ) -> Result<ConsumerKey, ExclusiveUse> {
        let mut running = self.running.lock();
        let key = running.queue.consume(spec)?;
        let at = key.0 as usize;
        if running.sinks.len() <= at {
            running.sinks.resize_with(at + 1, || None);
        }
        let lane = running.enter(outbox);
        running.sinks[at] = Some(Sink { lane, consumer });
        running.was_used = true;
        self.hand_out(running, ops);
        Ok(key)
    }

    /// Removes a consumer. True if that leaves an auto-delete queue without any.
    pub fn cancel(&self, key: ConsumerKey) -> bool {
        let mut running = self.running.lock();
        if running.queue.cancel(key) {
            running.leave(key);
        }
        self.definition.auto_delete && running.was_used && running.queue.consumers_len() == 0
    }

    /// Takes the oldest message, and says how many are left.
    pub fn get(&self, no_ack: bool, ops: &mut Vec<Op>) -> Option<(Delivery, usize)> {
        let mut running = self.running.lock();
        let Running { queue, effects, .. } = &mut *running;
        let delivery = queue.get(no_ack, effects)?;
        let left = queue.ready_len();
        self.carry_out(running, ops);
        Some((delivery, left))
    }

    /// Takes answers to deliveries of this queue.
    pub fn answer(&self, answers: &[Answer], ops: &mut Vec<Op>) {
        let mut running = self.running.lock();
        let Running { queue, effects, .. } = &mut *running;
        answers.iter().for_each(|answer| queue.answer(answer.delivery, answer.outcome, effects));
        self.hand_out(running, ops);
    }

    /// A consumer of this queue has more room.
    pub fn grant(&self, grant: Grant, ops: &mut Vec<Op>) {
        let mut running = self.running.lock();
        running.queue.grant(grant.consumer, grant.credit);
        self.hand_out(running, ops);
    }

    /// Removes all ready messages; says how many.
    pub fn purge(&self, ops: &mut Vec<Op>) -> usize {
        let mut running = self.running.lock();
        let Running { queue, effects, .. } = &mut *running;
        let purged = queue.purge(effects);
        self.carry_out(running, ops);
        purged
    }

    /// Empties the queue for good and tells its consumers. Says how many messages were ready.
    ///
    /// # Errors
    /// [`Refusal::InUse`] and [`Refusal::NotEmpty`], where that was a condition.
    pub fn delete(&self, only: OnlyIf, ops: &mut Vec<Op>) -> Result<usize, Refusal> {
        let mut running = self.running.lock();
        let name = &self.definition.name;
        if only.unused && running.queue.consumers_len() != 0 {
            return Err(Refusal::InUse(Resource::Queue, name.clone()));
        }
        if only.empty && running.queue.ready_len() != 0 {
            return Err(Refusal::NotEmpty(name.clone()));
        }
        running.deleted = true;
        let Running { queue, effects, .. } = &mut *running;
        let ready = queue.ready_len();
        queue.clear(effects);
        let gone: Vec<ConsumerKey> = queue.consumer_keys().collect();
        for key in gone {
            running.queue.cancel(key);
            if let Some((outbox, consumer)) = running.leave(key) {
                outbox.push(&mut vec![Item::Cancelled(consumer)]);
            }
        }
        self.carry_out(running, ops);
        Ok(ready)
    }

    /// Its numbers now.
    pub fn figures(&self) -> Figures {
        let running = self.running.lock();
        Figures {
            ready: running.queue.ready_len(),
            unacked: running.queue.unacked_len(),
            consumers: running.queue.consumers_len(),
            counters: running.queue.counters(),
        }
    }

    fn hand_out(&self, mut running: MutexGuard<'_, Running>, ops: &mut Vec<Op>) {
        let Running { queue, effects, .. } = &mut *running;
        queue.deliver(effects);
        self.carry_out(running, ops);
    }

    fn carry_out(&self, mut running: MutexGuard<'_, Running>, ops: &mut Vec<Op>) {
        let Running { effects, sinks, lanes, touched, .. } = &mut *running;
        for effect in effects.drain(..) {
            match effect {
                Effect::Deliver { consumer, delivery } => {
                    let Some(Some(sink)) = sinks.get(consumer.0 as usize) else { continue };
                    let Some(Some(lane)) = lanes.get_mut(sink.lane) else { continue };
                    if lane.items.is_empty() {
                        touched.push(sink.lane);
                    }
                    let queue = self.definition.id;
                    lane.items.push(Item::Delivery { consumer: sink.consumer, queue, delivery });
                }
                Effect::Settled { seq, message } => {
                    ops.push(Op::Settle { queue: self.definition.id, seq, message });
                }
            }
        }
        for lane in touched.drain(..) {
            if let Some(Some(lane)) = lanes.get_mut(lane) {
                lane.outbox.push(&mut lane.items);
            }
        }
    }
}

impl Running {
    /// The lane to a connection, which has one consumer more from now on.
    fn enter(&mut self, outbox: Arc<Outbox>) -> usize {
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

    /// Takes a consumer out; the lane goes with its last one.
    fn leave(&mut self, key: ConsumerKey) -> Option<(Arc<Outbox>, ConsumerId)> {
        let Sink { lane: at, consumer } = self.sinks.get_mut(key.0 as usize)?.take()?;
        let lane = self.lanes[at].as_mut()?;
        let outbox = lane.outbox.clone();
        lane.consumers -= 1;
        self.lanes[at].take_if(|lane| lane.consumers == 0);
        Some((outbox, consumer))
    }
}

/// How the topology names a running queue.
#[derive(Clone, Debug)]
pub struct QueueRef(pub Arc<LiveQueue>);

impl std::ops::Deref for QueueRef {
    type Target = LiveQueue;

    fn deref(&self) -> &LiveQueue {
        &self.0
    }
}

impl QueueHandle for QueueRef {
    fn definition(&self) -> &QueueDefinition {
        &self.0.definition
    }
}

impl PartialEq for QueueRef {
    fn eq(&self, other: &QueueRef) -> bool {
        self.0.definition.id == other.0.definition.id
    }
}

impl Eq for QueueRef {}

impl Hash for QueueRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.definition.id.hash(state);
    }
}
