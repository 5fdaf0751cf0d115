//! A run of the store in one thread, beside a naive model that knows what must, may and must not be
//! recovered.

use super::super::testing::{Disk, FailingLog, FailurePlan, MemoryLog};
use super::super::{Op, SETTLE_EVERY_MS, Stepper, Store};
use super::{append, message, recovered, settle};
use ::vhosts::{Message, Moment, QueueId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// One thing that a broker does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Publishes to so many queues, beginning with this one.
    Publish {
        first: u64,
        queues: u64,
        len: usize,
    },
    /// Acks one of the messages that are ready, before or after its append was submitted.
    Ack(prop::sample::Index),
    /// Submits the appends that another thread held back, so that settlements overtake them.
    Deliver,
    Delete(u64),
    Define(u8, Option<u8>),
    Submit,
    Step,
    Wait,
}

const QUEUES: u64 = 4;

pub(super) fn acts() -> impl Strategy<Value = Vec<Act>> {
    let len = prop_oneof![20 => 0_usize..200, 1 => 100_000_usize..600_000];
    let act = prop_oneof![
        12 => (0..QUEUES, 1..=3_u64, len).prop_map(|(first, queues, len)| Act::Publish { first, queues, len }),
        14 => any::<prop::sample::Index>().prop_map(Act::Ack),
        3 => Just(Act::Deliver),
        1 => (0..QUEUES).prop_map(Act::Delete),
        1 => (0_u8..3, any::<Option<u8>>()).prop_map(|(key, value)| Act::Define(key, value)),
        6 => Just(Act::Submit),
        4 => Just(Act::Step),
        2 => Just(Act::Wait),
    ];
    prop::collection::vec(act, 0..160)
}

type Target = (u64, u64);

/// What the broker did, in the words of the store's promise.
#[derive(Clone, Default)]
struct Facts {
    appended: BTreeSet<Target>,
    settled: BTreeSet<Target>,
    deleted: BTreeSet<u64>,
    /// Every change, in order.
    definitions: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

pub(super) struct Broker {
    store: Store,
    stepper: Stepper<FailingLog<MemoryLog>>,
    now: Moment,
    /// Where `Act::Publish` of a queue number goes: a deleted queue gets a new id.
    ids: [u64; QUEUES as usize],
    next_seqs: BTreeMap<u64, u64>,
    ready: Vec<(Target, Message)>,
    held: Vec<Op>,
    ops: Vec<Op>,
    /// All that was handed over, and the part of it that the store reported as safe.
    submitted: Facts,
    safe: Facts,
    /// Settlements that were on disk when a step ended with nothing left to write.
    settled_on_disk: BTreeSet<Target>,
    bodies: BTreeMap<Target, Vec<u8>>,
}

impl Broker {
    pub(super) fn new(disk: &Disk, plan: &FailurePlan) -> Broker {
        let (store, stepper, recovery) = Store::manual(FailingLog::new(disk.log(), plan.clone())).unwrap();
        assert!(recovery.messages.is_empty());
        Broker {
            store,
            stepper,
            now: Moment(1_000),
            ids: [0, 1, 2, 3],
            next_seqs: BTreeMap::new(),
            ready: Vec::new(),
            held: Vec::new(),
            ops: Vec::new(),
            submitted: Facts::default(),
            safe: Facts::default(),
            settled_on_disk: BTreeSet::new(),
            bodies: BTreeMap::new(),
        }
    }

    pub(super) fn act(&mut self, act: &Act) {
        match act {
            Act::Publish { first, queues, len } => self.publish(*first, *queues, *len),
            Act::Ack(which) if !self.ready.is_empty() => {
                let (target, message) = self.ready.swap_remove(which.index(self.ready.len()));
                self.ops.push(settle(&message, target));
            }
            Act::Ack(_) => {}
            Act::Deliver => self.ops.append(&mut self.held),
            Act::Delete(queue) => {
                let id = self.ids[*queue as usize];
                self.ids[*queue as usize] = id + QUEUES;
                self.ops.push(Op::Forget { queue: QueueId(id) });
            }
            Act::Define(key, value) => {
                self.ops.push(Op::Define { key: vec![*key], value: value.map(|value| vec![value]) });
            }
            Act::Submit => self.submit(),
            Act::Step => self.step(),
            Act::Wait => self.now = self.now.after_ms(SETTLE_EVERY_MS / 2),
        }
    }

    fn publish(&mut self, first: u64, queues: u64, len: usize) {
        let targets: Vec<Target> = (first..first + queues)
            .map(|queue| {
                let id = self.ids[(queue % QUEUES) as usize];
                let seq = self.next_seqs.entry(id).or_default();
                *seq += 1;
                (id, *seq)
            })
            .collect();
        let message = message(&targets, len);
        self.ready.extend(targets.iter().map(|target| (*target, message.clone())));
        self.bodies.extend(targets.iter().map(|target| (*target, message.body_bytes().to_vec())));
        let op = append(&message, &targets);
        if len.is_multiple_of(2) { self.ops.push(op) } else { self.held.push(op) }
    }

    fn submit(&mut self) {
        for op in &self.ops {
            match op {
                Op::Append { targets, .. } => {
                    self.submitted.appended.extend(targets.iter().map(|(queue, seq)| (queue.0, seq.0)));
                }
                Op::Settle { queue, seq, .. } => _ = self.submitted.settled.insert((queue.0, seq.0)),
                Op::Forget { queue } => _ = self.submitted.deleted.insert(queue.0),
                Op::Define { key, value } => self.submitted.definitions.push((key.clone(), value.clone())),
            }
        }
        self.store.submit(&mut self.ops);
        assert!(self.ops.is_empty());
    }

    fn step(&mut self) {
        self.stepper.step(self.now);
        let progress = self.store.progress();
        let (durable, failed) = (progress.borrow().durable, progress.borrow().failed.is_some());
        if !failed && durable == self.store.submit(&mut Vec::new()) {
            self.safe = self.submitted.clone();
            if self.stepper.deadline().is_none() {
                self.settled_on_disk = self.submitted.settled.clone();
            }
        }
    }

    /// Closes the store: everything is on disk.
    pub(super) fn close(&mut self) {
        self.ops.append(&mut self.held);
        self.submit();
        self.store.close().unwrap();
        self.step();
        assert!(self.store.close().is_ok());
        self.settled_on_disk = self.submitted.settled.clone();
    }

    /// Whether the store gave up.
    pub(super) fn has_failed(&self) -> bool {
        self.store.progress().borrow().failed.is_some()
    }

    /// Reads the disk back and holds it against the model.
    pub(super) fn check(&self, disk: &Disk) {
        let (store, mut stepper, recovery) = Store::manual(disk.log()).unwrap();
        let found = recovered(&recovery);
        for (target, body) in &found {
            assert!(self.submitted.appended.contains(target), "{target:?} out of nothing");
            assert!(!self.settled_on_disk.contains(target), "{target:?} was settled, and returned");
            assert!(!self.safe.deleted.contains(&target.0), "{target:?} of a deleted queue returned");
            assert!(self.bodies[target] == *body, "{target:?} has another body");
        }
        for target in &self.safe.appended {
            let gone = self.submitted.settled.contains(target) || self.submitted.deleted.contains(&target.0);
            assert!(gone || found.contains_key(target), "{target:?} was safe, and is lost");
        }
        let next_seqs: BTreeMap<_, _> =
            recovery.next_seqs.iter().map(|(queue, seq)| (queue.0, seq.0)).collect();
        for (queue, seq) in found.keys() {
            assert!(next_seqs[queue] > *seq, "the number {seq} of queue {queue} would be given again");
        }
        self.check_definitions(recovery.definitions.iter().cloned().collect());
        // What was recovered can be settled, and then nothing is left.
        let mut ops: Vec<_> = recovery
            .messages
            .iter()
            .flat_map(|found| {
                found.targets.iter().map(|(queue, seq)| settle(&found.message, (queue.0, seq.0)))
            })
            .collect();
        store.submit(&mut ops);
        store.close().unwrap();
        assert!(stepper.step(Moment(0)));
        assert_eq!((disk.groups(), disk.unsynced()), (0, 0), "groups are left");
    }

    /// A definition has its last safe value, or one that was submitted since.
    fn check_definitions(&self, found: BTreeMap<Vec<u8>, Vec<u8>>) {
        let (safe, since) = self.submitted.definitions.split_at(self.safe.definitions.len());
        for key in self.submitted.definitions.iter().map(|(key, _)| key) {
            let last = safe.iter().rfind(|(changed, _)| changed == key).and_then(|(_, value)| value.as_ref());
            let mut later = since.iter().filter(|(changed, _)| changed == key);
            let value = found.get(key);
            assert!(value == last || later.any(|(_, later)| later.as_ref() == value), "{key:?} is {value:?}");
        }
        assert!(found.keys().all(|key| self.submitted.definitions.iter().any(|(changed, _)| changed == key)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_clean_stop_keeps_exactly_what_is_ready(acts in acts()) {
        let disk = Disk::default();
        let mut broker = Broker::new(&disk, &FailurePlan::never());
        acts.iter().for_each(|act| broker.act(act));
        broker.close();
        let (_, _, recovery) = Store::manual(disk.log()).unwrap();
        prop_assert_eq!(recovery.torn, None);
        let facts = &broker.submitted;
        let expected: Vec<_> = (facts.appended.difference(&facts.settled))
            .filter(|target| !facts.deleted.contains(&target.0))
            .copied()
            .collect();
        prop_assert_eq!(recovered(&recovery).into_keys().collect::<Vec<_>>(), expected);
        broker.check(&disk);
    }
}
