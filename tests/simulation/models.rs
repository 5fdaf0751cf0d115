//! The oracle's data: for each queue a list of every message that ever went there, and what is known of it.

use std::collections::BTreeMap;

/// A message, named by the number at the beginning of its body.
pub type MessageId = u64;

/// A connection, and a channel as numbered over the whole run.
pub type Publisher = (u32, u64);

/// A consumer: its connection, channel and tag.
pub type ConsumerName = (u32, u16, String);

/// What was published.
#[derive(Debug)]
pub struct Published {
    /// Ids grow in publishing order.
    pub publisher: Publisher,
    pub persistent: bool,
    pub mandatory: bool,
    pub exchange: String,
    pub routing_key: String,
    pub properties: Vec<u8>,
    pub body_len: usize,
    pub returned: bool,
    pub at: u64,
}

/// Whether a queue has a message, ready or unacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Its publish may have been carried out or not.
    Possible,
    /// It may be there.
    Maybe,
    /// It is there.
    Sure,
    /// It was settled.
    Gone,
}

/// A message in a queue.
#[derive(Debug)]
pub struct Entry {
    pub presence: Presence,
    /// Its place is known: all of its publish happened in one tick.
    pub exact: bool,
    pub position: u64,
    /// Written to a client in this life of the broker.
    pub handed: bool,
    /// Written to a client in an earlier life; the broker may remember.
    pub handed_before: bool,
    /// The life before ended suddenly.
    pub is_uncertain: bool,
    pub held: bool,
    /// It may have gone since it was last with a consumer.
    pub blurred: bool,
    /// Deliveries so far; tells a late answer from one to the last delivery.
    pub deliveries: u64,
    /// Since when it could be handed out.
    pub ready_since: u64,
    pub confirmed: bool,
    pub persistent: bool,
    /// It may be in the store alone, where a disk that refuses may lose it.
    pub is_fragile: bool,
    /// Its settlement is on disk.
    pub settled_on_disk: bool,
    /// It was settled before a crash, and that was not on disk.
    pub may_be_back: bool,
}

/// A queue, from its declaration to its end.
#[derive(Debug, Default)]
pub struct QueueModel {
    pub name: String,
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    /// The broker said that it is there.
    pub known: bool,
    pub deleted: bool,
    /// When it went.
    pub deleted_at: u64,
    /// The broker said that it is gone.
    pub deletion_known: bool,
    pub entries: BTreeMap<MessageId, Entry>,
    pub consumers: BTreeMap<ConsumerName, ConsumerModel>,
    /// When its consumers changed last.
    pub steady_since: u64,
    /// When messages that were on their way to a consumer may have come back last.
    pub disturbed_at: u64,
    /// The newest first delivery, by receiving channel and publisher.
    pub newest: BTreeMap<((u32, u16), Publisher), MessageId>,
}

/// A consumer of a queue.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerModel {
    /// A global limit may send its messages back.
    pub limited: bool,
    /// What is on its way to it counts as settled.
    pub no_ack: bool,
}

/// What the run was worth.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub published: u64,
    pub confirmed: u64,
    pub delivered: u64,
    pub redelivered: u64,
    pub crashes: u64,
    /// Steps in which the disk refused something.
    pub stalled: u64,
    /// Looks at a queue some of whose messages were in the store alone.
    pub paged: u64,
    /// Peers that were told to wait.
    pub blocked: u64,
    /// Messages that came back after a crash though they were acked before: their ack was not on disk.
    pub acked_and_back: u64,
    pub recovered: u64,
}

impl QueueModel {
    /// Any message that no consumer holds may be gone.
    pub fn blur(&mut self) {
        for entry in self.entries.values_mut().filter(|entry| !entry.held) {
            entry.blurred = true;
            if entry.presence != Presence::Gone {
                entry.presence = Presence::Maybe;
            }
        }
    }

    /// How many messages it has at least and at most.
    pub fn counts(&self) -> (usize, usize) {
        let present = |sure: bool| {
            let counts = move |entry: &&Entry| {
                entry.presence == Presence::Sure || !sure && entry.presence != Presence::Gone
            };
            self.entries.values().filter(counts).count()
        };
        (present(true), present(false))
    }

    pub fn restarted(&mut self, there: bool, clean: bool) {
        let name = &self.name;
        if !self.durable || self.exclusive || self.deletion_known || (clean && self.deleted) {
            assert!(!there, "queue {name} came back");
        } else if (self.known || clean) && !self.deleted {
            assert!(there, "queue {name} is lost");
        }
        let was_deleted = std::mem::replace(&mut self.deleted, !there);
        self.known |= there;
        self.newest.clear();
        self.consumers.clear();
        self.entries.retain(|_, entry| there && entry.persistent);
        for entry in self.entries.values_mut() {
            entry.may_be_back = entry.presence == Presence::Gone && !entry.settled_on_disk;
            entry.handed_before |= entry.handed;
            entry.is_uncertain = !clean;
            (entry.handed, entry.held) = (false, false);
            entry.presence = match entry.presence {
                Presence::Gone if entry.settled_on_disk => Presence::Gone,
                Presence::Sure if (entry.confirmed || clean) && !was_deleted => Presence::Sure,
                _ => Presence::Maybe,
            };
        }
    }
}

impl Tally {
    /// Adds what another run was worth.
    pub fn add(&mut self, other: Tally) {
        self.published += other.published;
        self.confirmed += other.confirmed;
        self.delivered += other.delivered;
        self.redelivered += other.redelivered;
        self.crashes += other.crashes;
        self.stalled += other.stalled;
        self.paged += other.paged;
        self.blocked += other.blocked;
        self.acked_and_back += other.acked_and_back;
        self.recovered += other.recovered;
    }

    /// Whether everything that the simulation is about happened.
    pub fn is_eventful(&self) -> bool {
        let Tally {
            confirmed, redelivered, crashes, stalled, paged, blocked, acked_and_back, recovered, ..
        } = *self;
        [confirmed, redelivered, crashes, stalled, paged, blocked, acked_and_back, recovered]
            .iter()
            .all(|count| *count > 0)
    }
}

/// The body of a message.
pub fn body(id: MessageId, len: usize) -> Vec<u8> {
    let mut body: Vec<u8> = id.to_be_bytes().into();
    body.extend((8..len.max(8)).map(|at| (id as usize * 31 + at * 7) as u8));
    body
}
