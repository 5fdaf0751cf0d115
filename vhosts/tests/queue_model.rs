//! The queue machine equals a naive model of a queue: a sorted list, a map, and a stamp for each consumer.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use proptest::prelude::*;
use std::collections::BTreeMap;
use vhosts::queue::{ConsumerKey, ConsumerSpec, Counters, Delivery, Effect, Outcome};
use vhosts::{DeliveryId, Message, Queue, Seq};

#[derive(Clone, Debug)]
enum Op {
    Publish {
        persistent: bool,
        len: u8,
    },
    Consume(ConsumerSpec),
    Deliver,
    Cancel(prop::sample::Index),
    Get {
        no_ack: bool,
    },
    Answer(prop::sample::Index, Outcome),
    /// To a delivery that is not unacked.
    AnswerUnknown(u8),
    Grant(prop::sample::Index, u8),
    Purge,
}

fn spec() -> impl Strategy<Value = ConsumerSpec> {
    (any::<bool>(), prop::bool::weighted(0.1), 0_u16..4, 0_u32..6).prop_map(
        |(no_ack, exclusive, prefetch, credit)| ConsumerSpec { no_ack, exclusive, prefetch, credit },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let outcome =
        prop_oneof![2 => Just(Outcome::Settle), 1 => Just(Outcome::Requeue), 1 => Just(Outcome::Undelivered)];
    let at = any::<prop::sample::Index>;
    prop_oneof![
        10 => (any::<bool>(), any::<u8>()).prop_map(|(persistent, len)| Op::Publish { persistent, len }),
        3 => spec().prop_map(Op::Consume),
        4 => Just(Op::Deliver),
        1 => at().prop_map(Op::Cancel),
        2 => any::<bool>().prop_map(|no_ack| Op::Get { no_ack }),
        8 => (at(), outcome).prop_map(|(at, outcome)| Op::Answer(at, outcome)),
        1 => any::<u8>().prop_map(Op::AnswerUnknown),
        3 => (at(), 0_u8..4).prop_map(|(at, credit)| Op::Grant(at, credit)),
        1 => Just(Op::Purge),
    ]
}

/// A message in the model; messages are told apart by their routing key.
#[derive(Clone, Debug)]
struct Entry {
    seq: u64,
    name: String,
    persistent: bool,
    len: u64,
    redelivered: bool,
}

#[derive(Clone, Debug)]
struct Consumer {
    spec: ConsumerSpec,
    unacked: u16,
    cancelled: bool,
    /// When it was served last, or became able to be.
    waits_since: Option<u64>,
}

/// An effect in words that can be compared.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Deliver(ConsumerKey, Given),
    Settled(u64, String),
}

/// A delivery: its number, its message and whether it is a redelivery.
type Given = (Option<u64>, String, bool);

#[derive(Default)]
struct Model {
    durable: bool,
    next_seq: u64,
    ready: Vec<Entry>,
    unacked: BTreeMap<u64, (Entry, Option<ConsumerKey>)>,
    deliveries: u64,
    consumers: BTreeMap<ConsumerKey, Consumer>,
    stamps: u64,
    counters: Counters,
}

impl Model {
    fn put(&mut self, entry: Entry) {
        self.ready.push(entry);
        self.ready.sort_by_key(|entry| entry.seq);
    }

    fn settle(&mut self, entry: Entry, said: &mut Vec<Said>) {
        self.counters.settled += 1;
        if self.durable && entry.persistent {
            said.push(Said::Settled(entry.seq, entry.name));
        }
    }

    fn hand_out(&mut self, consumer: Option<ConsumerKey>, no_ack: bool, said: &mut Vec<Said>) -> Given {
        let entry = self.ready.remove(0);
        self.counters.redelivered += u64::from(entry.redelivered);
        let (name, redelivered) = (entry.name.clone(), entry.redelivered);
        if no_ack {
            self.settle(entry, said);
            return (None, name, redelivered);
        }
        self.deliveries += 1;
        self.unacked.insert(self.deliveries, (entry, consumer));
        (Some(self.deliveries), name, redelivered)
    }

    fn deliver(&mut self, said: &mut Vec<Said>) {
        while !self.ready.is_empty() {
            self.stamp();
            let next = self.consumers.iter_mut().filter(|(_, consumer)| consumer.waits_since.is_some());
            let Some((key, consumer)) = next.min_by_key(|(_, consumer)| consumer.waits_since) else { return };
            let (key, no_ack) = (*key, consumer.spec.no_ack);
            consumer.spec.credit -= 1;
            consumer.unacked += u16::from(!no_ack);
            consumer.waits_since = None;
            self.counters.delivered += 1;
            self.counters.delivered_no_ack += u64::from(no_ack);
            let given = self.hand_out(Some(key), no_ack, said);
            said.push(Said::Deliver(key, given));
        }
    }

    fn get(&mut self, no_ack: bool, said: &mut Vec<Said>) -> Option<Given> {
        if self.ready.is_empty() {
            return None;
        }
        self.counters.got += 1;
        self.counters.got_no_ack += u64::from(no_ack);
        Some(self.hand_out(None, no_ack, said))
    }

    /// Whoever may take a message, and did not wait, waits from now on.
    fn stamp(&mut self) {
        for consumer in self.consumers.values_mut() {
            let ConsumerSpec { no_ack, prefetch, credit, .. } = consumer.spec;
            let full = !no_ack && prefetch != 0 && consumer.unacked >= prefetch;
            if !consumer.cancelled && credit > 0 && !full {
                self.stamps += 1;
                consumer.waits_since.get_or_insert(self.stamps);
            } else {
                consumer.waits_since = None;
            }
        }
    }

    fn answer(&mut self, id: u64, outcome: Outcome, said: &mut Vec<Said>) {
        let Some((entry, consumer)) = self.unacked.remove(&id) else { return };
        if let Some(consumer) = consumer.and_then(|key| self.consumers.get_mut(&key)) {
            consumer.unacked -= 1;
        }
        match outcome {
            Outcome::Settle => self.settle(entry, said),
            Outcome::Requeue => self.put(Entry { redelivered: true, ..entry }),
            Outcome::Undelivered => self.put(entry),
        }
    }

    fn live(&self) -> Vec<ConsumerKey> {
        self.consumers.iter().filter(|(_, consumer)| !consumer.cancelled).map(|(key, _)| *key).collect()
    }

    fn bytes<'a>(entries: impl Iterator<Item = &'a Entry>) -> u64 {
        entries.map(|entry| entry.len).sum()
    }
}

fn message(name: &str, persistent: bool, len: u64) -> Message {
    let properties: &[u8] = if persistent { &[0x10, 0, 2] } else { &[0, 0] };
    Message::new("", name.as_bytes(), properties, &vec![b'x'; len as usize]).unwrap()
}

fn name(message: &Message) -> String {
    String::from_utf8(message.routing_key().to_vec()).unwrap()
}

fn given(delivery: &Delivery) -> Given {
    (delivery.id.map(|id| id.0), name(&delivery.message), delivery.redelivered)
}

fn said(effects: Vec<Effect>) -> Vec<Said> {
    let said = effects.into_iter().map(|effect| match effect {
        Effect::Deliver { consumer, delivery } => Said::Deliver(consumer, given(&delivery)),
        Effect::Settled { seq, message } => Said::Settled(seq.0, name(&message)),
    });
    said.collect()
}

/// The machine and the model, side by side.
struct Pair {
    queue: Queue,
    model: Model,
}

impl Pair {
    fn new(durable: bool, recovered: &[u64]) -> Pair {
        let first = 100;
        let mut queue = Queue::new(durable, Seq(first));
        let mut model = Model { durable, next_seq: first, ..Model::default() };
        for seq in recovered {
            let entry =
                Entry { seq: *seq, name: format!("old {seq}"), persistent: true, len: 3, redelivered: false };
            queue.recover(Seq(*seq), message(&entry.name, true, 3));
            model.next_seq = model.next_seq.max(seq + 1);
            model.counters.published += 1;
            model.put(entry);
        }
        Pair { queue, model }
    }

    fn apply(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let Pair { queue, model } = self;
        let (mut effects, mut expected) = (Vec::new(), Vec::new());
        match op {
            Op::Publish { persistent, len } => {
                let (seq, len) = (model.next_seq, u64::from(*len));
                let entry =
                    Entry { seq, name: format!("{seq}"), persistent: *persistent, len, redelivered: false };
                let got = queue.publish(message(&entry.name, *persistent, len), &mut effects);
                prop_assert_eq!(got, Seq(seq));
                model.next_seq += 1;
                model.counters.published += 1;
                model.put(entry);
                model.deliver(&mut expected);
            }
            Op::Consume(spec) => self.consume(*spec)?,
            Op::Deliver => {
                queue.deliver(&mut effects);
                model.deliver(&mut expected);
            }
            Op::Cancel(at) if !model.live().is_empty() => {
                let key = *at.get(&model.live());
                prop_assert!(queue.cancel(key));
                prop_assert!(!queue.cancel(key));
                model.consumers.get_mut(&key).unwrap().cancelled = true;
            }
            Op::Get { no_ack } => {
                let got = queue.get(*no_ack, &mut effects);
                prop_assert_eq!(got.as_ref().map(given), model.get(*no_ack, &mut expected));
            }
            Op::Answer(at, outcome) if !model.unacked.is_empty() => {
                let ids: Vec<u64> = model.unacked.keys().copied().collect();
                let id = *at.get(&ids);
                queue.answer(DeliveryId(id), *outcome, &mut effects);
                model.answer(id, *outcome, &mut expected);
            }
            Op::AnswerUnknown(ahead) => {
                let id = DeliveryId(model.deliveries + 1 + u64::from(*ahead));
                queue.answer(id, Outcome::Settle, &mut effects);
            }
            Op::Grant(at, credit) if !model.live().is_empty() => {
                let key = *at.get(&model.live());
                queue.grant(key, u32::from(*credit));
                model.consumers.get_mut(&key).unwrap().spec.credit += u32::from(*credit);
            }
            Op::Purge => {
                let purged = std::mem::take(&mut model.ready);
                prop_assert_eq!(queue.purge(&mut effects), purged.len());
                purged.into_iter().for_each(|entry| model.settle(entry, &mut expected));
            }
            Op::Cancel(_) | Op::Answer(..) | Op::Grant(..) => {}
        }
        self.model.stamp();
        prop_assert_eq!(said(effects), expected);
        self.compare()
    }

    fn consume(&mut self, spec: ConsumerSpec) -> Result<(), TestCaseError> {
        let live = self.model.live();
        let taken = live.iter().any(|key| self.model.consumers[key].spec.exclusive);
        let refused = taken || (spec.exclusive && !live.is_empty());
        let result = self.queue.consume(spec);
        prop_assert_eq!(result.is_err(), refused);
        let Ok(key) = result else { return Ok(()) };
        let consumer = Consumer { spec, unacked: 0, cancelled: false, waits_since: None };
        if let Some(before) = self.model.consumers.insert(key, consumer) {
            prop_assert!(before.cancelled && before.unacked == 0, "{:?} is still in use", key);
        }
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let Pair { queue, model } = self;
        let unacked = || model.unacked.values().map(|(entry, _)| entry);
        prop_assert_eq!(queue.ready_len(), model.ready.len());
        prop_assert_eq!(queue.ready_bytes(), Model::bytes(model.ready.iter()));
        prop_assert_eq!(queue.unacked_len(), model.unacked.len());
        prop_assert_eq!(queue.unacked_bytes(), Model::bytes(unacked()));
        prop_assert_eq!(queue.consumer_keys().collect::<Vec<_>>(), model.live());
        prop_assert_eq!(queue.consumers_len(), model.live().len());
        let counters = queue.counters();
        prop_assert_eq!(counters, model.counters);
        let present = (queue.ready_len() + queue.unacked_len()) as u64;
        prop_assert_eq!(counters.published, present + counters.settled);
        for consumer in model.consumers.values() {
            let prefetch = consumer.spec.prefetch;
            prop_assert!(consumer.spec.no_ack || prefetch == 0 || consumer.unacked <= prefetch);
        }
        Ok(())
    }

    /// Before a queue is deleted, nothing is left in it, and late answers find nothing.
    fn clear(mut self) -> Result<(), TestCaseError> {
        let (mut effects, mut expected) = (Vec::new(), Vec::new());
        self.queue.clear(&mut effects);
        let ready = std::mem::take(&mut self.model.ready);
        let unacked = std::mem::take(&mut self.model.unacked);
        for entry in ready.into_iter().chain(unacked.values().map(|(entry, _)| entry.clone())) {
            self.model.settle(entry, &mut expected);
        }
        prop_assert_eq!(said(effects), expected);
        self.compare()?;
        let mut late = Vec::new();
        unacked.keys().for_each(|id| self.queue.answer(DeliveryId(*id), Outcome::Requeue, &mut late));
        prop_assert!(late.is_empty());
        self.compare()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_queue_equals_its_model(
        durable in any::<bool>(),
        recovered in prop::collection::btree_set(1_u64..200, 0..12),
        order in any::<prop::sample::Index>(),
        ops in prop::collection::vec(op(), 0..150),
    ) {
        // Recovery is not always in the order of the numbers.
        let mut recovered: Vec<u64> = recovered.into_iter().collect();
        if !recovered.is_empty() {
            let middle = order.index(recovered.len());
            recovered.rotate_left(middle);
        }
        let mut pair = Pair::new(durable, &recovered);
        pair.compare()?;
        for op in &ops {
            pair.apply(op)?;
        }
        pair.clear()?;
    }
}
