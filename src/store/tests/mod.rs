//! Tests of the store as a whole; those of one part are beside it.

mod chunks;
mod crash;
mod handle;
mod model;
mod notes;
mod sled;
mod transactions;

use super::{Note, Op, Recovery, Transaction};
use ::vhosts::message::Chunk;
use ::vhosts::{Message, MessageBuilder, Moment, QueueId, Seq};
use std::collections::BTreeMap;

/// A message that says where it goes, so that a mix-up shows.
fn message(targets: &[(u64, u64)], body_len: usize) -> Message {
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

fn target((queue, seq): (u64, u64)) -> (QueueId, Seq) {
    (QueueId(queue), Seq(seq))
}

fn append(message: &Message, targets: &[(u64, u64)]) -> Op {
    Op::Append { message: message.clone(), targets: targets.iter().copied().map(target).collect() }
}

fn settle(message: &Message, at: (u64, u64)) -> Op {
    Op::Settle { queue: QueueId(at.0), seq: Seq(at.1), message: message.clone() }
}

fn note(message: &Message, at: (u64, u64), note: Note) -> Op {
    Op::Note { queue: QueueId(at.0), seq: Seq(at.1), message: message.clone(), note }
}

/// A note that tells its number.
fn numbered_note(number: u32) -> Note {
    let due = number.is_multiple_of(3).then_some(Moment(1_700_000_000_000 + u64::from(number)));
    Note { acquired: number, failed: number / 2, due }
}

fn transaction(appends: &[(&Message, &[(u64, u64)])], settles: &[(&Message, (u64, u64))]) -> Op {
    let append = |(message, targets): &(&Message, &[(u64, u64)])| {
        (Message::clone(message), targets.iter().copied().map(target).collect())
    };
    let settle = |(message, at): &(&Message, (u64, u64))| {
        let (queue, seq) = target(*at);
        (queue, seq, Message::clone(message))
    };
    Op::Transaction(Box::new(Transaction {
        appends: appends.iter().map(append).collect(),
        settles: settles.iter().map(settle).collect(),
    }))
}

/// Settlements of everything that was recovered.
fn settle_all(recovery: &Recovery) -> Vec<Op> {
    let settle_targets = |found: &super::Recovered| -> Vec<Op> {
        found.targets.iter().map(|target| settle(&found.message, (target.queue.0, target.seq.0))).collect()
    };
    recovery.messages.iter().flat_map(settle_targets).collect()
}

/// Every recovered target with its message and its note. Fails if one comes twice.
fn recovered(recovery: &Recovery) -> BTreeMap<(u64, u64), (Message, Note)> {
    let mut found = BTreeMap::new();
    for recovered in &recovery.messages {
        for target in &recovered.targets {
            let key = (target.queue.0, target.seq.0);
            let before = found.insert(key, (recovered.message.clone(), target.note));
            assert!(before.is_none(), "{key:?} came twice");
        }
    }
    found
}
