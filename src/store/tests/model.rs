//! A run of the store in one thread, beside a naive model that knows what must, may and must not be
//! recovered.

use super::super::log::Log;
use super::super::testing::{Disk, FailingLog, FailurePlan, MemoryLog, recover};
use super::super::{Note, Op, SETTLE_EVERY_MS, Stepper, Store};
use super::{append, is_same, message, note, numbered_note, recovered, settle, settle_all, transaction};
use ::vhosts::{Message, Moment, QueueId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// To so many queues, beginning with this one.
#[derive(Clone, Debug)]
pub(super) struct Publish {
    first: u64,
    queues: u64,
    len: usize,
}

/// One thing that a broker does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Publish(Publish),
    /// Acks one of the messages that are ready, before or after its append was submitted.
    Ack(prop::sample::Index),
    /// Notes something about one of the messages that are ready.
    Note(prop::sample::Index),
    /// Notes something about a message that was acked.
    LateNote(prop::sample::Index),
    /// Moves one of the messages that are ready to another queue.
    DeadLetter(prop::sample::Index, u64),
    /// Publishes and acks in one transaction.
    Commit(Vec<Publish>, Vec<prop::sample::Index>),
    /// Submits the appends and the transactions that another thread held back, so that settlements overtake
    /// them.
    Deliver,
    Delete(u64),
    Define(u8, Option<u8>),
    Submit,
    Step,
    Wait,
}

const QUEUES: u64 = 4;

fn publish() -> impl Strategy<Value = Publish> {
    let len = prop_oneof![20 => 0_usize..200, 1 => 100_000_usize..600_000];
    (0..QUEUES, 1..=3_u64, len).prop_map(|(first, queues, len)| Publish { first, queues, len })
}

pub(super) fn acts() -> impl Strategy<Value = Vec<Act>> {
    let which = any::<prop::sample::Index>;
    let commit = (prop::collection::vec(publish(), 0..4), prop::collection::vec(which(), 0..4));
    let act = prop_oneof![
        12 => publish().prop_map(Act::Publish),
        12 => which().prop_map(Act::Ack),
        8 => which().prop_map(Act::Note),
        1 => which().prop_map(Act::LateNote),
        3 => (which(), 0..QUEUES).prop_map(|(which, queue)| Act::DeadLetter(which, queue)),
        4 => commit.prop_map(|(publishes, acks)| Act::Commit(publishes, acks)),
        3 => Just(Act::Deliver),
        1 => (0..QUEUES).prop_map(Act::Delete),
        1 => (0_u8..3, any::<Option<u8>>()).prop_map(|(key, value)| Act::Define(key, value)),
        6 => Just(Act::Submit),
        5 => Just(Act::Step),
        3 => Just(Act::Wait),
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
    /// Every note, in order.
    notes: Vec<(Target, Note)>,
    /// Where each dead-lettered message was, and where its copy is.
    moved: Vec<(Target, Target)>,
    /// What each transaction appends and settles.
    transactions: Vec<(Vec<Target>, Vec<Target>)>,
}

impl Facts {
    fn is_gone(&self, target: &Target) -> bool {
        self.settled.contains(target) || self.deleted.contains(&target.0)
    }
}

pub(super) struct Broker {
    store: Store,
    stepper: Stepper<FailingLog<MemoryLog>>,
    now: Moment,
    /// Where `Act::Publish` of a queue number goes: a deleted queue gets a new id.
    ids: [u64; QUEUES as usize],
    next_seqs: BTreeMap<u64, u64>,
    ready: Vec<(Target, Message)>,
    acked: Vec<(Target, Message)>,
    held: Vec<Op>,
    ops: Vec<Op>,
    notes: u32,
    moving: Vec<(Target, Target)>,
    /// All that was handed over, and the part of it that the store reported as safe.
    submitted: Facts,
    safe: Facts,
    /// Settlements that were on disk when a step ended with nothing left to write.
    settled_on_disk: BTreeSet<Target>,
    /// The same for notes: how many of all notes had been handed over then.
    noted_on_disk: BTreeMap<Target, usize>,
    /// The message of each target, and all of its targets.
    messages: BTreeMap<Target, (Message, Vec<Target>)>,
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
            acked: Vec::new(),
            held: Vec::new(),
            ops: Vec::new(),
            notes: 0,
            moving: Vec::new(),
            submitted: Facts::default(),
            safe: Facts::default(),
            settled_on_disk: BTreeSet::new(),
            noted_on_disk: BTreeMap::new(),
            messages: BTreeMap::new(),
        }
    }

    pub(super) fn act(&mut self, act: &Act) {
        match act {
            Act::Publish(publish) => {
                let (message, targets) = self.publish(publish);
                let op = append(&message, &targets);
                if publish.len.is_multiple_of(2) { self.ops.push(op) } else { self.held.push(op) }
            }
            Act::Ack(which) => {
                let taken = self.take(which);
                self.ops.extend(taken.map(|(target, message)| settle(&message, target)));
            }
            Act::Note(which) => self.note(which, false),
            Act::LateNote(which) => self.note(which, true),
            Act::DeadLetter(which, queue) => self.dead_letter(which, *queue),
            Act::Commit(publishes, acks) => self.commit(publishes, acks),
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

    fn publish(&mut self, publish: &Publish) -> (Message, Vec<Target>) {
        let targets: Vec<Target> = (publish.first..publish.first + publish.queues)
            .map(|queue| {
                let id = self.ids[(queue % QUEUES) as usize];
                let seq = self.next_seqs.entry(id).or_default();
                *seq += 1;
                (id, *seq)
            })
            .collect();
        let message = message(&targets, publish.len);
        self.ready.extend(targets.iter().map(|target| (*target, message.clone())));
        self.messages.extend(targets.iter().map(|target| (*target, (message.clone(), targets.clone()))));
        (message, targets)
    }

    fn take(&mut self, which: &prop::sample::Index) -> Option<(Target, Message)> {
        if self.ready.is_empty() {
            return None;
        }
        let taken = self.ready.swap_remove(which.index(self.ready.len()));
        self.acked.push(taken.clone());
        Some(taken)
    }

    fn note(&mut self, which: &prop::sample::Index, late: bool) {
        let from = if late { &self.acked } else { &self.ready };
        if !from.is_empty() {
            let (target, message) = &from[which.index(from.len())];
            self.notes += 1;
            self.ops.push(note(message, *target, numbered_note(self.notes)));
        }
    }

    fn dead_letter(&mut self, which: &prop::sample::Index, queue: u64) {
        let Some((from, original)) = self.take(which) else { return };
        let (copy, targets) = self.publish(&Publish { first: queue, queues: 1, len: 10 });
        self.ops.push(append(&copy, &targets));
        self.ops.push(settle(&original, from));
        self.moving.push((from, targets[0]));
    }

    /// What a transaction publishes may be acked by itself; some are held back.
    fn commit(&mut self, publishes: &[Publish], acks: &[prop::sample::Index]) {
        let taken: Vec<_> = acks.iter().skip(1).filter_map(|which| self.take(which)).collect();
        let published: Vec<_> = publishes.iter().map(|publish| self.publish(publish)).collect();
        let taken: Vec<_> =
            taken.into_iter().chain(acks.iter().take(1).filter_map(|which| self.take(which))).collect();
        let appends: Vec<_> = published.iter().map(|(message, targets)| (message, &targets[..])).collect();
        let settles: Vec<_> = taken.iter().map(|(target, message)| (message, *target)).collect();
        let op = transaction(&appends, &settles);
        if publishes.len() == 3 { self.held.push(op) } else { self.ops.push(op) }
    }

    fn submit(&mut self) {
        let plain = |queue: &QueueId, seq: &::vhosts::Seq| (queue.0, seq.0);
        for op in &self.ops {
            match op {
                Op::Append { targets, .. } => {
                    self.submitted.appended.extend(targets.iter().map(|(queue, seq)| plain(queue, seq)));
                }
                Op::Settle { queue, seq, .. } => _ = self.submitted.settled.insert(plain(queue, seq)),
                Op::Note { queue, seq, note, .. } => self.submitted.notes.push((plain(queue, seq), *note)),
                Op::Transaction(transaction) => {
                    let targets = transaction.appends.iter().flat_map(|(_, targets)| targets);
                    let appended: Vec<_> = targets.map(|(queue, seq)| plain(queue, seq)).collect();
                    let settled: Vec<_> =
                        transaction.settles.iter().map(|(queue, seq, _)| plain(queue, seq)).collect();
                    self.submitted.appended.extend(&appended);
                    self.submitted.settled.extend(&settled);
                    self.submitted.transactions.push((appended, settled));
                }
                Op::Forget { queue } => _ = self.submitted.deleted.insert(queue.0),
                Op::Define { key, value } => self.submitted.definitions.push((key.clone(), value.clone())),
            }
        }
        self.submitted.moved.append(&mut self.moving);
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
                self.all_on_disk();
            }
        }
    }

    fn all_on_disk(&mut self) {
        self.settled_on_disk = self.submitted.settled.clone();
        let notes = self.submitted.notes.len();
        self.noted_on_disk.extend(self.submitted.appended.iter().map(|target| (*target, notes)));
    }

    /// Closes the store: everything is on disk.
    pub(super) fn close(&mut self) {
        self.ops.append(&mut self.held);
        self.submit();
        self.store.close().unwrap();
        self.step();
        assert!(self.store.close().is_ok());
        self.all_on_disk();
    }

    /// Whether the store gave up.
    pub(super) fn has_failed(&self) -> bool {
        self.store.progress().borrow().failed.is_some()
    }

    /// Reads the disk back and holds it against the model.
    pub(super) fn check(&self, disk: &Disk) {
        let (mut committer, recovery) = recover(disk.log()).unwrap();
        let found = recovered(&recovery);
        for (target, (message, note)) in &found {
            assert!(self.submitted.appended.contains(target), "{target:?} out of nothing");
            assert!(!self.settled_on_disk.contains(target), "{target:?} was settled, and returned");
            assert!(!self.safe.deleted.contains(&target.0), "{target:?} of a deleted queue returned");
            assert!(is_same(&self.messages[target].0, message), "{target:?} has another message");
            self.check_note(*target, *note);
        }
        for target in &self.safe.appended {
            let gone = self.submitted.is_gone(target);
            assert!(gone || found.contains_key(target), "{target:?} was safe, and is lost");
        }
        let next_seqs: BTreeMap<_, _> =
            recovery.next_seqs.iter().map(|(queue, seq)| (queue.0, seq.0)).collect();
        for (queue, seq) in found.keys() {
            assert!(next_seqs[queue] > *seq, "the number {seq} of queue {queue} would be given again");
        }
        let found = found.into_keys().collect();
        self.check_moved(&found);
        self.check_transactions(&found);
        self.check_definitions(recovery.definitions.iter().cloned().collect());
        // What was recovered is recovered again, and can be settled; then nothing is left.
        committer.commit(&mut Vec::new(), self.now).unwrap();
        assert_eq!(recovered(&recover(disk.log()).unwrap().1).into_keys().collect::<BTreeSet<_>>(), found);
        committer.commit(&mut settle_all(&recovery), self.now).unwrap();
        assert_eq!(committer.notes_len(), 0, "notes are left in memory");
        committer.close().unwrap();
        assert_eq!((disk.groups(), disk.unsynced()), (0, 0), "groups are left");
        let is_left = |key: &[u8], _: &[u8]| assert!(!matches!(key[0], b's' | b'n'), "{key:?} is left");
        disk.log().read_state(&mut { is_left }).unwrap();
    }

    /// A target has its last note that was written, or one that was submitted since.
    fn check_note(&self, target: Target, found: Note) {
        let on_disk = self.noted_on_disk.get(&target).copied().unwrap_or_default();
        let (written, since) = self.submitted.notes.split_at(on_disk);
        let last = written.iter().rfind(|(noted, _)| *noted == target).map(|(_, note)| *note);
        let mut later = since.iter().filter(|(noted, _)| *noted == target);
        let is_right = found == last.unwrap_or_default() || later.any(|(_, note)| *note == found);
        assert!(is_right, "{target:?} has the note {found:?}");
    }

    /// A safe message that moved is here or there, unless it is settled there too.
    fn check_moved(&self, found: &BTreeSet<Target>) {
        for (from, to) in &self.submitted.moved {
            let was_there = self.safe.appended.contains(from) && !self.submitted.deleted.contains(&from.0);
            let is_somewhere = found.contains(from) || found.contains(to) || self.submitted.is_gone(to);
            assert!(is_somewhere || !was_there, "{from:?} moved to {to:?}, and is lost");
        }
    }

    /// If there is one trace of a transaction, there are all.
    fn check_transactions(&self, found: &BTreeSet<Target>) {
        for (number, (appended, settled)) in self.submitted.transactions.iter().enumerate() {
            let is_written = |target: &Target| {
                let siblings = &self.messages[target].1;
                self.safe.appended.contains(target) || siblings.iter().any(|target| found.contains(target))
            };
            let is_taken = |target: &Target| {
                is_written(target) && !found.contains(target) && !self.submitted.deleted.contains(&target.0)
            };
            let is_there = number < self.safe.transactions.len()
                || appended.iter().any(|target| found.contains(target))
                || settled.iter().any(is_taken);
            if is_there {
                let is_appended = |target: &Target| found.contains(target) || self.submitted.is_gone(target);
                assert!(appended.iter().all(is_appended), "{appended:?} of a transaction are not all there");
                let is_settled = |target: &Target| !found.contains(target);
                assert!(settled.iter().all(is_settled), "{settled:?} of a transaction are not all settled");
            }
        }
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
