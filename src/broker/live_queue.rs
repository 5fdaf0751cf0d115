//! A running queue: the machine, a lock around it, and the way to its consumers' connections.
//!
//! Whoever brings work runs the machine, under the lock, for a whole batch: no task and no wake-up stands
//! between a publisher and a consumer. Effects are carried out before the lock is released, so that two
//! threads can not overtake each other.
//!
//! Invariant: `sinks` has an entry for each consumer of the machine, at its key.

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
    effects: Vec<Effect>,
    touched: Vec<ConsumerKey>,
    deleted: bool,
    /// A consumer was here; only then an auto-delete queue may go.
    was_used: bool,
}

/// The way to a consumer.
#[derive(Debug)]
struct Sink {
    outbox: Arc<Outbox>,
    consumer: ConsumerId,
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
        running.sinks[at] = Some(Sink { outbox, consumer, items: Vec::new() });
        running.was_used = true;
        self.hand_out(running, ops);
        Ok(key)
    }

    /// Removes a consumer. True if that leaves an auto-delete queue without any.
    pub fn cancel(&self, key: ConsumerKey) -> bool {
        let mut running = self.running.lock();
        if running.queue.cancel(key) {
            running.sinks[key.0 as usize] = None;
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
            if let Some(sink) = running.sinks[key.0 as usize].take() {
                sink.outbox.push(&mut vec![Item::Cancelled(sink.consumer)]);
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
        let Running { effects, sinks, touched, .. } = &mut *running;
        for effect in effects.drain(..) {
            match effect {
                Effect::Deliver { consumer, delivery } => {
                    let Some(Some(sink)) = sinks.get_mut(consumer.0 as usize) else { continue };
                    if sink.items.is_empty() {
                        touched.push(consumer);
                    }
                    let queue = self.definition.id;
                    sink.items.push(Item::Delivery { consumer: sink.consumer, queue, delivery });
                }
                Effect::Settled { seq, message } => {
                    ops.push(Op::Settle { queue: self.definition.id, seq, message });
                }
            }
        }
        for consumer in touched.drain(..) {
            if let Some(Some(sink)) = sinks.get_mut(consumer.0 as usize) {
                sink.outbox.push(&mut sink.items);
            }
        }
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
