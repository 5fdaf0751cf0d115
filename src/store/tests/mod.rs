//! Tests of the store as a whole; those of one part are beside it.

mod broker;
mod check;
mod crash;
mod damage;
mod faults;
mod files;
mod handle;
mod model;
mod notes;
mod space;
mod transactions;

use super::testing::{Committer, MemoryDisk, recover_with};
use super::{Note, Op, Reader, Recovered, Recovery, Safety, Transaction};
use ::vhosts::message::Chunk;
use ::vhosts::{Message, MessageBuilder, Moment, Place, QueueId, Seq};
use std::collections::BTreeMap;

/// Segments that fill up in a short test.
const SMALL: u64 = 8 * 1024;

/// A queue, and the number of a message in it.
type Target = (u64, u64);

/// A message that says where it goes, so that a mix-up shows.
fn message(targets: &[Target], body_len: usize) -> Message {
    let mut body = format!("{targets:?}").into_bytes();
    body.resize(body_len.max(body.len()), b'.');
    let mut builder = MessageBuilder::default();
    builder.address(b"\x09amq.topic\x05a.key");
    builder.header(&[0x10, 0, 2], body.len() as u64).unwrap();
    builder.push(Chunk::Borrowed(&body));
    let (_, seq) = targets[0];
    if seq.is_multiple_of(2) {
        builder.mark_died();
    }
    if seq.is_multiple_of(3) {
        builder.mark_copies(seq.is_multiple_of(2));
    }
    builder.finish(Moment(1_700_000_000_000 + seq))
}

/// Whether they have the same parts.
fn is_same(one: &Message, other: &Message) -> bool {
    one.address() == other.address()
        && one.raw_properties() == other.raw_properties()
        && (one.arrived(), one.marks()) == (other.arrived(), other.marks())
        && one.body_bytes() == other.body_bytes()
}

fn target((queue, seq): Target) -> (QueueId, Seq) {
    (QueueId(queue), Seq(seq))
}

fn append_as(safety: Safety, message: &Message, targets: &[Target]) -> Op {
    let targets = targets.iter().copied().map(target).collect();
    Op::Append { message: message.clone(), targets, safety }
}

fn append(message: &Message, targets: &[Target]) -> Op {
    append_as(Safety::Synced, message, targets)
}

fn settle(message: &Message, at: Target) -> Op {
    Op::Settle { queue: QueueId(at.0), seq: Seq(at.1), message: message.clone() }
}

fn note(message: &Message, at: Target, note: Note) -> Op {
    Op::Note { queue: QueueId(at.0), seq: Seq(at.1), message: message.clone(), note }
}

/// A note that tells its number.
fn numbered_note(number: u32) -> Note {
    let due = number.is_multiple_of(3).then_some(Moment(1_700_000_000_000 + u64::from(number)));
    Note { acquired: number, failed: number / 2, due }
}

fn transaction(appends: &[(&Message, &[Target])], settles: &[(&Message, Target)]) -> Op {
    let append = |(message, targets): &(&Message, &[Target])| {
        (Message::clone(message), targets.iter().copied().map(target).collect())
    };
    let settle = |(message, at): &(&Message, Target)| {
        let (queue, seq) = target(*at);
        (queue, seq, Message::clone(message))
    };
    Op::Transaction(Box::new(Transaction {
        appends: appends.iter().map(append).collect(),
        settles: settles.iter().map(settle).collect(),
    }))
}

fn define(changes: &[(&str, Option<&str>)]) -> Op {
    let bytes = |text: &str| text.as_bytes().to_vec();
    Op::Define(changes.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect())
}

/// A committer on a disk, with small segments.
fn opened(disk: &MemoryDisk) -> (Committer, Recovery) {
    recover_with(Box::new(disk.clone()), SMALL).unwrap()
}

/// Commits until nothing is left to do; says when that was.
fn settle_down(committer: &mut Committer, mut now: Moment) -> Moment {
    for _ in 0..10_000 {
        committer.commit(&mut Vec::new(), now);
        match committer.deadline() {
            None => return now,
            Some(at) => now = now.max(at),
        }
    }
    panic!("there is always something left to do: {:?}", committer.stalled());
}

/// Everything that was recovered, in its order. Fails if the order is wrong, or the number of messages.
fn listed(recovery: &Recovery) -> Vec<(Target, Recovered)> {
    let mut all = Vec::new();
    for queue in &recovery.queues {
        let found: Vec<_> = queue.messages().map(|found| ((queue.queue.0, found.seq.0), found)).collect();
        assert!(found.is_sorted_by(|one, other| one.0 < other.0), "out of order, or twice: {found:?}");
        assert!(found.iter().all(|(_, found)| found.seq < queue.next), "a number would be given again");
        assert_eq!(found.len() as u64, queue.len);
        all.extend(found);
    }
    assert_eq!(all.len() as u64, recovery.messages);
    all
}

/// The targets that were recovered.
fn targets(recovery: &Recovery) -> Vec<Target> {
    listed(recovery).into_iter().map(|(target, _)| target).collect()
}

/// The message at a place.
fn read(reader: &Reader, place: Place) -> Option<Message> {
    reader.read(&[place]).unwrap().remove(0)
}

/// Every recovered target with its message and its note.
fn recovered(recovery: &Recovery, reader: &Reader) -> BTreeMap<Target, (Message, Note)> {
    let found = listed(recovery);
    let places: Vec<_> = found.iter().map(|(_, found)| found.place).collect();
    let messages = reader.read(&places).unwrap();
    let read = found.into_iter().zip(messages).map(|((target, found), message)| {
        let message = message.unwrap_or_else(|| panic!("{target:?} cannot be read at {:?}", found.place));
        assert_eq!((message.body_len(), message.arrived()), (found.body_len, found.arrived));
        (target, (message, found.note))
    });
    read.collect()
}

/// Settlements of everything that was recovered: read back, or by place.
fn settle_all(recovery: &Recovery, reader: &Reader) -> Vec<Op> {
    let settle_one = |(target, found): (Target, Recovered)| match read(reader, found.place) {
        Some(message) if target.1.is_multiple_of(2) => settle(&message, target),
        _ => Op::Purge { queue: QueueId(target.0), places: vec![found.place] },
    };
    listed(recovery).into_iter().map(settle_one).collect()
}
