//! Messages that wait for a consumer, oldest first.
//!
//! New ones go to the back of a ring. One that comes back goes to its old place: it is older than what the
//! ring has left, or lies between what else came back, so a small tree beside the ring is enough.
//!
//! Invariant: the ring is ordered by [`Seq`]; `bytes` is the sum of the bodies in both.

use crate::{Message, Seq};
use std::collections::{BTreeMap, VecDeque};

/// A message in a queue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the queue.
    pub seq: Seq,
    /// What was published.
    pub message: Message,
    /// Whether it was handed to a consumer before.
    pub redelivered: bool,
}

/// The waiting messages of one queue.
#[derive(Debug, Default)]
pub struct Ready {
    fresh: VecDeque<Entry>,
    returned: BTreeMap<Seq, Entry>,
    bytes: u64,
}

impl Ready {
    /// Messages that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fresh.len() + self.returned.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.returned.is_empty()
    }

    /// Bytes of their bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a message whose place is behind all others.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.message.body_len();
        self.fresh.push_back(entry);
    }

    /// Puts a message to its place, wherever that is.
    pub fn put_back(&mut self, entry: Entry) {
        if self.fresh.back().is_some_and(|newest| newest.seq < entry.seq) {
            return self.push(entry);
        }
        self.bytes += entry.message.body_len();
        self.returned.insert(entry.seq, entry);
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<Entry> {
        let entry = match (self.returned.first_entry(), self.fresh.front()) {
            (Some(returned), Some(fresh)) if fresh.seq < *returned.key() => self.fresh.pop_front(),
            (Some(returned), _) => Some(returned.remove()),
            (None, _) => self.fresh.pop_front(),
        }?;
        self.bytes -= entry.message.body_len();
        if self.fresh.is_empty() {
            self.give_back_room();
        }
        Some(entry)
    }

    /// A queue that was deep once does not keep the room for it.
    fn give_back_room(&mut self) {
        const KEPT: usize = 4096;
        if self.fresh.capacity() > KEPT {
            self.fresh.shrink_to(KEPT);
        }
    }
}
