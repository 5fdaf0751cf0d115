//! The queue machine: what one queue has, and who gets it next.
//!
//! It keeps no reference to connections, stores or clocks. Each operation is told what time it is and appends
//! to `out` what the shell must do now, in that order. The shell calls it from one thread at a time, and
//! calls [`tick`](Queue::tick) when [`deadline`](Queue::deadline) has come.
//!
//! ```text
//!             publish                    deliver, get                  ack
//!                │                  ┌───────────────────► unacked ───────────────► gone
//!                ▼                  │                      │   │
//!     limits ► ready ───────────────┘                      │   │ reject, too many failures
//!      │        ▲  │ ▲                      nack, requeue  │   └─────────────┐
//!      │        │  │ └─────────────────────────────────────┤                 ▼
//!      │        │  └─ expired ──────────────────────────────────────────► letters ──► gone
//!      │        └──────────── waiting ◄── delayed retry ───┘                 ▲
//!      └─ too many ──────────────────────────────────────────────────────────┘
//! ```
//!
//! What of the ready ones is in memory, and what is in the store alone, makes no difference to that: only that
//! whoever needs a message that is in the store waits until the shell has read it.
//!
//! What a queue does besides is composed from its parts when it is declared ([`Settings`]); a part that was
//! not asked for is empty, and costs a comparison.
//!
//! Invariants:
//! - published = ready + unacked + waiting + letters + settled, at every moment, where a refused message that
//!   goes as a letter counts as published;
//! - a message is in one of them, never in two;
//! - within a priority, deliveries leave in the order of arrival, except for those that came back;
//! - no message is delivered after its time is up, but at the moment of its arrival;
//! - a consumer never has more unacked messages than its prefetch limit.

mod browse;
mod consumers;
mod cut;
mod deadlines;
mod effect;
mod expiry;
mod history;
mod letters;
mod level;
mod level_set;
mod limits;
mod moves;
mod page;
mod paging;
mod radix_heap;
mod ready;
mod retry;
pub mod settings;
mod single_active;
mod stats;
mod unacked;

pub use browse::{Browse, Browsed, Position, Where};
pub use consumers::{ConsumerKey, ConsumerSpec};
pub use cut::Amount;
pub use effect::{Carried, Delivery, Effect, ExclusiveUse, Full, Outcome};
pub use history::History;
pub use letters::{LetterId, RETRY_MS};
pub use page::{Entries, PAGE_BYTES, PAGE_MESSAGES, Page, PagedEntry};
pub use paging::{REREAD_MS, Residency, Stored};
pub use settings::Settings;
pub use stats::{Counters, Deaths, Rates, Sampler, Waits};

use crate::dead_letter::Reason;
use crate::{DeliveryId, Message, Moment, Seq};
use consumers::Consumers;
use expiry::Expiry;
use letters::Letters;
use paging::Paging;
use ready::{Entry, Ready};
use retry::Waiting;
use settings::{Limits, Retry};
use unacked::{HandedOut, Unacked};

/// One queue.
#[derive(Debug)]
pub struct Queue {
    durable: bool,
    limits: Limits,
    retry: Retry,
    /// Whether there is an exchange for dead letters, and whether they wait until they find a queue.
    dead_letters: Option<Insist>,
    consumer_timeout_ms: Option<u64>,
    expires_ms: Option<u64>,
    ready: Ready,
    paging: Paging,
    expiry: Expiry,
    unacked: Unacked,
    waiting: Waiting,
    letters: Letters,
    consumers: Consumers,
    next_seq: Seq,
    /// When somebody used the queue last.
    used: Moment,
    counters: Counters,
    waits: Waits,
    sampler: Sampler,
}

/// Whether a dead letter stays until a queue took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Insist(bool);

impl Queue {
    /// An empty queue that gives out numbers from `next_seq` on. Persistent messages of a `durable` one are in
    /// the store, so it says when it is done with them.
    #[must_use]
    pub fn new(settings: &Settings, durable: bool, next_seq: Seq, now: Moment) -> Queue {
        Queue {
            durable,
            limits: settings.limits,
            retry: settings.retry.clone(),
            dead_letters: settings.dead_letter.as_ref().map(|to| Insist(to.at_least_once)),
            consumer_timeout_ms: settings.consumer_timeout_ms,
            expires_ms: settings.expires_ms,
            ready: Ready::new(settings.priorities),
            paging: Paging::default(),
            expiry: Expiry::new(settings.message_ttl_ms),
            unacked: Unacked::new(),
            waiting: Waiting::default(),
            letters: Letters::new(),
            consumers: Consumers::new(settings.single_active_consumer),
            next_seq,
            used: now,
            counters: Counters::default(),
            waits: Waits::default(),
            sampler: Sampler::default(),
        }
    }

    /// Takes back a message that was stored under `seq` before a restart, behind those that came back before.
    pub fn recover(&mut self, seq: Seq, message: Message, history: History, due: Option<Moment>) {
        self.next_seq = self.next_seq.max(Seq(seq.0 + 1));
        self.counters.published += 1;
        let entry = Entry::new(seq, self.keeps(&message), message, history);
        match due {
            None => self.push(entry),
            Some(due) => {
                let place = self.ready.reserve(&entry.message);
                self.wait(due, place, entry);
            }
        }
    }

    /// Takes in a message and says which number it got.
    ///
    /// # Errors
    /// [`Full`]: it was refused. It may have become a dead letter all the same.
    pub fn publish(&mut self, message: Message, now: Moment, out: &mut Vec<Effect>) -> Result<Seq, Full> {
        self.expire(now, out);
        if self.is_full_for(1, message.body_len()) {
            self.refuse(message, out);
            return Err(Full);
        }
        let stored = self.keeps(&message);
        let entry = self.enter(message, stored);
        let seq = entry.seq();
        if let Some(turn) = self.turn_without_waiting() {
            let place = self.ready.reserve(&entry.message);
            self.give(turn, place, entry, now, out);
        } else {
            self.push(entry);
            self.hand_out(now, out);
            // A message that may not wait at all has had its chance.
            self.expire(now, out);
            self.drop_excess(out);
        }
        Ok(seq)
    }

    /// Whether of that many messages more, with that many bytes of bodies, one could be refused. A single one
    /// is not when it goes straight to a consumer; how many a consumer would take is not looked at.
    #[must_use]
    pub fn is_full_for(&self, messages: u64, bytes: u64) -> bool {
        let passes_through = messages == 1 && self.passes_through();
        self.limits.refuse(messages, bytes, &self.ready) && !passes_through
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// [`ExclusiveUse`] when it or another one wants to be alone.
    pub fn consume(&mut self, spec: ConsumerSpec) -> Result<ConsumerKey, ExclusiveUse> {
        if self.consumers.refuse(&spec) { Err(ExclusiveUse) } else { Ok(self.consumers.add(spec)) }
    }

    /// Hands out what can be handed out. To be called once a new consumer can be reached, after one went, and
    /// after answers and grants.
    pub fn deliver(&mut self, now: Moment, out: &mut Vec<Effect>) {
        self.expire(now, out);
        self.hand_out(now, out);
        self.drop_excess(out);
    }

    /// Removes a consumer. Its unacked messages stay with its channel. False if there is no such consumer.
    pub fn cancel(&mut self, consumer: ConsumerKey, now: Moment) -> bool {
        let was_there = self.consumers.remove(consumer);
        if was_there {
            self.used = now;
        }
        was_there
    }

    /// Takes the next message (`basic.get`). None: there is none, or it must be fetched
    /// ([`is_next_paged`](Self::is_next_paged)).
    pub fn get(&mut self, no_ack: bool, now: Moment, out: &mut Vec<Effect>) -> Option<Delivery> {
        self.used = now;
        self.expire(now, out);
        let Some((place, entry)) = self.pop(now, out) else {
            if self.is_next_paged() {
                self.read_ahead(1, out);
            }
            return None;
        };
        self.counters.got += 1;
        self.counters.got_no_ack += u64::from(no_ack);
        Some(self.take(place, entry, None, no_ack, now, out))
    }

    /// Somebody looked at the queue (`queue.declare`), so it is not unused.
    pub fn touch(&mut self, now: Moment) {
        self.used = now;
    }

    /// Takes the answer to a delivery. An id that is not unacked is ignored: its queue may be a new one, or
    /// its time may have been up.
    pub fn answer(&mut self, id: DeliveryId, outcome: Outcome, now: Moment, out: &mut Vec<Effect>) {
        let Some(HandedOut { entry, place, .. }) = self.take_back(id) else { return };
        match outcome {
            Outcome::Settle => {
                self.counters.acked += 1;
                self.settle(entry, out);
            }
            Outcome::Reject => self.die(entry, Reason::Rejected, out),
            Outcome::Return => self.come_back(place, entry, false, now, out),
            Outcome::Fail => self.come_back(place, entry, true, now, out),
            Outcome::Undelivered => self.put_back(place, entry),
        }
    }

    /// The connection of a consumer has room for `credit` more messages.
    pub fn grant(&mut self, consumer: ConsumerKey, credit: u32) {
        self.consumers.grant(consumer, credit);
    }

    /// What became of a dead letter.
    pub fn carried(&mut self, id: LetterId, carried: Carried, now: Moment, out: &mut Vec<Effect>) {
        if carried == Carried::Stranded && self.dead_letters == Some(Insist(true)) {
            return self.letters.postpone(id, now);
        }
        let Some(letter) = self.letters.remove(id) else { return };
        match carried {
            Carried::Arrived => self.counters.dead_lettered.count(letter.reason),
            Carried::Stranded | Carried::Cycle => self.counters.dropped.count(letter.reason),
        }
        self.settle(letter.entry, out);
    }

    /// Removes all messages that wait, also those that wait to become ready again, and says how many.
    pub fn purge(&mut self, out: &mut Vec<Effect>) -> usize {
        let purged = self.ready.len() + self.waiting.len();
        self.expiry.clear();
        self.purge_pages(out);
        while let Some((_, entry)) = self.ready.pop() {
            self.settle(entry, out);
        }
        for entry in self.waiting.drain() {
            self.settle(entry, out);
        }
        purged
    }

    /// Removes everything, unacked messages included; the queue is about to be deleted.
    pub fn clear(&mut self, out: &mut Vec<Effect>) {
        self.purge(out);
        while let Some(handed_out) = self.unacked.pop() {
            self.settle(handed_out.entry, out);
        }
        while let Some(letter) = self.letters.pop() {
            self.settle(letter.entry, out);
        }
    }

    /// Does what is due. When that is very much, it does a portion, and the [`deadline`](Self::deadline) is still
    /// past.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<Effect>) {
        while let Some(id) = self.unacked.pop_overdue(now) {
            self.time_out(id, now, out);
        }
        self.end_rest(now);
        self.wake(now);
        while let Some((id, letter)) = self.letters.pop_due(now) {
            let (message, reason) = (letter.entry.message.clone(), letter.reason);
            out.push(Effect::Died { letter: id, message, reason });
        }
        self.deliver(now, out);
    }

    /// When [`tick`](Self::tick) is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let parts = [
            self.expiry.first(),
            self.waiting.first(),
            self.unacked.first_timeout(),
            self.letters.first_retry(),
            self.paging.rests_until(),
            self.unused_at(),
        ];
        parts.into_iter().flatten().min()
    }

    /// When the queue goes because nobody uses it (`x-expires`).
    #[must_use]
    pub fn unused_at(&self) -> Option<Moment> {
        let expires_ms = self.expires_ms.filter(|_| self.consumers.is_empty())?;
        Some(self.used.after_ms(expires_ms))
    }

    /// Messages that wait for a consumer.
    #[must_use]
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Bytes of the bodies that wait for a consumer.
    #[must_use]
    pub fn ready_bytes(&self) -> u64 {
        self.ready.bytes()
    }

    /// Messages that wait for an answer.
    #[must_use]
    pub fn unacked_len(&self) -> usize {
        self.unacked.len()
    }

    /// Bytes of the bodies that wait for an answer.
    #[must_use]
    pub fn unacked_bytes(&self) -> u64 {
        self.unacked.bytes()
    }

    /// Messages that wait to become ready again.
    #[must_use]
    pub fn delayed_len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of the bodies that wait to become ready again.
    #[must_use]
    pub fn delayed_bytes(&self) -> u64 {
        self.waiting.bytes()
    }

    /// Messages on their way to the dead-letter exchange.
    #[must_use]
    pub fn letters_len(&self) -> usize {
        self.letters.len()
    }

    /// When the oldest ready message arrived.
    #[must_use]
    pub fn oldest(&self) -> Option<Moment> {
        self.ready.oldest().min()
    }

    /// Consumers.
    #[must_use]
    pub fn consumers_len(&self) -> usize {
        self.consumers.len()
    }

    /// The keys of the consumers.
    pub fn consumer_keys(&self) -> impl Iterator<Item = ConsumerKey> {
        self.consumers.keys()
    }

    /// Whether a consumer is served: always, but in a queue with a single active consumer.
    #[must_use]
    pub fn is_active(&self, consumer: ConsumerKey) -> bool {
        self.consumers.is_active(consumer)
    }

    /// Counters since the queue came to be in this process.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How long messages waited before they were first handed out.
    #[must_use]
    pub fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Messages per second over the last seconds; to be asked for now and then.
    pub fn rates(&mut self, now: Moment) -> Rates {
        self.sampler.look(now, &self.counters);
        self.sampler.rates(now, &self.counters)
    }
}
