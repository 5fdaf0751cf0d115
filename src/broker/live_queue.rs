//! A running queue: the machine, a lock around it, and the way to its consumers' connections.
//!
//! Whoever brings work runs the machine, under the lock, for a whole batch: no task and no wake-up stands
//! between a publisher and a consumer. What goes to consumers goes there before the lock is released, so that
//! two threads can not overtake each other; everything else is left in a [`Work`].

use super::batch::{Incoming, Shared};
use super::lanes::Lanes;
use super::letters::Outgoing;
use super::outbox::{Item, Outbox};
use super::paging::Paging;
use super::work::Work;
use crate::store::{Note, Op, Safety, Targets};
use parking_lot::{Mutex, MutexGuard};
use rabbit_compat::session::{Answer, ConsumerId, Grant};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use vhosts::queue::{
    Browse, Browsed, Carried, ConsumerKey, ConsumerSpec, Counters, Delivery, Effect, ExclusiveUse, Full,
    History, LetterId, Page, Rates, Settings, Waits, Where,
};
use vhosts::topology::QueueHandle;
use vhosts::{Message, Moment, Name, Place, Queue, QueueDefinition, Refusal, Resource, Seq};

/// A running queue.
#[derive(Debug)]
pub struct LiveQueue {
    vhost: Name,
    definition: QueueDefinition,
    settings: Settings,
    /// Has what is not in memory; none where nothing is kept.
    paging: Option<Paging>,
    running: Mutex<Running>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) queue: Queue,
    lanes: Lanes,
    effects: Vec<Effect>,
    pub(super) outgoing: Outgoing,
    /// When an alarm will look at the queue.
    alarm: Option<Moment>,
    deleted: bool,
    /// What was told of its messages in memory.
    counted: u64,
    /// A consumer was here; only then an auto-delete queue may go.
    was_used: bool,
}

/// What must hold for a queue to be deleted.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnlyIf {
    /// It has no consumers.
    pub unused: bool,
    /// It has no ready messages.
    pub empty: bool,
    /// It was not used for as long as it may be, at that time.
    pub expired: Option<Moment>,
}

/// So many messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub messages: usize,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// Numbers of a queue at one moment.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Messages that wait for a consumer.
    pub ready: Amount,
    /// Those of them that are in the store alone.
    pub paged: Amount,
    /// Messages that wait for an answer.
    pub unacked: Amount,
    /// Messages that wait to become ready again.
    pub delayed: Amount,
    /// Messages on their way to the dead-letter exchange.
    pub dead_lettered: usize,
    /// When the oldest ready message arrived.
    pub oldest: Option<Moment>,
    /// Consumers.
    pub consumers: usize,
    /// Since the start.
    pub counters: Counters,
    /// How long messages waited.
    pub waits: Waits,
}

impl LiveQueue {
    /// A queue of a virtual host. One that survives a restart gives out numbers from `next_seq` on.
    pub fn new(
        vhost: Name,
        definition: QueueDefinition,
        next_seq: Seq,
        paging: Option<Paging>,
        now: Moment,
    ) -> LiveQueue {
        let settings = definition.settings();
        let queue = Queue::new(&settings, definition.survives_restart(), next_seq, now);
        let running = Running {
            queue,
            lanes: Lanes::default(),
            effects: Vec::new(),
            outgoing: Outgoing::default(),
            alarm: None,
            deleted: false,
            counted: 0,
            was_used: false,
        };
        LiveQueue { vhost, definition, settings, paging, running: Mutex::new(running) }
    }

    /// What it was declared with.
    pub fn definition(&self) -> &QueueDefinition {
        &self.definition
    }

    /// The virtual host that it belongs to.
    pub fn vhost(&self) -> &Name {
        &self.vhost
    }

    /// What it does.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes in a batch of messages. What a deleted queue gets is gone, as if it had come before the delete.
    pub fn publish(&self, incoming: &mut Vec<Incoming>, shared: &mut Shared, now: Moment, work: &mut Work) {
        let mut locked = self.lock();
        incoming.drain(..).for_each(|incoming| locked.publish(incoming, shared, now));
        locked.carry_out(work);
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
        now: Moment,
        work: &mut Work,
    ) -> Result<ConsumerKey, ExclusiveUse> {
        let mut locked = self.lock();
        let key = locked.running.queue.consume(spec)?;
        locked.running.lanes.enter(key, outbox, consumer);
        locked.running.was_used = true;
        locked.deliver(now, work);
        Ok(key)
    }

    /// Removes a consumer; the next one may take over. True if that leaves an auto-delete queue without any.
    pub fn cancel(&self, key: ConsumerKey, now: Moment, work: &mut Work) -> bool {
        let mut locked = self.lock();
        if locked.running.queue.cancel(key, now) {
            locked.running.lanes.leave(key);
        }
        let is_left = self.definition.auto_delete
            && locked.running.was_used
            && locked.running.queue.consumers_len() == 0;
        locked.deliver(now, work);
        is_left
    }

    /// Takes the next message that is in memory, and says how many are left.
    pub fn get(&self, no_ack: bool, now: Moment, work: &mut Work) -> Option<(Delivery, usize)> {
        let mut locked = self.lock();
        let Running { queue, effects, .. } = &mut *locked.running;
        let delivery = queue.get(no_ack, now, effects);
        let left = queue.ready_len();
        locked.carry_out(work);
        Some((delivery?, left))
    }

    /// The next message is in the store alone, and its page with it.
    pub fn next_page(&self) -> Option<Arc<Page>> {
        self.running.lock().queue.next_page()
    }

    /// Takes answers to deliveries of this queue.
    pub fn answer(&self, answers: &[Answer], now: Moment, work: &mut Work) {
        let mut locked = self.lock();
        locked.answer(answers, now);
        locked.deliver(now, work);
    }

    /// A consumer of this queue has more room.
    pub fn grant(&self, grant: Grant, now: Moment, work: &mut Work) {
        let mut locked = self.lock();
        locked.running.queue.grant(grant.consumer, grant.credit);
        locked.deliver(now, work);
    }

    /// Removes all waiting messages; says how many.
    pub fn purge(&self, work: &mut Work) -> usize {
        let mut locked = self.lock();
        let Running { queue, effects, .. } = &mut *locked.running;
        let purged = queue.purge(effects);
        locked.carry_out(work);
        purged
    }

    /// Does what is due. True if the queue is to go, because nobody uses it.
    pub fn tick(&self, now: Moment, work: &mut Work) -> bool {
        let mut locked = self.lock();
        let Running { queue, effects, alarm, .. } = &mut *locked.running;
        *alarm = None;
        queue.tick(now, effects);
        let is_unused = queue.unused_at().is_some_and(|at| at <= now);
        locked.carry_out(work);
        is_unused
    }

    /// Somebody asked for the queue, so it is not unused. Says how many ready messages and consumers it has.
    pub fn touch(&self, now: Moment, work: &mut Work) -> (usize, usize) {
        let mut locked = self.lock();
        locked.running.queue.touch(now);
        locked.set_alarm(work);
        (locked.running.queue.ready_len(), locked.running.queue.consumers_len())
    }

    /// Empties the queue for good and tells its consumers. Says how many messages were ready.
    ///
    /// # Errors
    /// [`Refusal::InUse`] and [`Refusal::NotEmpty`], where that was a condition.
    pub fn delete(&self, only: OnlyIf, work: &mut Work) -> Result<usize, Refusal> {
        let mut locked = self.lock();
        let Running { queue, effects, lanes, deleted, .. } = &mut *locked.running;
        let name = &self.definition.name;
        let used = only.expired.is_some_and(|now| queue.unused_at().is_none_or(|at| at > now));
        if used || (only.unused && queue.consumers_len() != 0) {
            return Err(Refusal::InUse(Resource::Queue, name.clone()));
        }
        if only.empty && queue.ready_len() != 0 {
            return Err(Refusal::NotEmpty(name.clone()));
        }
        *deleted = true;
        let ready = queue.ready_len();
        queue.clear(effects);
        for key in queue.consumer_keys() {
            if let Some((outbox, consumer)) = lanes.leave(key) {
                outbox.push(&mut vec![Item::Cancelled(consumer)]);
            }
        }
        locked.carry_out(work);
        Ok(ready)
    }

    /// Its numbers now.
    pub fn figures(&self) -> Figures {
        let queue = &self.running.lock().queue;
        Figures {
            ready: Amount { messages: queue.ready_len(), bytes: queue.ready_bytes() },
            paged: Amount { messages: queue.paged().messages as usize, bytes: queue.paged().bytes },
            unacked: Amount { messages: queue.unacked_len(), bytes: queue.unacked_bytes() },
            delayed: Amount { messages: queue.delayed_len(), bytes: queue.delayed_bytes() },
            dead_lettered: queue.letters_len(),
            oldest: queue.oldest(),
            consumers: queue.consumers_len(),
            counters: queue.counters(),
            waits: queue.waits().clone(),
        }
    }

    /// Messages per second over the last seconds.
    pub fn rates(&self, now: Moment) -> Rates {
        self.running.lock().queue.rates(now)
    }

    /// Messages as they lie in the queue; see [`Queue::browse`]. Those that are in the store alone are read, and
    /// left out if that is not possible.
    pub fn browse(&self, which: Browse, skip: usize, count: usize) -> Vec<Browsed> {
        let mut browsed = self.running.lock().queue.browse(which, skip, count);
        let stored = |browsed: &Browsed| match browsed.message {
            Where::Stored(place) => Some(place),
            Where::Here(_) => None,
        };
        let places: Vec<Place> = browsed.iter().filter_map(stored).collect();
        let read =
            self.paging.as_ref().and_then(|paging| paging.reader.read(&places).ok()).unwrap_or_default();
        let mut read = read.into_iter();
        browsed.retain_mut(|browsed| match browsed.message {
            Where::Here(_) => true,
            Where::Stored(_) => match read.next().flatten() {
                Some(message) => {
                    browsed.message = Where::Here(message);
                    true
                }
                None => false,
            },
        });
        browsed
    }

    /// The queue for as long as nobody else may use it. Who locks several does so in the order of their ids.
    pub(super) fn lock(&self) -> Locked<'_> {
        Locked { live: self, running: self.running.lock() }
    }
}

/// A running queue that nobody else may use now.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    live: &'a LiveQueue,
    pub(super) running: MutexGuard<'a, Running>,
}

impl Locked<'_> {
    /// Takes in a message.
    pub(super) fn publish(&mut self, incoming: Incoming, shared: &mut Shared, now: Moment) {
        let Running { queue, effects, deleted, .. } = &mut *self.running;
        if *deleted {
            return;
        }
        let id = self.live.definition.id;
        match queue.publish(incoming.message, now, effects) {
            Ok(seq) => {
                if self.live.definition.survives_restart() {
                    shared.stored(incoming.append, id, seq, self.live.settings.sync_mode);
                }
            }
            Err(Full) => shared.refused(incoming.number, id),
        }
    }

    /// Whether the queue would refuse that much more.
    pub(super) fn is_full_for(&self, messages: u64, bytes: u64) -> bool {
        !self.running.deleted && self.running.queue.is_full_for(messages, bytes)
    }

    /// Takes answers to deliveries of this queue.
    pub(super) fn answer(&mut self, answers: &[Answer], now: Moment) {
        let Running { queue, effects, .. } = &mut *self.running;
        answers.iter().for_each(|answer| queue.answer(answer.delivery, answer.outcome, now, effects));
    }

    /// Tells the machine what became of a dead letter.
    pub(super) fn carried(&mut self, letter: LetterId, carried: Carried, now: Moment) {
        let Running { queue, effects, .. } = &mut *self.running;
        queue.carried(letter, carried, now, effects);
    }

    /// Messages of a page were read.
    pub(super) fn fetched(&mut self, page: &Arc<Page>, messages: Vec<Option<Message>>, now: Moment) {
        let Running { queue, effects, .. } = &mut *self.running;
        queue.fetched(page, messages, now, effects);
    }

    /// Hands out what can be handed out, and does what the machine wants.
    pub(super) fn deliver(&mut self, now: Moment, work: &mut Work) {
        let Running { queue, effects, .. } = &mut *self.running;
        queue.deliver(now, effects);
        self.carry_out(work);
    }

    /// Does what the machine wants.
    pub(super) fn carry_out(&mut self, work: &mut Work) {
        let queue = self.live.definition.id;
        let Running { queue: machine, effects, lanes, outgoing, counted, .. } = &mut *self.running;
        if let Some(paging) = &self.live.paging {
            paging.page_out(machine, counted, effects);
        }
        for effect in effects.drain(..) {
            match effect {
                Effect::Deliver { consumer, delivery } => lanes.deliver(consumer, queue, delivery),
                Effect::Settled { seq, message } => work.ops.push(Op::Settle { queue, seq, message }),
                Effect::Noted { seq, message, history, due } => {
                    let note = Note { acquired: history.acquired, failed: history.failed, due };
                    work.ops.push(Op::Note { queue, seq, message, note });
                }
                Effect::Spill { seq, message } => {
                    let (targets, safety) = (Targets::from_buf([(queue, seq)]), Safety::Spilled);
                    work.ops.push(Op::Append { message, targets, safety });
                }
                Effect::Fetch { page } => work.fetches.push_back((queue, page)),
                Effect::SettledPaged { page, which } => {
                    let places = page.places(which.as_deref());
                    work.ops.push(Op::Purge { queue, places });
                }
                Effect::Died { letter, message, reason } => outgoing.push(letter, message, reason),
                Effect::Dropped { history, .. } => self.live.report_dropped(history),
                Effect::TimedOut { consumer, timeout_ms } => {
                    if let Some((outbox, consumer)) = lanes.leave(consumer) {
                        outbox.push(&mut vec![Item::TimedOut { consumer, timeout_ms }]);
                    }
                }
            }
        }
        lanes.flush();
        if self.running.outgoing.wants_carrier() {
            work.mail.push(queue);
        }
        self.set_alarm(work);
    }

    fn set_alarm(&mut self, work: &mut Work) {
        let Running { queue, alarm, deleted, .. } = &mut *self.running;
        if let Some(at) = queue.deadline()
            && alarm.is_none_or(|set| at < set)
            && !*deleted
        {
            *alarm = Some(at);
            work.alarms.push((at, self.live.definition.id));
        }
    }
}

impl LiveQueue {
    fn report_dropped(&self, history: History) {
        tracing::warn!(
            vhost = &*self.vhost,
            queue = &*self.definition.name,
            delivery_count = history.failed,
            "a message was dropped: it failed more often than x-delivery-limit allows, and the queue has no \
             x-dead-letter-exchange"
        );
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
