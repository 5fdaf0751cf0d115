//! What must hold, in the most naive form: for each queue, a list of every message that ever went there, and
//! what is known of it.
//!
//! Most is known exactly, because what the broker writes is looked at in the order in which it writes. What
//! is not (a frame that was handed over and perhaps not carried out, a purge while deliveries are under way)
//! makes an entry [`Presence::Maybe`], and nothing is demanded of it but that it does not appear twice.

use super::models::{
    ConsumerModel, ConsumerName, Entry, MessageId, Presence, Published, QueueModel, Tally, body,
};
use haremq::broker::Vhost;
use haremq::store::SETTLE_EVERY_MS;
use std::collections::{BTreeMap, BTreeSet};
use vhosts::headers;
use vhosts::properties::Properties;
use vhosts::queue::History;
use vhosts::topology::QueueHandle;
use vhosts::{Message, Moment, Name, QueueId};

/// A delivery as the oracle sees it.
pub struct Delivered<'a> {
    pub queue: QueueId,
    pub connection: u32,
    pub channel: u16,
    pub get: bool,
    pub no_ack: bool,
    pub redelivered: bool,
    pub exchange: &'a str,
    pub routing_key: &'a str,
    pub properties: &'a [u8],
    pub body: &'a [u8],
}

/// Everything that is known.
#[derive(Default)]
pub struct Oracle {
    pub tick: u64,
    pub queues: BTreeMap<QueueId, QueueModel>,
    pub published: Vec<Published>,
    /// Names of queues that somebody asked to delete.
    pub doomed: BTreeSet<String>,
    pub tally: Tally,
    /// The disk may not have been readable in this life.
    pub reads_fail: bool,
    positions: u64,
    /// Settlements that the store was not stepped after.
    settled: Vec<(QueueId, MessageId)>,
    /// Settlements that will be written at the first step from that moment on.
    settling: Vec<(Moment, QueueId, MessageId)>,
}

impl Oracle {
    /// Takes note of queues that came and went.
    pub fn look_at_topology(&mut self, vhost: &Vhost) {
        let topology = vhost.topology().load();
        let mut there = BTreeSet::new();
        for queue in topology.queues() {
            let definition = queue.definition();
            there.insert(definition.id);
            self.queues.entry(definition.id).or_insert_with(|| QueueModel {
                name: definition.name.to_string(),
                durable: definition.durable,
                exclusive: definition.owner.is_some(),
                auto_delete: definition.auto_delete,
                ..QueueModel::default()
            });
        }
        for (id, queue) in &mut self.queues {
            if !queue.deleted && !there.contains(id) {
                let may_go = queue.exclusive || queue.auto_delete || self.doomed.contains(&queue.name);
                assert!(may_go, "queue {} went without being asked to", queue.name);
                (queue.deleted, queue.deleted_at) = (true, self.tick);
            }
        }
    }

    /// The queue of that name as it is now, or was a moment ago.
    pub fn queue_named(&self, name: &str) -> Option<QueueId> {
        let there = |queue: &QueueModel| !queue.deleted || queue.deleted_at == self.tick;
        self.queues.iter().rfind(|(_, queue)| there(queue) && queue.name == name).map(|(id, _)| *id)
    }

    pub fn queue(&mut self, id: QueueId) -> &mut QueueModel {
        self.queues.get_mut(&id).expect("a queue that was declared")
    }

    /// A publish may have been carried out just now, to these queues.
    pub fn possible(&mut self, id: MessageId, queues: &BTreeSet<QueueId>) {
        self.positions += 1;
        for queue in queues {
            let (position, ready_since) = (self.positions, self.tick);
            let persistent = self.published[id as usize].persistent;
            let queue = self.queues.get_mut(queue).expect("routed to a queue that was declared");
            queue.entries.entry(id).or_insert(Entry {
                presence: Presence::Possible,
                exact: false,
                position,
                handed: false,
                handed_before: false,
                is_uncertain: false,
                held: false,
                blurred: false,
                deliveries: 0,
                ready_since,
                confirmed: false,
                persistent,
                is_fragile: false,
                settled_on_disk: false,
                may_be_back: false,
            });
        }
    }

    /// A publish was carried out: to all of `always`, and perhaps to the others of `possible`.
    pub fn certain(&mut self, id: MessageId, possible: &BTreeSet<QueueId>, always: &BTreeSet<QueueId>) {
        let published = &self.published[id as usize];
        let lost = published.mandatory && possible.is_empty() && !published.returned;
        assert!(!lost, "message {id} went nowhere, and was not returned");
        for queue in possible {
            let Some(entry) = self.queue(*queue).entries.get_mut(&id) else { continue };
            let exact = entry.ready_since == self.tick;
            let entry = self.queue(*queue).entries.get_mut(&id).expect("seen above");
            entry.exact |= exact;
            if entry.presence == Presence::Possible {
                entry.presence = if always.contains(queue) { Presence::Sure } else { Presence::Maybe };
            }
        }
    }

    /// It will never be known whether a publish was carried out.
    pub fn uncertain(&mut self, id: MessageId, possible: &BTreeSet<QueueId>) {
        for queue in possible {
            if let Some(entry) = self.queue(*queue).entries.get_mut(&id)
                && entry.presence == Presence::Possible
            {
                entry.presence = Presence::Maybe;
            }
        }
    }

    pub fn confirmed(&mut self, id: MessageId) {
        self.tally.confirmed += 1;
        for queue in self.queues.values_mut() {
            if let Some(entry) = queue.entries.get_mut(&id) {
                entry.confirmed = true;
            }
        }
    }

    /// The content of a message is what was published; says which one it is.
    pub fn identify(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: &[u8],
        content: &[u8],
    ) -> MessageId {
        let id = u64::from_be_bytes(*content.first_chunk().expect("a body of ours"));
        let published = self.published.get(id as usize).expect("a message that was published");
        assert!(content == body(id, published.body_len), "message {id} has another body");
        assert!(properties == shown(published, history_in(properties)), "message {id} has other properties");
        assert_eq!(
            (exchange, routing_key),
            (&*published.exchange, &*published.routing_key),
            "message {id} has another address"
        );
        id
    }

    /// A message was written to a client. Says which, and the number of its delivery.
    pub fn delivered(&mut self, delivery: &Delivered<'_>) -> (MessageId, u64) {
        let Delivered { queue, no_ack, redelivered, exchange, routing_key, .. } = *delivery;
        let id = self.identify(exchange, routing_key, delivery.properties, delivery.body);
        self.tally.delivered += 1;
        self.tally.redelivered += u64::from(redelivered);
        self.check_order(delivery, id);
        let name = self.queue(queue).name.clone();
        let Some(entry) = self.queues.get_mut(&queue).and_then(|queue| queue.entries.get_mut(&id)) else {
            panic!("message {id} was never published to queue {name}")
        };
        assert!(
            entry.presence != Presence::Gone,
            "message {id} came out of queue {name} after it was settled"
        );
        assert!(!entry.held, "message {id} of queue {name} is with another consumer");
        // After a crash the broker does not know, and rather says so once too often.
        let must = entry.handed || (entry.is_uncertain && entry.handed_before);
        let may = must || entry.handed_before || entry.is_uncertain;
        assert!(
            if redelivered { may } else { !must },
            "redelivered flag of message {id} of queue {name}: {redelivered}"
        );
        entry.handed = true;
        entry.held = !no_ack;
        entry.blurred = false;
        entry.deliveries += 1;
        entry.presence = if no_ack { Presence::Gone } else { Presence::Sure };
        let number = entry.deliveries;
        self.tally.acked_and_back += u64::from(std::mem::take(&mut entry.may_be_back));
        if no_ack {
            self.settled.push((queue, id));
        }
        (id, number)
    }

    fn check_order(&mut self, delivery: &Delivered<'_>, id: MessageId) {
        let (tick, publisher) = (self.tick, self.published[id as usize].publisher);
        let at = self.published[id as usize].at;
        let queue = self.queues.get_mut(&delivery.queue).expect("a queue that was declared");
        let alone = queue.consumers.keys().all(|(connection, ..)| *connection == delivery.connection);
        let several = queue.consumers.len() > 1;
        if several && queue.consumers.values().any(|consumer| consumer.limited) {
            queue.disturbed_at = tick;
        }
        if !delivery.redelivered && !delivery.get {
            let newest =
                queue.newest.entry(((delivery.connection, delivery.channel), publisher)).or_insert(id);
            // What was published before a disturbance may have been handed out before it.
            let counts = self.published[*newest as usize].at > queue.disturbed_at;
            let name = &queue.name;
            assert!(
                !counts || *newest <= id,
                "queue {name}: message {id} came after {newest} of its publisher"
            );
            *newest = id;
        }
        let Some(this) = queue.entries.get(&id).filter(|entry| entry.exact) else { return };
        // When it was handed out at the earliest: messages that were ready before had to go first.
        let earliest = match (delivery.get, queue.consumers.is_empty()) {
            (true, true) => tick,
            (false, false)
                if alone && !(several && queue.consumers.values().any(|consumer| consumer.limited)) =>
            {
                at
            }
            _ => return,
        };
        let first = queue.entries.iter().find(|(_, other)| {
            other.presence == Presence::Sure
                && other.exact
                && !other.held
                && other.position < this.position
                && other.ready_since.max(queue.steady_since) < earliest
        });
        assert!(first.is_none(), "queue {}: message {id} overtook {first:?}", queue.name);
    }

    /// A client answered a delivery, and the answer may have been carried out.
    pub fn perhaps_answered(&mut self, queue: QueueId, id: MessageId, delivery: u64) {
        let entry = self.queue(queue).entries.get_mut(&id).expect("it was delivered");
        if entry.deliveries == delivery && entry.held {
            entry.held = false;
            entry.presence = Presence::Maybe;
        }
    }

    /// The answer was carried out.
    pub fn settled(&mut self, queue: QueueId, id: MessageId, delivery: u64) {
        let name = self.queue(queue).name.clone();
        let entry = self.queue(queue).entries.get_mut(&id).expect("it was delivered");
        assert_eq!(
            entry.deliveries, delivery,
            "message {id} of queue {name} was delivered again after its ack"
        );
        entry.held = false;
        entry.presence = Presence::Gone;
        self.settled.push((queue, id));
    }

    /// A message went back to its queue.
    pub fn requeued(&mut self, queue: QueueId, id: MessageId, delivery: u64) {
        let tick = self.tick;
        let entry = self.queue(queue).entries.get_mut(&id).expect("it was delivered");
        if entry.deliveries == delivery {
            entry.held = false;
            entry.presence = if entry.blurred || entry.is_fragile { Presence::Maybe } else { Presence::Sure };
            entry.ready_since = tick;
        }
    }

    /// All ready messages of a queue went; which were ready is not known.
    pub fn purged(&mut self, queue: QueueId) {
        let tick = self.tick;
        let queue = self.queue(queue);
        queue.steady_since = tick;
        queue.blur();
    }

    pub fn consumer_came(&mut self, queue: QueueId, name: ConsumerName, consumer: ConsumerModel) {
        let tick = self.tick;
        let queue = self.queue(queue);
        queue.consumers.insert(name, consumer);
        if queue.consumers.values().any(|consumer| consumer.limited) {
            queue.disturbed_at = tick;
        }
        queue.steady_since = tick;
    }

    /// A consumer ended; with `disturbing`, deliveries to it may have gone back unseen.
    pub fn consumer_went(&mut self, queue: QueueId, consumer: &ConsumerName, disturbing: bool) {
        let tick = self.tick;
        let queue = self.queue(queue);
        let limited = queue.consumers.values().any(|consumer| consumer.limited);
        let gone = queue.consumers.remove(consumer);
        queue.steady_since = tick;
        if disturbing || limited {
            queue.disturbed_at = tick;
        }
        if disturbing && gone.is_some_and(|consumer| consumer.no_ack) {
            queue.blur();
        }
    }

    /// The disk refused something. What was settled waits, and what is in the store only to be out of memory may
    /// be lost.
    pub fn stalled(&mut self) {
        self.tally.stalled += 1;
        self.settled.extend(self.settling.drain(..).map(|(_, queue, id)| (queue, id)));
        for queue in self.queues.values_mut() {
            let durable = queue.durable;
            for entry in queue.entries.values_mut().filter(|entry| !(durable && entry.persistent)) {
                entry.is_fragile = true;
                if entry.presence == Presence::Sure && !entry.held {
                    entry.presence = Presence::Maybe;
                }
            }
        }
    }

    /// `basic.get` found nothing.
    pub fn found_nothing(&self, queue: QueueId) {
        let queue = &self.queues[&queue];
        if self.reads_fail || !queue.consumers.is_empty() {
            return;
        }
        let is_there = |entry: &&Entry| {
            entry.presence == Presence::Sure
                && entry.exact
                && !entry.held
                && entry.ready_since.max(queue.steady_since) < self.tick
        };
        let missed = queue.entries.values().find(is_there);
        assert!(missed.is_none(), "queue {} has {missed:?}", queue.name);
    }

    /// The store was stepped, without an error.
    pub fn stepped(&mut self, now: Moment) {
        let (done, waiting) = std::mem::take(&mut self.settling).into_iter().partition(|(at, ..)| *at <= now);
        self.settling = waiting;
        let done: Vec<(Moment, QueueId, MessageId)> = done;
        done.into_iter().for_each(|(_, queue, id)| self.note_on_disk(queue, id));
        let due = now.after_ms(SETTLE_EVERY_MS);
        self.settling.extend(self.settled.drain(..).map(|(queue, id)| (due, queue, id)));
    }

    fn note_on_disk(&mut self, queue: QueueId, id: MessageId) {
        if let Some(entry) = self.queue(queue).entries.get_mut(&id) {
            entry.settled_on_disk = true;
        }
    }

    /// The broker is gone, and a new one recovered. With `clean`, everything had been written.
    pub fn restarted(&mut self, vhost: &Vhost, clean: bool) {
        let topology = vhost.topology().load();
        let there: BTreeSet<QueueId> = topology.queues().map(|queue| queue.definition().id).collect();
        if clean {
            std::mem::take(&mut self.settled)
                .into_iter()
                .for_each(|(queue, id)| self.note_on_disk(queue, id));
            let settling = std::mem::take(&mut self.settling);
            settling.into_iter().for_each(|(_, queue, id)| self.note_on_disk(queue, id));
        }
        self.settled.clear();
        self.settling.clear();
        self.reads_fail = false;
        let names: BTreeSet<Name> = topology.queues().map(|queue| queue.definition().name.clone()).collect();
        assert_eq!(names.len(), there.len(), "two queues of one name");
        for id in &there {
            assert!(self.queues.contains_key(id), "a queue out of nothing");
        }
        for (id, queue) in &mut self.queues {
            (queue.steady_since, queue.disturbed_at) = (self.tick, self.tick);
            queue.restarted(there.contains(id), clean);
        }
        // What is not there never comes back; its number may be given again if nothing of it was on disk.
        self.queues.retain(|id, _| there.contains(id));
        for queue in topology.queues() {
            let figures = queue.figures();
            let model = self.queue(queue.definition().id);
            let (sure, all) = model.counts();
            self.tally.recovered += figures.ready.messages as u64;
            assert!(
                (sure..=all).contains(&figures.ready.messages),
                "queue {} recovered {} messages, not {sure} to {all}",
                queue.definition().name,
                figures.ready.messages
            );
        }
    }

    /// What every queue's numbers must say, whatever is under way.
    pub fn check(&mut self, vhost: &Vhost) {
        for queue in vhost.topology().load().queues() {
            let (name, figures) = (&queue.definition().name, queue.figures());
            let counters = figures.counters;
            self.tally.paged += u64::from(figures.paged.messages > 0);
            let (ready, unacked) = (figures.ready.messages as u64, figures.unacked.messages as u64);
            assert_eq!(ready + unacked + counters.settled, counters.published, "counters of queue {name}");
            let model = &self.queues[&queue.definition().id];
            let (sure, all) = model.counts();
            let there = figures.ready.messages + figures.unacked.messages;
            let unseen = model.consumers.values().any(|consumer| consumer.no_ack);
            let sure = if unseen { 0 } else { sure };
            assert!((sure..=all).contains(&there), "queue {name} has {there} messages, not {sure} to {all}");
            let held = model.entries.values().filter(|entry| entry.held).count();
            assert!(
                held <= figures.unacked.messages,
                "queue {name}: {held} are held, and {} unacked",
                figures.unacked.messages
            );
            assert_eq!(model.consumers.len(), figures.consumers, "consumers of queue {name}");
        }
    }
}

/// What the broker says of the deliveries before.
fn history_in(properties: &[u8]) -> History {
    let headers = Properties::parse(properties).expect("properties of the broker").headers;
    let count = |name| headers.and_then(|headers| headers::find(headers, name)).and_then(headers::long);
    let count = |name| count(name).unwrap_or_default() as u32;
    let (acquired, failed) = (count("x-acquired-count"), count("x-delivery-count"));
    History { acquired, failed, ..History::default() }
}

/// The properties of a message with that history.
fn shown(published: &Published, history: History) -> Vec<u8> {
    let message = Message::new("", b"", &published.properties, b"").expect("properties of ours");
    message.delivered_properties(history).into_owned()
}
