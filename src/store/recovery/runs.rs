//! What a restart knows of the messages of each queue, before the queues have it.
//!
//! The log has them mostly in the order of their numbers. Each run of messages that is in order is kept as one
//! string of octets; a queue gets its runs merged.

use super::super::disk::SegmentNumber;
use super::super::index::Facts;
use super::super::notes::Note;
use foldhash::fast::RandomState;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use vhosts::varint::{push, push_step, take, take_step};
use vhosts::{Moment, Place, QueueId, Seq};

/// A message of a queue that is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Its number in the queue.
    pub seq: Seq,
    /// Where it is.
    pub place: Place,
    /// Bytes of its body.
    pub body_len: u64,
    /// When it was published.
    pub arrived: Moment,
    /// Its own `expiration`, in milliseconds.
    pub expiration_ms: Option<u64>,
    /// Its priority.
    pub priority: Option<u8>,
    /// The newest that was written of it; zeros if there was none.
    pub note: Note,
}

/// The messages of one queue.
#[derive(Debug)]
pub struct RecoveredQueue {
    /// The queue.
    pub queue: QueueId,
    /// The first number that it may give: higher than all that are in the log.
    pub next: Seq,
    /// How many messages it has.
    pub len: u64,
    runs: Vec<Run>,
}

impl RecoveredQueue {
    /// The messages in order of their numbers.
    pub fn messages(&self) -> impl Iterator<Item = Recovered> {
        Merged { waiting: self.runs.iter(), started: BinaryHeap::new(), next: None }.start()
    }
}

#[derive(Debug, Default)]
pub(super) struct Runs(HashMap<QueueId, Queue, RandomState>);

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    len: u64,
    runs: Vec<Run>,
}

/// Messages of one queue and segment, in order of their numbers.
#[derive(Debug)]
struct Run {
    first: u64,
    last: Last,
    segment: SegmentNumber,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Last {
    seq: u64,
    unit: u64,
    arrived: u64,
}

const SHARED: u8 = 1;
const EXPIRES: u8 = 1 << 1;
const PRIORITY: u8 = 1 << 2;
const NOTED: u8 = 1 << 3;
const DUE: u8 = 1 << 4;

impl Runs {
    /// A number that the queue gave.
    pub(super) fn seen(&mut self, queue: QueueId, seq: Seq) {
        let queue = self.0.entry(queue).or_default();
        queue.next = queue.next.max(seq.0.saturating_add(1));
    }

    pub(super) fn add(&mut self, queue: QueueId, seq: Seq, place: Place, facts: Facts, note: Note) {
        let queue = self.0.entry(queue).or_default();
        queue.len += 1;
        let goes_on =
            queue.runs.last().is_some_and(|run| run.segment == place.segment && run.last.seq < seq.0);
        if !goes_on {
            queue.runs.push(Run {
                first: seq.0,
                last: Last::default(),
                segment: place.segment,
                bytes: Vec::new(),
            });
        }
        if let Some(run) = queue.runs.last_mut() {
            run.add(seq, place, facts, note);
        }
    }

    /// All queues, and how many messages they have together.
    pub(super) fn finish(self) -> (Vec<RecoveredQueue>, u64) {
        let mut len = 0;
        let mut queues: Vec<_> = self
            .0
            .into_iter()
            .map(|(id, mut queue)| {
                len += queue.len;
                queue.runs.sort_unstable_by_key(|run| run.first);
                RecoveredQueue { queue: id, next: Seq(queue.next), len: queue.len, runs: queue.runs }
            })
            .collect();
        queues.sort_unstable_by_key(|queue| queue.queue);
        (queues, len)
    }
}

impl Run {
    fn add(&mut self, seq: Seq, place: Place, facts: Facts, note: Note) {
        let (out, is_noted) = (&mut self.bytes, note != Note::default());
        let bit = |is_set, bit| if is_set { bit } else { 0 };
        out.push(
            bit(place.shared, SHARED)
                | bit(facts.expiration_ms.is_some(), EXPIRES)
                | bit(facts.priority.is_some(), PRIORITY)
                | bit(is_noted, NOTED)
                | bit(note.due.is_some(), DUE),
        );
        push_step(out, self.last.seq, seq.0);
        push_step(out, self.last.unit, place.unit.into());
        out.push(place.units);
        push(out, facts.body_len);
        push_step(out, self.last.arrived, facts.arrived.0);
        out.extend(facts.priority);
        if let Some(expiration_ms) = facts.expiration_ms {
            push(out, expiration_ms);
        }
        if is_noted {
            push(out, note.acquired.into());
            push(out, note.failed.into());
        }
        if let Some(due) = note.due {
            push(out, due.0);
        }
        self.last = Last { seq: seq.0, unit: place.unit.into(), arrived: facts.arrived.0 };
    }
}

/// The messages of a run.
struct Messages<'a> {
    rest: &'a [u8],
    last: Last,
    segment: SegmentNumber,
}

impl<'a> Messages<'a> {
    fn of(run: &'a Run) -> Messages<'a> {
        Messages { rest: &run.bytes, last: Last::default(), segment: run.segment }
    }

    fn octet(&mut self) -> Option<u8> {
        let (&octet, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(octet)
    }
}

impl Iterator for Messages<'_> {
    type Item = Recovered;

    fn next(&mut self) -> Option<Recovered> {
        let tag = self.octet()?;
        let has = |bit| tag & bit != 0;
        let seq = take_step(&mut self.rest, self.last.seq)?;
        let unit = take_step(&mut self.rest, self.last.unit)?;
        let units = self.octet()?;
        let body_len = take(&mut self.rest)?;
        let arrived = take_step(&mut self.rest, self.last.arrived)?;
        self.last = Last { seq, unit, arrived };
        let priority = if has(PRIORITY) { Some(self.octet()?) } else { None };
        let expiration_ms = if has(EXPIRES) { Some(take(&mut self.rest)?) } else { None };
        let mut note = Note::default();
        if has(NOTED) {
            (note.acquired, note.failed) = (take(&mut self.rest)? as u32, take(&mut self.rest)? as u32);
        }
        if has(DUE) {
            note.due = Some(Moment(take(&mut self.rest)?));
        }
        let place = Place { segment: self.segment, unit: unit as u32, units, shared: has(SHARED) };
        Some(Recovered {
            seq: Seq(seq),
            place,
            body_len,
            arrived: Moment(arrived),
            expiration_ms,
            priority,
            note,
        })
    }
}

/// Runs, merged; most begin where another ends, so few are under way at the same time.
struct Merged<'a> {
    waiting: std::slice::Iter<'a, Run>,
    /// The next number of each run that has begun.
    started: BinaryHeap<Reverse<Started<'a>>>,
    /// The first of the runs that wait.
    next: Option<&'a Run>,
}

struct Started<'a> {
    first: Recovered,
    rest: Messages<'a>,
}

impl PartialEq for Started<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.first.seq == other.first.seq
    }
}

impl Eq for Started<'_> {}

impl PartialOrd for Started<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Started<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.first.seq.cmp(&other.first.seq)
    }
}

impl<'a> Merged<'a> {
    fn start(mut self) -> Merged<'a> {
        self.next = self.waiting.next();
        self
    }

    fn go_on(&mut self, mut rest: Messages<'a>) {
        if let Some(first) = rest.next() {
            self.started.push(Reverse(Started { first, rest }));
        }
    }
}

impl Iterator for Merged<'_> {
    type Item = Recovered;

    fn next(&mut self) -> Option<Recovered> {
        while let Some(run) = self.next
            && self.started.peek().is_none_or(|Reverse(started)| run.first <= started.first.seq.0)
        {
            self.next = self.waiting.next();
            self.go_on(Messages::of(run));
        }
        let Reverse(Started { first, rest }) = self.started.pop()?;
        self.go_on(rest);
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_come_in_order(
            messages in prop::collection::btree_map(0..10_000_u64, (1..4_u64, any::<u16>(), any::<bool>(), any::<Option<u8>>(), any::<Option<u64>>(), any::<u8>()), 0..200),
            order in any::<u64>(),
        ) {
            let all: Vec<(u64, Recovered)> = messages.into_iter().map(|(seq, (segment, unit, shared, priority, expiration_ms, noted))| {
                let note = Note { acquired: (noted & 3).into(), failed: (noted & 1).into(), due: (noted & 4 != 0).then_some(Moment(seq)) };
                let place = Place { segment, unit: unit.into(), units: noted, shared };
                let recovered = Recovered { seq: Seq(seq), place, body_len: unit.into(), arrived: Moment(seq * 3), expiration_ms, priority, note };
                (seq.wrapping_mul(order | 1) % 7, recovered)
            }).collect();
            let mut written = all.clone();
            written.sort_by_key(|(group, recovered)| (recovered.place.segment, *group));
            let mut runs = Runs::default();
            for (_, Recovered { seq, place, body_len, arrived, expiration_ms, priority, note }) in written {
                runs.seen(QueueId(1), seq);
                runs.add(QueueId(1), seq, place, Facts { body_len, arrived, expiration_ms, priority }, note);
            }
            let (queues, len) = runs.finish();
            prop_assert_eq!(len as usize, all.len());
            let read: Vec<Recovered> = queues.iter().flat_map(|queue| queue.messages()).collect();
            let expected: Vec<Recovered> = all.into_iter().map(|(_, recovered)| recovered).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
