//! The machine and the model, side by side.

use crate::model::{Item, Model};
use crate::said::{Published, Said, given, name, said};
use crate::store::Store;
use crate::strategy::{Old, Op, Paged};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::HashMap;
use vhosts::queue::settings::Limits;
use vhosts::queue::{
    Browse, Browsed, Carried, ConsumerKey, ConsumerSpec, Effect, Full, History, LetterId, Outcome, Position,
    Settings, Stored, Waits, Where,
};
use vhosts::{DeliveryId, Message, Moment, Queue, Seq};

type Checked = Result<(), TestCaseError>;

/// The first number that a queue gives out.
const FIRST_SEQ: u64 = 100;
/// When a test begins.
const BEGIN: u64 = 1_000;

pub struct Pair {
    queue: Queue,
    model: Model,
    now: u64,
    effects: Vec<Effect>,
    names: u64,
    /// By the names of the messages, for they need not die in the order of the model.
    letters: HashMap<u64, LetterId>,
    store: Store,
    paged: Option<Paged>,
}

impl Pair {
    pub fn new(settings: Settings, durable: bool) -> Pair {
        let queue = Queue::new(&settings, durable, Seq(FIRST_SEQ), Moment(BEGIN));
        let model = Model::new(settings, durable, FIRST_SEQ, BEGIN);
        let (letters, store) = (HashMap::new(), Store::default());
        Pair { queue, model, now: BEGIN, effects: Vec::new(), names: 0, letters, store, paged: None }
    }

    /// Of a queue that has overdue messages in the store nobody knows yet how long it will be, so it has either
    /// limits or messages that expire.
    pub fn paged(mut settings: Settings, durable: bool, paged: Paged) -> Pair {
        if settings.limits != Limits::default() {
            settings.message_ttl_ms = None;
        }
        Pair { paged: Some(paged), ..Pair::new(settings, durable) }
    }

    /// Some have lower numbers than a new queue gives out, some higher.
    pub fn recover(&mut self, old: &[Old]) -> Checked {
        for (seq, old) in (FIRST_SEQ - 2..).zip(old) {
            let due = old.due_in_ms.map(|ms| self.now + ms);
            let (item, message) = self.message(old.what, self.now - old.age_ms, seq, old.history);
            if self.model.durable {
                self.store.append(Seq(seq), &message, 0);
            }
            self.recover_one(Seq(seq), message, &item, due);
            self.model.recover(item, due);
        }
        self.queue.recovered();
        self.compare()
    }

    fn recover_one(&mut self, seq: Seq, message: Message, item: &Item, due: Option<u64>) {
        self.store.step();
        let place = Store::place(&message).filter(|_| self.paged.as_ref().is_some_and(|paged| paged.stored));
        let Some(place) = place.filter(|_| due.is_none()) else {
            return self.queue.recover(seq, message, item.history, due.map(Moment));
        };
        self.queue.recover_stored(Stored {
            seq,
            place,
            body_len: message.body_len(),
            arrived: message.arrived(),
            expiration_ms: message.properties().expiration_ms(),
            priority: message.marks().priority,
            history: item.history,
        });
    }

    /// As [`apply`](Self::apply), and what is in memory is made less.
    pub fn apply_paged(&mut self, op: &Op) -> Checked {
        // What is overdue is gone before anything else happens.
        self.tick(self.now);
        self.compare()?;
        self.apply(op)?;
        self.store.step();
        let Some(Paged { keep, .. }) = self.paged else { return Ok(()) };
        if self.queue.wants_paging(keep) {
            self.queue.page_out(keep, &mut Store::place, &mut self.effects);
            let only_spills = self.effects.iter().all(|effect| matches!(effect, Effect::Spill { .. }));
            prop_assert!(only_spills);
            self.compare()?;
        }
        Ok(())
    }

    /// The store brings what the queue asks for.
    fn fetch(&mut self) {
        let asks = |effect: &mut Effect| matches!(effect, Effect::Fetch { .. });
        loop {
            let asked: Vec<_> = self.effects.extract_if(.., asks).collect();
            if asked.is_empty() {
                return;
            }
            for effect in asked {
                let Effect::Fetch { page } = effect else { continue };
                self.queue.fetched(&page, self.store.fetch(&page), Moment(self.now), &mut self.effects);
            }
        }
    }

    fn message(&mut self, mut what: Published, arrived: u64, seq: u64, history: History) -> (Item, Message) {
        self.names += 1;
        if self.paged.is_some() && self.model.settings.limits != Limits::default() {
            what.expiration_ms = None;
        }
        let item = Item {
            seq,
            name: self.names,
            arrival: self.names,
            level: self.model.level(what.priority),
            persistent: what.persistent,
            len: what.len.into(),
            arrived,
            expires: self.model.expires(arrived, what.expiration_ms),
            history,
        };
        (item, what.message(self.names, arrived))
    }

    pub fn apply(&mut self, op: &Op) -> Checked {
        let now = self.now;
        match *op {
            Op::Publish { what, lag_ms } => self.publish(what, lag_ms)?,
            Op::Consume(spec) => self.consume(spec)?,
            Op::Deliver => {
                self.queue.deliver(Moment(now), &mut self.effects);
                self.model.deliver(now);
            }
            Op::Cancel(at) => self.cancel(at)?,
            Op::Get { no_ack } => {
                let mut got = self.queue.get(no_ack, Moment(now), &mut self.effects);
                while got.is_none() && self.queue.is_next_paged() {
                    self.fetch();
                    got = self.queue.get(no_ack, Moment(now), &mut self.effects);
                }
                prop_assert_eq!(got.as_ref().map(given), self.model.get(no_ack, now));
            }
            Op::Answer(at, outcome) => self.answer(at, outcome),
            Op::AnswerUnknown(ahead) => {
                let id = DeliveryId(self.model.deliveries + 1 + u64::from(ahead));
                self.queue.answer(id, Outcome::Settle, Moment(now), &mut self.effects);
            }
            Op::Grant(at, credit) => {
                if let Some(key) = self.pick_consumer(at) {
                    self.queue.grant(key, credit.into());
                    self.model.grant(key, credit.into());
                }
            }
            Op::Carried(at, carried) => self.carried(at, carried),
            Op::Purge => prop_assert_eq!(self.queue.purge(&mut self.effects), self.model.purge()),
            Op::Touch => {
                self.queue.touch(Moment(now));
                self.model.used = now;
            }
            Op::Wait(ms) => self.now += ms,
            Op::Deadline { late_ms } => {
                let deadline = self.queue.deadline().map_or(now, |deadline| deadline.0.max(now));
                self.tick(deadline + late_ms);
            }
            Op::Tick(ms) => self.tick(now + ms),
            Op::Browse(which, skip, count) => self.compare_page(which, skip, count)?,
        }
        self.compare()
    }

    fn publish(&mut self, what: Published, lag_ms: u64) -> Checked {
        let seq = self.model.next_seq;
        let (item, message) = self.message(what, self.now - lag_ms, seq, History::default());
        let taken = self.model.publish(item, self.now);
        let result = self.queue.publish(message.clone(), Moment(self.now), &mut self.effects);
        if taken && self.model.durable && message.persistent() {
            let delay = self.delay(seq);
            self.store.append(Seq(seq), &message, delay);
        }
        prop_assert_eq!(result, if taken { Ok(Seq(seq)) } else { Err(Full) });
        Ok(())
    }

    /// How long the store needs for a message.
    fn delay(&self, seq: u64) -> u64 {
        let Some(Paged { delays, .. }) = &self.paged else { return 0 };
        delays[seq as usize % delays.len()]
    }

    fn consume(&mut self, spec: ConsumerSpec) -> Checked {
        let result = self.queue.consume(spec);
        prop_assert_eq!(result.is_err(), self.model.is_refused(spec));
        let Ok(key) = result else { return Ok(()) };
        let is_in_use = self.model.consumers.iter().any(|other| other.key == key)
            || self.model.unacked.iter().any(|unacked| unacked.consumer == Some(key));
        prop_assert!(!is_in_use, "{:?} is still in use", key);
        self.model.consume(key, spec);
        Ok(())
    }

    fn cancel(&mut self, at: Index) -> Checked {
        let Some(key) = self.pick_consumer(at) else { return Ok(()) };
        prop_assert!(self.queue.cancel(key, Moment(self.now)));
        prop_assert!(!self.queue.cancel(key, Moment(self.now)));
        self.model.cancel(key, self.now);
        Ok(())
    }

    fn answer(&mut self, at: Index, outcome: Outcome) {
        if !self.model.unacked.is_empty() {
            let id = at.get(&self.model.unacked).id;
            self.queue.answer(DeliveryId(id), outcome, Moment(self.now), &mut self.effects);
            self.model.answer(id, outcome, self.now);
        }
    }

    fn carried(&mut self, at: Index, carried: Carried) {
        let under_way = self.model.letters.iter().filter(|letter| letter.retry.is_none());
        let under_way: Vec<_> = under_way.map(|letter| (letter.id, letter.item.name)).collect();
        if !under_way.is_empty() {
            let (id, name) = *at.get(&under_way);
            self.queue.carried(self.letters[&name], carried, Moment(self.now), &mut self.effects);
            self.model.carried(id, carried, self.now);
        }
    }

    fn tick(&mut self, now: u64) {
        self.now = now;
        self.queue.tick(Moment(now), &mut self.effects);
        self.model.tick(now);
    }

    fn pick_consumer(&self, at: Index) -> Option<ConsumerKey> {
        let consumers = &self.model.consumers;
        (!consumers.is_empty()).then(|| at.get(consumers).key)
    }

    /// Before a queue is deleted, nothing is left in it, and late answers find nothing.
    pub fn clear(mut self) -> Checked {
        let unacked: Vec<u64> = self.model.unacked.iter().map(|unacked| unacked.id).collect();
        self.queue.clear(&mut self.effects);
        self.model.clear();
        self.compare()?;
        prop_assert!(self.store.is_empty(), "the queue is done with everything");
        for id in unacked {
            self.queue.answer(DeliveryId(id), Outcome::Return, Moment(self.now), &mut self.effects);
        }
        self.compare()
    }

    fn compare(&mut self) -> Checked {
        self.fetch();
        let expected = std::mem::take(&mut self.model.said);
        let effects = std::mem::take(&mut self.effects);
        let effects: Vec<_> = effects.iter().flat_map(|effect| self.hear(effect)).collect();
        match self.paged {
            None => prop_assert_eq!(effects, expected),
            Some(_) => prop_assert_eq!(sorted(effects), sorted(expected)),
        }
        let Pair { queue, model, now, .. } = self;
        // What is overdue is due now, whenever it was due.
        let now = Moment(*now);
        let from_now = |deadline: Moment| deadline.max(now);
        prop_assert_eq!(queue.deadline().map(from_now), model.deadline().map(Moment).map(from_now));
        prop_assert_eq!(queue.unused_at(), model.unused_at().map(Moment));
        prop_assert_eq!(queue.counters(), model.counters);
        prop_assert_eq!(queue.oldest(), model.oldest().map(Moment));
        prop_assert_eq!(queue.waits().buckets(), buckets(&model.waits));
        self.compare_consumers()?;
        self.compare_sums()?;
        for which in [Browse::Ready, Browse::Unacked, Browse::Delayed, Browse::DeadLettered] {
            self.compare_page(which, 0, usize::MAX)?;
        }
        Ok(())
    }

    /// What an effect says to the model.
    fn hear(&mut self, effect: &Effect) -> Vec<Said> {
        match effect {
            Effect::Settled { seq, .. } | Effect::Spill { seq, .. } => {
                let delay = self.delay(seq.0);
                self.store.hear(effect, delay)
            }
            Effect::SettledPaged { .. } => self.store.hear(effect, 0),
            Effect::Died { letter, message, .. } => {
                self.letters.insert(name(message), *letter);
                vec![said(effect)]
            }
            _ => vec![said(effect)],
        }
    }

    fn compare_consumers(&self) -> Checked {
        let Pair { queue, model, .. } = self;
        let mut keys: Vec<_> = model.consumers.iter().map(|consumer| consumer.key).collect();
        prop_assert_eq!(queue.consumers_len(), keys.len());
        keys.sort_unstable();
        prop_assert!(queue.consumer_keys().eq(keys.iter().copied()));
        for consumer in &model.consumers {
            prop_assert_eq!(queue.is_active(consumer.key), model.is_active(consumer.key));
            let prefetch = consumer.spec.prefetch;
            prop_assert!(consumer.spec.no_ack || prefetch == 0 || consumer.unacked <= prefetch);
        }
        Ok(())
    }

    fn compare_sums(&self) -> Checked {
        let Pair { queue, model, .. } = self;
        prop_assert_eq!(queue.ready_len(), model.ready.len());
        prop_assert_eq!(queue.ready_bytes(), model.ready_bytes());
        prop_assert_eq!(queue.unacked_len(), model.unacked.len());
        let unacked_bytes = model.unacked.iter().map(|unacked| unacked.item.len).sum::<u64>();
        prop_assert_eq!(queue.unacked_bytes(), unacked_bytes);
        prop_assert_eq!(queue.delayed_len(), model.waiting.len());
        let delayed_bytes = model.waiting.iter().map(|(_, item)| item.len).sum::<u64>();
        prop_assert_eq!(queue.delayed_bytes(), delayed_bytes);
        prop_assert_eq!(queue.letters_len(), model.letters.len());
        let here = queue.ready_len() + queue.unacked_len() + queue.delayed_len() + queue.letters_len();
        let counters = queue.counters();
        prop_assert_eq!(counters.published, here as u64 + counters.settled);
        Ok(())
    }

    fn compare_page(&self, which: Browse, skip: usize, count: usize) -> Checked {
        let page = self.queue.browse(which, skip, count);
        let mut page: Vec<_> = page.iter().map(|browsed| self.described(browsed)).collect();
        let all = self.lying(which);
        let mut expected: Vec<_> = all.into_iter().skip(skip).take(count).collect();
        if which == Browse::DeadLettered && self.paged.is_some() {
            if count < usize::MAX {
                return Ok(());
            }
            page.sort_by_key(|lying| lying.0);
            expected.sort_by_key(|lying| lying.0);
        }
        prop_assert_eq!(page, expected, "{:?}", which);
        Ok(())
    }

    fn described(&self, browsed: &Browsed) -> Lying {
        let Browsed { seq, history, mut position, .. } = *browsed;
        let name = match &browsed.message {
            Where::Here(message) => name(message),
            Where::Stored(place) => {
                let (_, message) = self.store.read(*place);
                position = Position::Ready { expires: self.queue.expires(&message) };
                name(&message)
            }
        };
        (seq.0, name, history, position)
    }

    /// What the model has there.
    fn lying(&self, which: Browse) -> Vec<Lying> {
        let model = &self.model;
        match which {
            Browse::Ready => {
                let ready = model.ready.iter();
                ready.map(|item| lying(item, Position::Ready { expires: item.expires.map(Moment) })).collect()
            }
            Browse::Unacked => {
                let position = |out: &crate::model::Unacked| Position::Unacked {
                    consumer: out.consumer,
                    since: Moment(out.since),
                };
                model.unacked.iter().map(|out| lying(&out.item, position(out))).collect()
            }
            Browse::Delayed => {
                let waiting = model.waiting.iter();
                waiting.map(|(due, item)| lying(item, Position::Delayed { due: Moment(*due) })).collect()
            }
            Browse::DeadLettered => {
                let letters = model.letters.iter();
                letters
                    .map(|letter| lying(&letter.item, Position::DeadLettered { reason: letter.reason }))
                    .collect()
            }
        }
    }
}

/// A message as it lies in the queue: number, name, history and position.
type Lying = (u64, u64, History, Position);

fn lying(item: &Item, position: Position) -> Lying {
    (item.seq, item.name, item.history, position)
}

/// The same, but what need not have an order is sorted: messages that expire together, and what is settled.
/// Letters are told apart by their messages.
fn sorted(said: Vec<Said>) -> (Vec<Said>, Vec<Said>) {
    let has_order = |said: &Said| !matches!(said, Said::Settled(..) | Said::Died(..));
    let (ordered, mut others): (Vec<_>, Vec<_>) = said.into_iter().partition(has_order);
    for said in &mut others {
        if let Said::Died(id, ..) = said {
            *id = 0;
        }
    }
    others.sort_by_key(|said| format!("{said:?}"));
    (ordered, others)
}

/// Bucket 0 has the waits of less than 1 ms, bucket n those of less than 2^n ms.
fn buckets(waits: &[u64]) -> [u64; Waits::BUCKETS] {
    let mut buckets = [0; Waits::BUCKETS];
    for wait_ms in waits {
        let bucket = (0..Waits::BUCKETS).find(|bucket| *wait_ms < 1 << bucket).unwrap();
        buckets[bucket] += 1;
    }
    buckets
}
