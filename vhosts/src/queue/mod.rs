//! The queue machine: what one queue has, and who gets it next.
//!
//! It keeps no reference to connections, stores or clocks. Each operation appends to `out` what the shell
//! must do now, in that order. The shell calls it from one thread at a time.
//!
//! Invariants:
//! - published = ready + unacked + settled, at every moment;
//! - a message is in `ready` or in `unacked`, never in both;
//! - deliveries leave in the order of [`Seq`], except for those that came back;
//! - a consumer never has more unacked messages than its prefetch limit.

mod consumers;
mod ready;
pub mod settings;

pub use consumers::{ConsumerKey, ConsumerSpec};
pub use ready::Entry;

use crate::window::Window;
use crate::{DeliveryId, Message, Seq};
use consumers::Consumers;
use ready::Ready;

/// What the shell must do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Hand a message to a consumer.
    Deliver {
        /// To whom.
        consumer: ConsumerKey,
        /// What.
        delivery: Delivery,
    },
    /// The queue has no part in the message any more; the store may forget it.
    Settled {
        /// Its place in the queue.
        seq: Seq,
        /// Itself.
        message: Message,
    },
}

/// A message on its way to a consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// How the consumer's answer will name it; none when it need not answer.
    pub id: Option<DeliveryId>,
    /// What was published.
    pub message: Message,
    /// Whether it was handed out before.
    pub redelivered: bool,
}

/// What a consumer answered to a delivery, or what its end answered for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done: `basic.ack`, or `basic.reject` and `basic.nack` without requeue.
    Settle,
    /// Back to its place, to be delivered again.
    Requeue,
    /// Back to its place as if it had never left: the consumer did not see it.
    Undelivered,
}

/// The queue has an exclusive consumer, or has consumers and was to get an exclusive one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExclusiveUse;

/// Plain counters since the queue was declared or recovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that came in.
    pub published: u64,
    /// Deliveries to consumers, acknowledged or not.
    pub delivered: u64,
    /// Of these, the ones that need no acknowledgement.
    pub delivered_no_ack: u64,
    /// Of all deliveries, those of a message that was delivered before.
    pub redelivered: u64,
    /// Messages taken by `basic.get`.
    pub got: u64,
    /// Of these, the ones that need no acknowledgement.
    pub got_no_ack: u64,
    /// Messages that the queue is done with.
    pub settled: u64,
}

impl Counters {
    /// Adds those of another queue.
    pub fn add(&mut self, other: Counters) {
        self.published += other.published;
        self.delivered += other.delivered;
        self.delivered_no_ack += other.delivered_no_ack;
        self.redelivered += other.redelivered;
        self.got += other.got;
        self.got_no_ack += other.got_no_ack;
        self.settled += other.settled;
    }
}

/// One queue.
#[derive(Debug)]
pub struct Queue {
    durable: bool,
    ready: Ready,
    unacked: Window<Unacked>,
    unacked_bytes: u64,
    consumers: Consumers,
    next_seq: Seq,
    counters: Counters,
}

#[derive(Debug)]
struct Unacked {
    entry: Entry,
    /// None: taken by `basic.get`.
    consumer: Option<ConsumerKey>,
}

impl Queue {
    /// An empty queue that gives out places from `next_seq` on. Persistent messages of a `durable` one are
    /// in the store, so it says when it is done with them.
    #[must_use]
    pub fn new(durable: bool, next_seq: Seq) -> Queue {
        Queue {
            durable,
            ready: Ready::default(),
            unacked: Window::starting_at(1),
            unacked_bytes: 0,
            consumers: Consumers::default(),
            next_seq,
            counters: Counters::default(),
        }
    }

    /// Takes back a message that was stored under `seq` before a restart.
    pub fn recover(&mut self, seq: Seq, message: Message) {
        self.next_seq = self.next_seq.max(Seq(seq.0 + 1));
        self.counters.published += 1;
        let entry = Entry { seq, message, redelivered: false };
        if self.ready.is_empty() { self.ready.push(entry) } else { self.ready.put_back(entry) }
    }

    /// Takes in a message and says which place it got.
    pub fn publish(&mut self, message: Message, out: &mut Vec<Effect>) -> Seq {
        let seq = self.next_seq;
        self.next_seq.0 += 1;
        self.counters.published += 1;
        self.ready.push(Entry { seq, message, redelivered: false });
        self.deliver(out);
        seq
    }

    /// Adds a consumer.
    ///
    /// # Errors
    /// [`ExclusiveUse`] when it or another one wants to be alone.
    pub fn consume(&mut self, spec: ConsumerSpec) -> Result<ConsumerKey, ExclusiveUse> {
        if self.consumers.exclusive() || (spec.exclusive && !self.consumers.is_empty()) {
            return Err(ExclusiveUse);
        }
        Ok(self.consumers.add(spec))
    }

    /// Hands out what can be handed out. To be called once a new consumer can be reached.
    pub fn deliver(&mut self, out: &mut Vec<Effect>) {
        while !self.ready.is_empty() {
            let Some((consumer, no_ack)) = self.consumers.take_turn() else { return };
            let Some(entry) = self.ready.pop() else { return };
            self.counters.delivered += 1;
            self.counters.delivered_no_ack += u64::from(no_ack);
            let delivery = self.hand_out(entry, Some(consumer), no_ack, out);
            out.push(Effect::Deliver { consumer, delivery });
        }
    }

    /// Removes a consumer. Its unacked messages stay with its channel. False if there is no such consumer.
    pub fn cancel(&mut self, consumer: ConsumerKey) -> bool {
        self.consumers.remove(consumer)
    }

    /// Takes the oldest ready message (`basic.get`).
    pub fn get(&mut self, no_ack: bool, out: &mut Vec<Effect>) -> Option<Delivery> {
        let entry = self.ready.pop()?;
        self.counters.got += 1;
        self.counters.got_no_ack += u64::from(no_ack);
        Some(self.hand_out(entry, None, no_ack, out))
    }

    /// Takes the answer to a delivery. An id that is not unacked is ignored: its queue may be a new one.
    pub fn answer(&mut self, id: DeliveryId, outcome: Outcome, out: &mut Vec<Effect>) {
        let Some(Unacked { entry, consumer }) = self.unacked.remove(id.0) else { return };
        self.unacked_bytes -= entry.message.body_len();
        if let Some(consumer) = consumer {
            self.consumers.settled(consumer);
        }
        match outcome {
            Outcome::Settle => self.settle(entry, out),
            Outcome::Requeue => self.ready.put_back(Entry { redelivered: true, ..entry }),
            Outcome::Undelivered => self.ready.put_back(entry),
        }
    }

    /// The connection of a consumer has room for `credit` more messages.
    pub fn grant(&mut self, consumer: ConsumerKey, credit: u32) {
        self.consumers.grant(consumer, credit);
    }

    /// Removes all ready messages and says how many there were.
    pub fn purge(&mut self, out: &mut Vec<Effect>) -> usize {
        let purged = self.ready.len();
        while let Some(entry) = self.ready.pop() {
            self.settle(entry, out);
        }
        purged
    }

    /// Removes everything, unacked messages included; the queue is about to be deleted.
    pub fn clear(&mut self, out: &mut Vec<Effect>) {
        self.purge(out);
        while let Some((_, unacked)) = self.unacked.pop_until(u64::MAX) {
            self.settle(unacked.entry, out);
        }
        self.unacked_bytes = 0;
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
        self.unacked_bytes
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

    /// Counters since the queue came to be in this process.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn hand_out(
        &mut self,
        entry: Entry,
        consumer: Option<ConsumerKey>,
        no_ack: bool,
        out: &mut Vec<Effect>,
    ) -> Delivery {
        let (message, redelivered) = (entry.message.clone(), entry.redelivered);
        self.counters.redelivered += u64::from(redelivered);
        let id = if no_ack {
            self.settle(entry, out);
            None
        } else {
            self.unacked_bytes += message.body_len();
            Some(DeliveryId(self.unacked.push(Unacked { entry, consumer })))
        };
        Delivery { id, message, redelivered }
    }

    fn settle(&mut self, entry: Entry, out: &mut Vec<Effect>) {
        self.counters.settled += 1;
        if self.durable && entry.message.persistent() {
            out.push(Effect::Settled { seq: entry.seq, message: entry.message });
        }
    }
}
