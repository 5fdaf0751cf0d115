//! A broker that does things at random, and writes down what it did.

use super::super::testing::{Assignment, MemoryDisk};
use super::super::{Note, Op, Reader, Safety, Stepper, Store};
use super::{
    SMALL, Target, append_as, is_same, listed, message, note, numbered_note, read, recovered, settle,
    transaction,
};
use ::vhosts::{Message, Moment, Place, QueueId, Seq};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// To so many queues, beginning with this one.
#[derive(Clone, Debug)]
pub(super) struct Publish {
    first: u64,
    queues: u64,
    len: usize,
    safety: u8,
}

/// One thing that a broker does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Publish(Publish),
    /// Acks one of the messages that are ready, before or after its append was submitted.
    Ack(prop::sample::Index),
    /// Acks many messages, in their order.
    AckMany(usize),
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
    Purge(u64),
    /// Changes these definitions, or removes them.
    Define(Vec<(u8, bool)>),
    Submit,
    Step,
    Wait(u64),
    /// Reads everything that is ready.
    Look,
}

const QUEUES: u64 = 4;

fn publish() -> impl Strategy<Value = Publish> {
    let len = prop_oneof![20 => 0_usize..300, 2 => 1_000_usize..5_000, 1 => 5_000_usize..30_000];
    let queues = prop_oneof![3 => Just(1), 1 => 2..=3_u64];
    let safety = prop_oneof![6 => Just(0_u8), 2 => Just(1), 2 => Just(2)];
    (0..QUEUES, queues, len, safety).prop_map(|(first, queues, len, safety)| Publish {
        first,
        queues,
        len,
        safety,
    })
}

pub(super) fn acts(most: usize) -> impl Strategy<Value = Vec<Act>> {
    let which = any::<prop::sample::Index>;
    let commit = (prop::collection::vec(publish(), 0..4), prop::collection::vec(which(), 0..4));
    let changes = prop::collection::vec((0_u8..4, prop::bool::weighted(0.3)), 1..3);
    let act = prop_oneof![
        24 => publish().prop_map(Act::Publish),
        14 => which().prop_map(Act::Ack),
        2 => (1..40_usize).prop_map(Act::AckMany),
        8 => which().prop_map(Act::Note),
        1 => which().prop_map(Act::LateNote),
        3 => (which(), 0..QUEUES).prop_map(|(which, queue)| Act::DeadLetter(which, queue)),
        4 => commit.prop_map(|(publishes, acks)| Act::Commit(publishes, acks)),
        3 => Just(Act::Deliver),
        1 => (0..QUEUES).prop_map(Act::Purge),
        3 => changes.prop_map(Act::Define),
        8 => Just(Act::Submit),
        8 => Just(Act::Step),
        6 => prop_oneof![4 => 20..100_u64, 1 => Just(2_000)].prop_map(Act::Wait),
        2 => Just(Act::Look),
    ];
    prop::collection::vec(act, 0..most)
}

/// What the broker did, in the words of the store's promise.
#[derive(Clone, Default)]
pub(super) struct Facts {
    pub(super) appended: BTreeSet<Target>,
    pub(super) settled: BTreeSet<Target>,
    /// Every change, in order.
    pub(super) definitions: Vec<Vec<Assignment>>,
    /// Every note, in order.
    pub(super) notes: Vec<(Target, Note)>,
    /// Where each dead-lettered message was, and where its copy is.
    pub(super) moved: Vec<(Target, Target)>,
    /// What each transaction appends and settles.
    pub(super) transactions: Vec<(Vec<Target>, Vec<Target>)>,
}

pub(super) struct Broker {
    pub(super) disk: MemoryDisk,
    pub(super) store: Store,
    pub(super) stepper: Stepper,
    pub(super) now: Moment,
    pub(super) next_seqs: BTreeMap<u64, u64>,
    ready: Vec<(Target, Message)>,
    acked: Vec<(Target, Message)>,
    held: Vec<Op>,
    ops: Vec<Op>,
    made: u32,
    moving: Vec<(Target, Target)>,
    purging: BTreeSet<Target>,
    /// Where messages were seen first.
    places: BTreeMap<Target, Place>,
    /// All that was handed over; the part of it that the store reported; and the part of it that was handed over
    /// when it last had nothing more to do.
    pub(super) submitted: Facts,
    pub(super) safe: Facts,
    pub(super) on_disk: Facts,
    /// How many of all notes had been handed over when those of the target were written.
    pub(super) noted_on_disk: BTreeMap<Target, usize>,
    /// The message of each target, and all of its targets.
    pub(super) messages: BTreeMap<Target, (Message, Vec<Target>)>,
    pub(super) relaxed: BTreeSet<Target>,
    pub(super) spilled: BTreeSet<Target>,
    /// Syncs may fail: what is relaxed or spilled may be lost with that.
    pub(super) syncs_fail: bool,
}

impl Broker {
    /// Goes on with what is on a disk.
    pub(super) fn open(disk: &MemoryDisk) -> Broker {
        let (store, stepper, recovery) = Store::manual_with(Box::new(disk.clone()), SMALL).unwrap();
        let found = recovered(&recovery, store.reader().unwrap());
        let mut facts = Facts { appended: found.keys().copied().collect(), ..Facts::default() };
        facts.notes = found.iter().map(|(target, (_, note))| (*target, *note)).collect();
        let values = recovery.definitions.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
        facts.definitions.push(values.collect());
        let mut by_place: BTreeMap<(u64, u32), Vec<Target>> = BTreeMap::new();
        for (target, found) in listed(&recovery) {
            by_place.entry((found.place.segment, found.place.unit)).or_default().push(target);
        }
        let siblings = by_place.values().flat_map(|all| all.iter().map(move |one| (*one, all.clone())));
        let messages = siblings.map(|(target, all)| (target, (found[&target].0.clone(), all))).collect();
        Broker {
            disk: disk.clone(),
            store,
            stepper,
            now: Moment(1_000),
            next_seqs: recovery.queues.iter().map(|queue| (queue.queue.0, queue.next.0)).collect(),
            ready: found.iter().map(|(target, (message, _))| (*target, message.clone())).collect(),
            acked: Vec::new(),
            held: Vec::new(),
            ops: Vec::new(),
            made: 0,
            moving: Vec::new(),
            purging: BTreeSet::new(),
            places: listed(&recovery).into_iter().map(|(target, found)| (target, found.place)).collect(),
            noted_on_disk: found.keys().map(|target| (*target, found.len())).collect(),
            submitted: facts.clone(),
            safe: facts.clone(),
            on_disk: facts,
            messages,
            relaxed: BTreeSet::new(),
            spilled: BTreeSet::new(),
            syncs_fail: false,
        }
    }

    pub(super) fn reader(&self) -> &Reader {
        self.store.reader().unwrap()
    }

    pub(super) fn act(&mut self, act: &Act) {
        match act {
            Act::Publish(publish) => {
                let (message, targets) = self.publish(publish);
                let safety = [Safety::Synced, Safety::Relaxed, Safety::Spilled][usize::from(publish.safety)];
                let of_these = [BTreeSet::new(), targets.iter().copied().collect()];
                self.relaxed.extend(&of_these[usize::from(safety == Safety::Relaxed)]);
                self.spilled.extend(&of_these[usize::from(safety == Safety::Spilled)]);
                let op = append_as(safety, &message, &targets);
                if publish.len % 4 > 0 { self.ops.push(op) } else { self.held.push(op) }
            }
            Act::Ack(which) => {
                let taken = self.take(which);
                self.ops.extend(taken.map(|(target, message)| settle(&message, target)));
            }
            Act::AckMany(count) => {
                let many: Vec<_> = self.ready.drain(..self.ready.len().min(*count)).collect();
                self.ops.extend(many.iter().map(|(target, message)| settle(message, *target)));
                self.acked.extend(many);
            }
            Act::Note(which) => self.note(which, false),
            Act::LateNote(which) => self.note(which, true),
            Act::DeadLetter(which, queue) => self.dead_letter(which, *queue),
            Act::Commit(publishes, acks) => self.commit(publishes, acks),
            Act::Deliver => self.ops.append(&mut self.held),
            Act::Purge(queue) => self.purge(*queue),
            Act::Define(changes) => self.define(changes),
            Act::Submit => self.submit(),
            Act::Step => _ = self.step(),
            Act::Wait(ms) => self.now = self.now.after_ms(*ms),
            Act::Look => self.look(),
        }
    }

    fn publish(&mut self, publish: &Publish) -> (Message, Vec<Target>) {
        let targets: Vec<Target> = (publish.first..publish.first + publish.queues)
            .map(|queue| {
                let seq = self.next_seqs.entry(queue % QUEUES).or_insert(1);
                *seq += 1;
                (queue % QUEUES, *seq - 1)
            })
            .collect();
        let message = message(&targets, publish.len);
        self.ready.extend(targets.iter().map(|target| (*target, message.clone())));
        self.messages.extend(targets.iter().map(|target| (*target, (message.clone(), targets.clone()))));
        (message, targets)
    }

    /// One of the messages that are ready; half of those that are written are read back for it.
    fn take(&mut self, which: &prop::sample::Index) -> Option<(Target, Message)> {
        if self.ready.is_empty() {
            return None;
        }
        let (target, mut message) = self.ready.swap_remove(which.index(self.ready.len()));
        if target.1.is_multiple_of(2)
            && let Some(place) = self.places.get(&target)
            && let Some(again) = read(self.store.reader().unwrap(), *place)
        {
            assert!(is_same(&message, &again), "{target:?} is another one at {place:?}");
            message = again;
        }
        self.acked.push((target, message.clone()));
        Some((target, message))
    }

    fn note(&mut self, which: &prop::sample::Index, late: bool) {
        let from = if late { &self.acked } else { &self.ready };
        if !from.is_empty() {
            let (target, message) = &from[which.index(from.len())];
            self.made += 1;
            self.ops.push(note(message, *target, numbered_note(self.made)));
        }
    }

    fn dead_letter(&mut self, which: &prop::sample::Index, queue: u64) {
        let Some((from, original)) = self.take(which) else { return };
        let (copy, targets) = self.publish(&Publish { first: queue, queues: 1, len: 10, safety: 0 });
        self.ops.push(append_as(Safety::Synced, &copy, &targets));
        self.ops.push(settle(&original, from));
        self.moving.push((from, targets[0]));
    }

    /// What a transaction publishes may be acked by itself; some are held back.
    fn commit(&mut self, publishes: &[Publish], acks: &[prop::sample::Index]) {
        let mut taken: Vec<_> = acks.iter().skip(1).filter_map(|which| self.take(which)).collect();
        let published: Vec<_> = publishes.iter().map(|publish| self.publish(publish)).collect();
        taken.extend(acks.iter().take(1).filter_map(|which| self.take(which)));
        let appends: Vec<_> = published.iter().map(|(message, targets)| (message, &targets[..])).collect();
        let settles: Vec<_> = taken.iter().map(|(target, message)| (message, *target)).collect();
        let op = transaction(&appends, &settles);
        if publishes.len() == 3 { self.held.push(op) } else { self.ops.push(op) }
    }

    /// What is written is purged by its places.
    fn purge(&mut self, queue: u64) {
        let (gone, left) =
            std::mem::take(&mut self.ready).into_iter().partition(|(target, _)| target.0 == queue);
        self.ready = left;
        let mut places = Vec::new();
        for (target, message) in &gone {
            match self.places.get(target).copied().or_else(|| self.reader().place(message)) {
                Some(place) => places.push((*target, place)),
                None => self.ops.push(settle(message, *target)),
            }
        }
        self.purging.extend(places.iter().map(|(target, _)| *target));
        let places = places.into_iter().map(|(_, place)| place).collect();
        self.ops.push(Op::Purge { queue: QueueId(queue), places });
        self.acked.extend::<Vec<_>>(gone);
    }

    /// Each value is another one.
    fn define(&mut self, changes: &[(u8, bool)]) {
        self.made += 1;
        let value = self.made.to_le_bytes().to_vec();
        let change = |(key, removed): &(u8, bool)| (vec![*key], (!removed).then(|| value.clone()));
        self.ops.push(Op::Define(changes.iter().map(change).collect()));
    }

    pub(super) fn submit(&mut self) {
        let plain = |queue: &QueueId, seq: &Seq| (queue.0, seq.0);
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
                Op::Define(changes) => self.submitted.definitions.push(changes.clone()),
                // See `purge`.
                Op::Purge { .. } => {}
            }
        }
        self.submitted.settled.append(&mut self.purging);
        self.submitted.moved.append(&mut self.moving);
        self.store.submit(&mut self.ops);
        assert!(self.ops.is_empty());
    }

    /// Whether everything that was submitted is reported as safe.
    pub(super) fn is_safe(&self) -> bool {
        self.store.progress().borrow().durable == self.store.submit(&mut Vec::new())
    }

    /// One step; says whether everything is on disk.
    pub(super) fn step(&mut self) -> bool {
        self.stepper.step(self.now);
        let progress = self.store.progress().borrow().clone();
        assert!(progress.failed.is_none());
        let is_quiet = self.is_safe() && self.stepper.deadline().is_none();
        if self.is_safe() {
            self.safe = self.submitted.clone();
        }
        if is_quiet {
            assert!(progress.stalled.is_none(), "nothing will end that");
            self.all_on_disk();
        }
        is_quiet
    }

    fn all_on_disk(&mut self) {
        self.on_disk = self.submitted.clone();
        let notes = self.submitted.notes.len();
        self.noted_on_disk.extend(self.submitted.appended.iter().map(|target| (*target, notes)));
    }

    /// Steps until nothing is left to do.
    pub(super) fn settle_down(&mut self) {
        self.ops.append(&mut self.held);
        self.submit();
        for _ in 0..10_000 {
            if self.step() {
                return;
            }
            self.now = self.stepper.deadline().map_or(self.now, |at| at.max(self.now));
        }
        panic!("there is always something left to do: {:?}", self.store.progress().borrow());
    }

    /// Closes the store: everything is on disk.
    pub(super) fn close(&mut self) {
        self.ops.append(&mut self.held);
        self.submit();
        self.store.close().unwrap();
        self.stepper.step(self.now);
        assert!(self.is_safe() && self.store.close().is_ok());
        self.safe = self.submitted.clone();
        self.all_on_disk();
    }

    /// Every message that is written can be read, also where it was first.
    pub(super) fn look(&mut self) {
        let written = self
            .ready
            .iter()
            .filter_map(|(target, message)| Some((*target, self.store.reader().unwrap().place(message)?)));
        written.for_each(|(target, place)| _ = self.places.entry(target).or_insert(place));
        let ready: BTreeMap<_, _> = self.ready.iter().map(|(target, message)| (*target, message)).collect();
        let known = self.places.iter().filter(|(target, _)| ready.contains_key(target));
        let (targets, places): (Vec<_>, Vec<_>) = known.unzip();
        let found =
            self.store.reader().unwrap().read(&places.into_iter().copied().collect::<Vec<_>>()).unwrap();
        for (target, found) in targets.into_iter().zip(found) {
            let may_be_lost =
                self.syncs_fail && (self.relaxed.contains(target) || self.spilled.contains(target));
            match found {
                Some(found) => assert!(is_same(&found, ready[target]), "{target:?} reads as another one"),
                None => assert!(may_be_lost, "{target:?} cannot be read at {:?}", self.places[target]),
            }
        }
    }
}
