//! A queue as its rules say it, without any cleverness: lists that are sorted and searched.
//!
//! What leaves together leaves in this order: expired messages by their deadlines, waiting ones by the time
//! that they are due, and those of the same moment lowest level first, oldest first.

use crate::consumers::Consumer;
use crate::said::{Given, Said};
use std::cmp::Reverse;
use vhosts::dead_letter::Reason;
use vhosts::queue::settings::{Delayed, Overflow, Schedule};
use vhosts::queue::{Carried, ConsumerKey, ConsumerSpec, Counters, Deaths, History, Outcome, Settings};

/// A message.
#[derive(Clone, Debug)]
pub struct Item {
    pub seq: u64,
    /// What it is told from others by.
    pub name: u64,
    /// How many came before it.
    pub arrival: u64,
    pub level: u8,
    pub persistent: bool,
    pub len: u64,
    pub arrived: u64,
    pub expires: Option<u64>,
    pub history: History,
}

#[derive(Clone, Debug)]
pub struct Unacked {
    pub id: u64,
    pub item: Item,
    pub consumer: Option<ConsumerKey>,
    pub since: u64,
    pub timeout_ms: Option<u64>,
}

impl Unacked {
    fn overdue_at(&self) -> Option<u64> {
        Some(self.since.saturating_add(self.timeout_ms?))
    }
}

#[derive(Clone, Debug)]
pub struct Letter {
    pub id: u64,
    pub item: Item,
    pub reason: Reason,
    pub stored: bool,
    /// When it is tried again; none while it is on its way.
    pub retry: Option<u64>,
}

/// The queue.
pub struct Model {
    pub settings: Settings,
    pub durable: bool,
    pub next_seq: u64,
    pub deliveries: u64,
    pub deaths: u64,
    /// In the order in which they will be handed out.
    pub ready: Vec<Item>,
    /// Oldest delivery first.
    pub unacked: Vec<Unacked>,
    /// With the time that they are due, the next one first.
    pub waiting: Vec<(u64, Item)>,
    /// Oldest death first.
    pub letters: Vec<Letter>,
    /// In the order in which they came.
    pub consumers: Vec<Consumer>,
    /// Those that may take a message, the one that waits longest first.
    pub line: Vec<ConsumerKey>,
    /// With a single active consumer, the one that was served last.
    pub holder: Option<ConsumerKey>,
    pub used: u64,
    pub counters: Counters,
    /// How long each message waited until it was first handed out.
    pub waits: Vec<u64>,
    pub said: Vec<Said>,
}

impl Model {
    pub fn new(settings: Settings, durable: bool, next_seq: u64, now: u64) -> Model {
        Model {
            settings,
            durable,
            next_seq,
            deliveries: 0,
            deaths: 0,
            ready: Vec::new(),
            unacked: Vec::new(),
            waiting: Vec::new(),
            letters: Vec::new(),
            consumers: Vec::new(),
            line: Vec::new(),
            holder: None,
            used: now,
            counters: Counters::default(),
            waits: Vec::new(),
            said: Vec::new(),
        }
    }

    /// The level of a message with that priority.
    pub fn level(&self, priority: Option<u8>) -> u8 {
        let levels = self.settings.priorities;
        priority.unwrap_or(levels.default).min(levels.max)
    }

    /// When a message with that `expiration` expires.
    pub fn expires(&self, arrived: u64, expiration_ms: Option<u64>) -> Option<u64> {
        let shorter = match (self.settings.message_ttl_ms, expiration_ms) {
            (Some(of_queue), Some(own)) => of_queue.min(own),
            (of_queue, own) => of_queue.or(own)?,
        };
        Some(arrived.saturating_add(shorter))
    }

    pub fn recover(&mut self, item: Item, due: Option<u64>) {
        self.counters.published += 1;
        self.next_seq = self.next_seq.max(item.seq + 1);
        match due {
            None => self.put(item),
            Some(due) => self.delay(due, item),
        }
    }

    pub fn publish(&mut self, item: Item, now: u64) -> bool {
        self.expire(now);
        let is_passed_on = self.ready.is_empty() && self.next_consumer().is_some();
        let length = self.ready.len() as u64 + 1;
        let bytes = self.ready_bytes() + item.len;
        if self.settings.limits.overflow != Overflow::DropHead && self.is_over(length, bytes) && !is_passed_on
        {
            self.refuse(item);
            return false;
        }
        self.counters.published += 1;
        self.next_seq += 1;
        self.put(item);
        self.hand_out(now);
        self.expire(now);
        self.drop_head();
        true
    }

    fn refuse(&mut self, item: Item) {
        self.counters.refused += 1;
        let overflow = self.settings.limits.overflow;
        if overflow == Overflow::RejectPublishDlx && self.settings.dead_letter.is_some() {
            self.counters.published += 1;
            self.next_seq += 1;
            self.send(item, Reason::MaxLength, false);
        }
    }

    pub fn deliver(&mut self, now: u64) {
        self.expire(now);
        self.hand_out(now);
        self.drop_head();
    }

    pub fn get(&mut self, no_ack: bool, now: u64) -> Option<Given> {
        self.used = now;
        self.expire(now);
        if self.ready.is_empty() {
            return None;
        }
        self.counters.got += 1;
        self.counters.got_no_ack += u64::from(no_ack);
        Some(self.take(None, no_ack, self.settings.consumer_timeout_ms, now))
    }

    pub fn answer(&mut self, id: u64, outcome: Outcome, now: u64) {
        let Some(item) = self.take_back(id) else { return };
        match outcome {
            Outcome::Settle => {
                self.counters.acked += 1;
                self.settle(item);
            }
            Outcome::Reject => self.die(item, Reason::Rejected),
            Outcome::Return => self.come_back(item, false, now),
            Outcome::Fail => self.come_back(item, true, now),
            Outcome::Undelivered => self.put(item),
        }
    }

    pub fn carried(&mut self, id: u64, carried: Carried, now: u64) {
        let at = self.letters.iter().position(|letter| letter.id == id).unwrap();
        let insists = self.settings.dead_letter.as_ref().is_some_and(|to| to.at_least_once);
        if insists && carried == Carried::Stranded {
            self.letters[at].retry = Some(now + vhosts::queue::RETRY_MS);
            return;
        }
        let letter = self.letters.remove(at);
        match carried {
            Carried::Arrived => count(&mut self.counters.dead_lettered, letter.reason),
            Carried::Stranded | Carried::Cycle => count(&mut self.counters.dropped, letter.reason),
        }
        self.bury(letter);
    }

    pub fn purge(&mut self) -> usize {
        let ready = std::mem::take(&mut self.ready);
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(_, item)| item);
        let purged: Vec<Item> = ready.into_iter().chain(waiting).collect();
        let count = purged.len();
        purged.into_iter().for_each(|item| self.settle(item));
        count
    }

    pub fn clear(&mut self) {
        self.purge();
        std::mem::take(&mut self.unacked).into_iter().for_each(|unacked| self.settle(unacked.item));
        std::mem::take(&mut self.letters).into_iter().for_each(|letter| self.bury(letter));
    }

    pub fn tick(&mut self, now: u64) {
        loop {
            let overdue =
                self.unacked.iter().filter(|unacked| unacked.overdue_at().is_some_and(|at| at <= now));
            let Some(first) = overdue.min_by_key(|unacked| (unacked.overdue_at(), unacked.id)) else { break };
            self.time_out(&first.clone(), now);
        }
        while self.waiting.first().is_some_and(|(due, _)| *due <= now) {
            let (_, item) = self.waiting.remove(0);
            self.put(item);
        }
        self.retry_letters(now);
        self.deliver(now);
    }

    fn time_out(&mut self, unacked: &Unacked, now: u64) {
        let item = self.take_back(unacked.id).unwrap();
        self.counters.timed_out += 1;
        self.come_back(item, false, now);
        if let Some(key) = unacked.consumer.filter(|key| self.consumer(*key).is_some()) {
            self.cancel(key, now);
            self.said.push(Said::TimedOut(key, unacked.timeout_ms.unwrap()));
        }
    }

    fn retry_letters(&mut self, now: u64) {
        let mut due: Vec<&mut Letter> =
            self.letters.iter_mut().filter(|letter| letter.retry.is_some_and(|at| at <= now)).collect();
        due.sort_by_key(|letter| (letter.retry, letter.id));
        for letter in due {
            letter.retry = None;
            self.said.push(Said::Died(letter.id, letter.item.name, letter.reason));
        }
    }

    /// When something happens by itself.
    pub fn deadline(&self) -> Option<u64> {
        let expiry = self.ready.iter().filter_map(|item| item.expires);
        let waiting = self.waiting.iter().map(|(due, _)| *due);
        let timeouts = self.unacked.iter().filter_map(Unacked::overdue_at);
        let retries = self.letters.iter().filter_map(|letter| letter.retry);
        expiry.chain(waiting).chain(timeouts).chain(retries).chain(self.unused_at()).min()
    }

    pub fn unused_at(&self) -> Option<u64> {
        if self.consumers.is_empty() { Some(self.used + self.settings.expires_ms?) } else { None }
    }

    pub fn ready_bytes(&self) -> u64 {
        self.ready.iter().map(|item| item.len).sum()
    }

    /// The arrival of the oldest ready message, where the oldest of a level is its first.
    pub fn oldest(&self) -> Option<u64> {
        let is_first = |at: usize| at == 0 || self.ready[at - 1].level != self.ready[at].level;
        (0..self.ready.len()).filter(|at| is_first(*at)).map(|at| self.ready[at].arrived).min()
    }

    fn put(&mut self, item: Item) {
        self.ready.push(item);
        self.ready.sort_by_key(|item| (Reverse(item.level), item.arrival));
    }

    fn delay(&mut self, due: u64, item: Item) {
        let until = item.expires.map_or(due, |expires| expires.min(due));
        self.waiting.push((until, item));
        self.waiting.sort_by_key(|(until, item)| (*until, item.level, item.arrival));
    }

    fn hand_out(&mut self, now: u64) {
        while !self.ready.is_empty() {
            let Some(key) = self.next_consumer() else { return };
            let default_ms = self.settings.consumer_timeout_ms;
            let consumer = self.consumer(key).unwrap();
            let ConsumerSpec { no_ack, timeout_ms, .. } = consumer.spec;
            consumer.spec.credit -= 1;
            consumer.unacked += u16::from(!no_ack);
            self.line.retain(|other| *other != key);
            self.line_up();
            self.counters.delivered += 1;
            self.counters.delivered_no_ack += u64::from(no_ack);
            let given = self.take(Some(key), no_ack, timeout_ms.or(default_ms), now);
            self.said.push(Said::Deliver(key, given));
        }
    }

    fn take(
        &mut self,
        consumer: Option<ConsumerKey>,
        no_ack: bool,
        timeout_ms: Option<u64>,
        now: u64,
    ) -> Given {
        let item = self.ready.remove(0);
        let mut given = Given { id: None, name: item.name, history: item.history };
        if item.history.acquired > 0 {
            self.counters.redelivered += 1;
        } else {
            self.waits.push(now - item.arrived);
        }
        if no_ack {
            self.settle(item);
        } else {
            self.deliveries += 1;
            given.id = Some(self.deliveries);
            self.unacked.push(Unacked { id: self.deliveries, item, consumer, since: now, timeout_ms });
        }
        given
    }

    fn take_back(&mut self, id: u64) -> Option<Item> {
        let at = self.unacked.iter().position(|unacked| unacked.id == id)?;
        let Unacked { item, consumer, .. } = self.unacked.remove(at);
        if let Some(consumer) = consumer.and_then(|key| self.consumer(key)) {
            consumer.unacked -= 1;
        }
        self.line_up();
        Some(item)
    }

    fn come_back(&mut self, mut item: Item, failed: bool, now: u64) {
        item.history.acquired += 1;
        item.history.failed += u32::from(failed);
        if self.settings.retry.delivery_limit.is_some_and(|limit| item.history.failed > limit) {
            return self.die(item, Reason::DeliveryLimit);
        }
        self.counters.returned += 1;
        let due = match self.delay_ms(failed, item.history) {
            0 => None,
            delay_ms => Some(now + delay_ms),
        };
        if self.durable && item.persistent {
            self.said.push(Said::Noted(item.seq, item.name, item.history, due));
        }
        match due {
            Some(due) => self.delay(due, item),
            None => self.put(item),
        }
    }

    fn delay_ms(&self, failed: bool, history: History) -> u64 {
        let delays = match self.settings.retry.delayed {
            Delayed::Disabled => false,
            Delayed::All => true,
            Delayed::Failed => failed,
            Delayed::Returned => !failed,
        };
        match &self.settings.retry.schedule {
            _ if !delays => 0,
            Schedule::Linear { min_ms, max_ms } => (min_ms * u64::from(history.failed.max(1))).min(*max_ms),
            Schedule::Exponential { min_ms, multiplier, max_ms } => {
                let mut delay_ms = *min_ms as f64;
                (1..history.acquired).for_each(|_| delay_ms *= multiplier);
                (delay_ms as u64).min(*max_ms)
            }
            Schedule::Levels(levels) => levels[(history.acquired as usize).min(levels.len()) - 1],
        }
    }

    fn expire(&mut self, now: u64) {
        let is_due = |item: &Item| item.expires.is_some_and(|expires| expires <= now);
        let (mut due, ready): (Vec<Item>, Vec<Item>) = self.ready.drain(..).partition(is_due);
        self.ready = ready;
        due.sort_by_key(|item| (item.expires, item.level, item.arrival));
        due.into_iter().for_each(|item| self.die(item, Reason::Expired));
    }

    fn is_over(&self, length: u64, bytes: u64) -> bool {
        let limits = self.settings.limits;
        limits.max_length.is_some_and(|max| length > max)
            || limits.max_length_bytes.is_some_and(|max| bytes > max)
    }

    fn drop_head(&mut self) {
        while self.settings.limits.overflow == Overflow::DropHead
            && self.is_over(self.ready.len() as u64, self.ready_bytes())
        {
            let least = self.ready.iter().map(|item| item.level).min().unwrap();
            let at = self.ready.iter().position(|item| item.level == least).unwrap();
            let item = self.ready.remove(at);
            self.die(item, Reason::MaxLength);
        }
    }

    fn die(&mut self, item: Item, reason: Reason) {
        if self.settings.dead_letter.is_some() {
            let stored = self.durable && item.persistent;
            return self.send(item, reason, stored);
        }
        count(&mut self.counters.dropped, reason);
        if reason == Reason::DeliveryLimit {
            self.said.push(Said::Dropped(item.name, item.history));
        }
        self.settle(item);
    }

    fn send(&mut self, item: Item, reason: Reason, stored: bool) {
        self.deaths += 1;
        self.said.push(Said::Died(self.deaths, item.name, reason));
        self.letters.push(Letter { id: self.deaths, item, reason, stored, retry: None });
    }

    fn bury(&mut self, letter: Letter) {
        self.counters.settled += 1;
        if letter.stored {
            self.said.push(Said::Settled(letter.item.seq, letter.item.name));
        }
    }

    fn settle(&mut self, item: Item) {
        self.counters.settled += 1;
        if self.durable && item.persistent {
            self.said.push(Said::Settled(item.seq, item.name));
        }
    }
}

fn count(deaths: &mut Deaths, reason: Reason) {
    match reason {
        Reason::Rejected => deaths.rejected += 1,
        Reason::Expired => deaths.expired += 1,
        Reason::MaxLength => deaths.maxlen += 1,
        Reason::DeliveryLimit => deaths.delivery_limit += 1,
    }
}
