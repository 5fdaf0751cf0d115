//! Who may be handed the next message.
//!
//! A consumer may take a message while it has *credit* (room in the outbox of its connection) and fewer
//! unacked messages than its prefetch limit. Those that may stand in a line and are served in turn.
//!
//! Invariant: a consumer stands in the line exactly once if it may take a message, else not at all, except
//! that one which was removed or lost its credit may stand there until it is met.

use std::collections::VecDeque;

/// Names a consumer of one queue, until it is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerKey(pub u32);

/// How a consumer wants its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerSpec {
    /// A delivered message counts as acknowledged.
    pub no_ack: bool,
    /// No other consumer may join.
    pub exclusive: bool,
    /// Most unacked messages; 0 is no limit.
    pub prefetch: u16,
    /// Messages that the connection has room for.
    pub credit: u32,
}

#[derive(Debug)]
struct Consumer {
    spec: ConsumerSpec,
    unacked: u32,
    in_line: bool,
    /// Cancelled, but its channel still has unacked messages: the key must not be given to another yet.
    retired: bool,
}

impl Consumer {
    fn may_take(&self) -> bool {
        let limited = !self.spec.no_ack && self.spec.prefetch != 0;
        !self.retired && self.spec.credit > 0 && !(limited && self.unacked >= u32::from(self.spec.prefetch))
    }
}

/// The consumers of one queue.
#[derive(Debug, Default)]
pub struct Consumers {
    slots: Vec<Option<Consumer>>,
    line: VecDeque<ConsumerKey>,
    len: usize,
}

impl Consumers {
    /// Consumers that were not cancelled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether one of them wants to be alone.
    #[must_use]
    pub fn exclusive(&self) -> bool {
        self.slots.iter().flatten().any(|consumer| consumer.spec.exclusive && !consumer.retired)
    }

    /// Adds a consumer at the end of the line.
    pub fn add(&mut self, spec: ConsumerSpec) -> ConsumerKey {
        let consumer = Consumer { spec, unacked: 0, in_line: false, retired: false };
        let at = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if at == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[at] = Some(consumer);
        self.len += 1;
        let key = ConsumerKey(at as u32);
        self.line_up(key);
        key
    }

    /// Removes a consumer; false if there was none with that key.
    pub fn remove(&mut self, key: ConsumerKey) -> bool {
        let Some(consumer) = self.consumer(key).filter(|consumer| !consumer.retired) else { return false };
        consumer.retired = true;
        self.len -= 1;
        self.line.retain(|other| *other != key);
        self.free_if_done(key);
        true
    }

    /// The keys of all.
    pub fn keys(&self) -> impl Iterator<Item = ConsumerKey> {
        (0..).zip(&self.slots).filter_map(|(at, slot)| {
            slot.as_ref().filter(|consumer| !consumer.retired).map(|_| ConsumerKey(at))
        })
    }

    /// Takes the next message for the consumer whose turn it is; says whom and whether it need not ack.
    pub fn take_turn(&mut self) -> Option<(ConsumerKey, bool)> {
        loop {
            let key = self.line.pop_front()?;
            let Some(consumer) = self.slots[key.0 as usize].as_mut() else { continue };
            consumer.in_line = false;
            if !consumer.may_take() {
                continue;
            }
            consumer.spec.credit -= 1;
            consumer.unacked += u32::from(!consumer.spec.no_ack);
            let no_ack = consumer.spec.no_ack;
            self.line_up(key);
            return Some((key, no_ack));
        }
    }

    /// An unacked message of that consumer was settled or came back.
    pub fn settled(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.consumer(key) {
            consumer.unacked -= 1;
            self.line_up(key);
            self.free_if_done(key);
        }
    }

    /// The connection has room for that many more.
    pub fn grant(&mut self, key: ConsumerKey, credit: u32) {
        if let Some(consumer) = self.consumer(key) {
            consumer.spec.credit += credit;
            self.line_up(key);
        }
    }

    fn consumer(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        self.slots.get_mut(key.0 as usize)?.as_mut()
    }

    fn free_if_done(&mut self, key: ConsumerKey) {
        if let Some(slot) = self.slots.get_mut(key.0 as usize) {
            slot.take_if(|consumer| consumer.retired && consumer.unacked == 0);
        }
    }

    fn line_up(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumer(key) else { return };
        if consumer.may_take() && !consumer.in_line {
            consumer.in_line = true;
            self.line.push_back(key);
        }
    }
}
