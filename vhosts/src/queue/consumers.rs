//! Who may be handed the next message.
//!
//! A consumer may take a message while it has *credit* (room in the outbox of its connection) and fewer
//! unacked messages than its prefetch limit. Those that may stand in the line of their priority and are
//! served in turn, a lower priority only when nobody of a higher one may take more (RabbitMQ, "Consumer
//! Priorities").
//!
//! Invariant: a consumer stands in its line exactly once if it may take a message, else not at all, except
//! that one which was removed or lost its credit or its turn may stand there until it is met.

use super::single_active::SingleActive;
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
    /// Those with a higher one are served first (`x-priority`).
    pub priority: i32,
    /// Milliseconds that a message may stay unacked (`x-consumer-timeout`); none: what the queue says.
    pub timeout_ms: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) spec: ConsumerSpec,
    pub(super) unacked: u32,
    /// How many consumers came before it.
    pub(super) arrival: u64,
    in_line: bool,
    /// Cancelled, but its channel still has unacked messages: the key must not be given to another yet.
    pub(super) retired: bool,
}

impl Consumer {
    fn may_take(&self) -> bool {
        let limited = !self.spec.no_ack && self.spec.prefetch != 0;
        !self.retired && self.spec.credit > 0 && !(limited && self.unacked >= u32::from(self.spec.prefetch))
    }

    /// Gives it a turn, if it may have one, and says whether it may have another.
    #[inline]
    fn serve(&mut self, key: ConsumerKey) -> Option<(Turn, bool)> {
        if !self.may_take() {
            return None;
        }
        self.spec.credit -= 1;
        self.unacked += u32::from(!self.spec.no_ack);
        Some((Turn { key, no_ack: self.spec.no_ack }, self.may_take()))
    }
}

/// A consumer whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) key: ConsumerKey,
    pub(super) no_ack: bool,
}

/// Those of one priority who may take a message.
#[derive(Debug)]
struct Line {
    priority: i32,
    keys: VecDeque<ConsumerKey>,
}

impl Line {
    /// The first one does not stand here any more.
    fn leave(&mut self, slots: &mut [Option<Consumer>]) {
        if let Some(key) = self.keys.pop_front()
            && let Some(consumer) = &mut slots[key.0 as usize]
        {
            consumer.in_line = false;
        }
    }
}

/// The consumers of one queue.
#[derive(Debug, Default)]
pub struct Consumers {
    slots: Vec<Option<Consumer>>,
    /// The highest priority first.
    lines: Vec<Line>,
    len: usize,
    arrivals: u64,
    /// None: all of them are served.
    single_active: Option<SingleActive>,
}

impl Consumers {
    /// None yet. With `single_active`, only one at a time will be served.
    #[must_use]
    pub fn new(single_active: bool) -> Consumers {
        Consumers { single_active: single_active.then(SingleActive::default), ..Consumers::default() }
    }

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

    /// Whether `spec` can not join: it or another one wants to be alone.
    #[must_use]
    pub fn refuse(&self, spec: &ConsumerSpec) -> bool {
        let exclusive = self.slots.iter().flatten().any(|other| other.spec.exclusive && !other.retired);
        exclusive || (spec.exclusive && (!self.is_empty() || self.single_active.is_some()))
    }

    /// Adds a consumer at the end of its line.
    pub fn add(&mut self, spec: ConsumerSpec) -> ConsumerKey {
        self.arrivals += 1;
        let consumer = Consumer { spec, unacked: 0, arrival: self.arrivals, in_line: false, retired: false };
        let at = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if at == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[at] = Some(consumer);
        self.len += 1;
        let key = ConsumerKey(at as u32);
        self.elect();
        self.line_up(key);
        key
    }

    /// Removes a consumer; false if there was none with that key.
    pub fn remove(&mut self, key: ConsumerKey) -> bool {
        let Some(consumer) = self.consumer(key).filter(|consumer| !consumer.retired) else { return false };
        consumer.retired = true;
        let priority = consumer.spec.priority;
        self.len -= 1;
        if let Some(at) = self.lines.iter().position(|line| line.priority == priority) {
            self.lines[at].keys.retain(|other| *other != key);
            if self.lines[at].keys.is_empty() {
                self.lines.remove(at);
            }
        }
        self.elect();
        self.free_if_done(key);
        true
    }

    /// The keys of all.
    pub fn keys(&self) -> impl Iterator<Item = ConsumerKey> {
        self.live().map(|(key, _)| key)
    }

    /// Whether a consumer is served: always, but where only one at a time is.
    #[must_use]
    pub fn is_active(&self, key: ConsumerKey) -> bool {
        self.single_active.as_ref().is_none_or(|single| single.is_active(key))
    }

    /// Whether somebody may take a message.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.lines.iter().flat_map(|line| &line.keys).any(|key| self.may_take(*key))
    }

    /// Takes the next message for the consumer whose turn it is.
    #[inline]
    pub(super) fn take_turn(&mut self) -> Option<Turn> {
        let Consumers { slots, lines, single_active, .. } = self;
        for line in lines {
            while let Some(&key) = line.keys.front() {
                let is_active = single_active.as_ref().is_none_or(|single| single.is_active(key));
                let consumer = slots[key.0 as usize].as_mut().filter(|_| is_active);
                let Some((turn, goes_on)) = consumer.and_then(|consumer| consumer.serve(key)) else {
                    line.leave(slots);
                    continue;
                };
                match goes_on {
                    false => line.leave(slots),
                    true if line.keys.len() > 1 => line.keys.rotate_left(1),
                    true => {}
                }
                return Some(turn);
            }
        }
        None
    }

    /// There was no message after all for a turn that was taken.
    pub(super) fn give_back(&mut self, turn: Turn) {
        if let Some(consumer) = self.consumer(turn.key) {
            consumer.spec.credit += 1;
            consumer.unacked -= u32::from(!turn.no_ack);
            self.line_up(turn.key);
        }
    }

    /// An unacked message of that consumer was settled or came back.
    pub fn settled(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.consumer(key) {
            consumer.unacked -= 1;
            let was_last = consumer.unacked == 0;
            if was_last {
                self.elect();
            }
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

    /// What a consumer said about its timeout; also of one that was cancelled and has unacked messages.
    #[must_use]
    pub fn timeout_ms(&self, key: ConsumerKey) -> Option<u64> {
        self.slots.get(key.0 as usize)?.as_ref()?.spec.timeout_ms
    }

    fn may_take(&self, key: ConsumerKey) -> bool {
        let consumer = self.slots.get(key.0 as usize).and_then(Option::as_ref);
        consumer.is_some_and(Consumer::may_take) && self.is_active(key)
    }

    pub(super) fn consumer(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        self.slots.get_mut(key.0 as usize)?.as_mut()
    }

    pub(super) fn live(&self) -> impl Iterator<Item = (ConsumerKey, &Consumer)> {
        let slots = (0..).zip(&self.slots).filter_map(|(at, slot)| Some((ConsumerKey(at), slot.as_ref()?)));
        slots.filter(|(_, consumer)| !consumer.retired)
    }

    /// Where only one at a time is served, lets the right one be it.
    fn elect(&mut self) {
        let Some(mut single) = self.single_active.take() else { return };
        let elected = single.elect(self);
        self.single_active = Some(single);
        if let Some(key) = elected {
            self.line_up(key);
        }
    }

    fn free_if_done(&mut self, key: ConsumerKey) {
        if let Some(slot) = self.slots.get_mut(key.0 as usize) {
            slot.take_if(|consumer| consumer.retired && consumer.unacked == 0);
        }
    }

    fn line_up(&mut self, key: ConsumerKey) {
        if !self.may_take(key) {
            return;
        }
        let Some(consumer) = self.consumer(key).filter(|consumer| !consumer.in_line) else { return };
        consumer.in_line = true;
        let priority = consumer.spec.priority;
        let at = self.lines.partition_point(|line| line.priority > priority);
        if self.lines.get(at).is_none_or(|line| line.priority != priority) {
            self.lines.insert(at, Line { priority, keys: VecDeque::new() });
        }
        self.lines[at].keys.push_back(key);
    }
}
