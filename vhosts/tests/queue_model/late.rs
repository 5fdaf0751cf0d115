//! A store that answers late and in any order, and fails now and then: nothing is lost, nothing comes twice,
//! nobody overtakes.

use crate::said::{Published, name};
use crate::store::Store;
use crate::strategy::Paged;
use proptest::prelude::*;
use proptest::sample::Index;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use vhosts::queue::settings::Priorities;
use vhosts::queue::{Carried, ConsumerKey, ConsumerSpec, Delivery, Effect, Outcome, Page, Settings};
use vhosts::{DeliveryId, Moment, Queue, Seq};

type Checked = Result<(), TestCaseError>;

/// What can happen.
#[derive(Clone, Debug)]
pub enum Op {
    Publish(Published),
    Get,
    Grant(u32),
    Answer(Index, Outcome),
    /// An answer of the store; of these messages, every so many-th can not be read.
    Fetched(Index, Option<usize>),
    FetchFailed(Index),
    PageOut,
    Tick(u64),
    Purge,
}

pub fn op() -> impl Strategy<Value = Op> {
    let at = any::<Index>;
    let outcome = prop_oneof![
        2 => Just(Outcome::Settle), 1 => Just(Outcome::Return), 2 => Just(Outcome::Undelivered), 1 => Just(Outcome::Reject)
    ];
    let expiration_ms = prop::option::weighted(0.3, prop_oneof![0..100_u64, 0..40_000_u64]);
    let published = (any::<bool>(), prop::option::weighted(0.5, 0..3_u8), expiration_ms, 0..12_u8).prop_map(
        |(persistent, priority, expiration_ms, len)| Published { persistent, priority, expiration_ms, len },
    );
    prop_oneof![
        30 => published.prop_map(Op::Publish),
        3 => Just(Op::Get),
        6 => (0..4_u32).prop_map(Op::Grant),
        8 => (at(), outcome).prop_map(|(at, outcome)| Op::Answer(at, outcome)),
        4 => (at(), prop::option::weighted(0.1, 1..4_usize)).prop_map(|(at, bad)| Op::Fetched(at, bad)),
        1 => at().prop_map(Op::FetchFailed),
        8 => Just(Op::PageOut),
        2 => prop_oneof![0..50_u64, 0..20_000_u64].prop_map(Op::Tick),
        1 => prop::bool::weighted(0.1).prop_map(|purges| if purges { Op::Purge } else { Op::PageOut }),
    ]
}

pub fn settings(dead_letters: bool) -> Settings {
    let dead_letter = dead_letters.then(|| vhosts::queue::settings::DeadLetterTo {
        exchange: vhosts::Name::from("dead"),
        routing_key: None,
        at_least_once: false,
    });
    Settings { priorities: Priorities { max: 2, default: 1 }, dead_letter, ..Settings::default() }
}

/// A queue, and the messages that are ready in it, by level and name, which is the order of their arrival.
pub struct Late {
    queue: Queue,
    paged: Paged,
    store: Store,
    ready: BTreeMap<(Reverse<u8>, u64), Option<u64>>,
    levels: BTreeMap<u64, (u8, Option<u64>)>,
    unacked: Vec<(DeliveryId, u64)>,
    asked: Vec<Arc<Page>>,
    consumer: ConsumerKey,
    effects: Vec<Effect>,
    now: u64,
}

impl Late {
    pub fn new(settings: &Settings, paged: Paged) -> Late {
        let mut queue = Queue::new(settings, true, Seq(1), Moment(0));
        let consumer = queue.consume(ConsumerSpec::default()).unwrap();
        let (levels, unacked, asked, effects) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        let (store, ready) = (Store::default(), BTreeMap::new());
        Late { queue, paged, store, ready, levels, unacked, asked, consumer, effects, now: 0 }
    }

    pub fn apply(&mut self, op: &Op) -> Checked {
        let now = Moment(self.now);
        match op {
            Op::Publish(what) => self.publish(*what),
            Op::Get => {
                let got = self.queue.get(false, now, &mut self.effects);
                self.listen()?;
                if let Some(delivery) = got {
                    self.deliver(&delivery)?;
                }
            }
            Op::Grant(credit) => {
                self.queue.grant(self.consumer, *credit);
                self.queue.deliver(now, &mut self.effects);
            }
            Op::Answer(at, outcome) if !self.unacked.is_empty() => {
                self.answer(at.index(self.unacked.len()), *outcome);
            }
            Op::Fetched(at, bad) if !self.asked.is_empty() => self.fetched(at.index(self.asked.len()), *bad),
            Op::FetchFailed(at) if !self.asked.is_empty() => {
                let page = self.asked.swap_remove(at.index(self.asked.len()));
                self.queue.fetch_failed(&page, now);
            }
            Op::PageOut => self.queue.page_out(self.paged.keep, &mut Store::place, &mut self.effects),
            Op::Tick(ms) => {
                self.now += ms;
                self.queue.tick(Moment(self.now), &mut self.effects);
            }
            Op::Purge => {
                self.queue.purge(&mut self.effects);
                self.ready.clear();
            }
            Op::Answer(..) | Op::Fetched(..) | Op::FetchFailed(_) => {}
        }
        self.listen()?;
        self.store.step();
        self.look()
    }

    fn publish(&mut self, what: Published) {
        let name = self.levels.len() as u64 + 1;
        let message = what.message(name, self.now);
        let level = what.priority.unwrap_or(1);
        let deadline = what.expiration_ms.map(|ms| self.now + ms);
        self.levels.insert(name, (level, deadline));
        self.ready.insert((Reverse(level), name), deadline);
        let seq = self.queue.publish(message.clone(), Moment(self.now), &mut self.effects).unwrap();
        if what.persistent {
            self.store.append(seq, &message, self.paged.delays[name as usize % self.paged.delays.len()]);
        }
    }

    fn answer(&mut self, at: usize, outcome: Outcome) {
        let (id, name) = self.unacked.swap_remove(at);
        if matches!(outcome, Outcome::Return | Outcome::Undelivered) {
            let (level, deadline) = self.levels[&name];
            self.ready.insert((Reverse(level), name), deadline);
        }
        self.queue.answer(id, outcome, Moment(self.now), &mut self.effects);
        self.queue.deliver(Moment(self.now), &mut self.effects);
    }

    fn fetched(&mut self, at: usize, bad: Option<usize>) {
        let page = self.asked.swap_remove(at);
        let unreadable = self.queue.counters().unreadable;
        // What was purged meanwhile can not be read any more.
        let mut messages = self.store.fetch_what_is_left(&page);
        let mut lost = Vec::new();
        for message in messages.iter_mut().step_by(bad.unwrap_or(usize::MAX)).filter(|_| bad.is_some()) {
            lost.extend(message.take().map(|message| name(&message)));
        }
        self.queue.fetched(&page, messages, Moment(self.now), &mut self.effects);
        if self.queue.counters().unreadable > unreadable {
            self.ready.retain(|(_, name), _| !lost.contains(name));
        }
    }

    fn listen(&mut self) -> Checked {
        for effect in std::mem::take(&mut self.effects) {
            match &effect {
                Effect::Deliver { delivery, .. } => self.deliver(delivery)?,
                Effect::Died { letter, message, .. } => {
                    self.bury(name(message));
                    self.queue.carried(*letter, Carried::Arrived, Moment(self.now), &mut self.effects);
                }
                Effect::Settled { message, .. } => {
                    self.bury(name(message));
                    self.store.hear(&effect, 0);
                }
                Effect::SettledPaged { .. } => {
                    self.store.names(&effect).into_iter().for_each(|name| self.bury(name));
                    self.store.hear(&effect, 0);
                }
                Effect::Fetch { page } => {
                    prop_assert!(!self.asked.iter().any(|asked| Arc::ptr_eq(asked, page)), "asked twice");
                    self.asked.push(page.clone());
                }
                _ => drop(self.store.hear(&effect, 1)),
            }
        }
        if self.effects.is_empty() { Ok(()) } else { self.listen() }
    }

    /// A message is not ready any more.
    fn bury(&mut self, name: u64) {
        self.ready.remove(&(Reverse(self.levels[&name].0), name));
    }

    /// Nobody overtakes, but those that are dead.
    fn deliver(&mut self, delivery: &Delivery) -> Checked {
        let name = name(&delivery.message);
        loop {
            let Some(((_, first), deadline)) = self.ready.pop_first() else {
                return Err(TestCaseError::fail("delivered twice, or after its death"));
            };
            if first == name {
                break;
            }
            prop_assert!(deadline.is_some_and(|at| at <= self.now), "{} is overtaken", first);
        }
        self.unacked.extend(delivery.id.map(|id| (id, name)));
        Ok(())
    }

    fn look(&self) -> Checked {
        let queue = &self.queue;
        let here = queue.ready_len() + queue.unacked_len() + queue.letters_len();
        prop_assert_eq!(queue.counters().published, here as u64 + queue.counters().settled);
        prop_assert_eq!(queue.unacked_len(), self.unacked.len());
        let (paged, resident) = (queue.paged(), queue.resident());
        prop_assert_eq!((paged.messages + resident.messages) as usize, queue.ready_len());
        prop_assert_eq!(paged.bytes + resident.bytes, queue.ready_bytes());
        Ok(())
    }

    /// With room for all and a store that works, everything leaves.
    pub fn drain(mut self) -> Checked {
        self.apply(&Op::Tick(1_000))?;
        self.apply(&Op::Grant(u32::MAX / 2))?;
        while !self.asked.is_empty() {
            self.fetched(0, None);
            self.listen()?;
            self.look()?;
        }
        prop_assert_eq!(self.queue.ready_len(), 0);
        while !self.unacked.is_empty() {
            self.answer(0, Outcome::Settle);
            self.listen()?;
        }
        prop_assert_eq!(self.queue.counters().settled, self.queue.counters().published);
        // Who dies where there is no exchange for dead letters leaves without a word.
        let all_died = self.ready.values().all(|deadline| deadline.is_some_and(|at| at <= self.now));
        prop_assert!(all_died && self.store.is_empty());
        Ok(())
    }
}
