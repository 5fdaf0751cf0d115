//! Tests of the store as a whole; those of one part are beside it.

mod chunks;
mod crash;
mod handle;
mod model;
mod sled;

use super::{Op, Recovery};
use ::vhosts::{Message, QueueId, Seq};
use std::collections::BTreeMap;

/// A message that says where it goes, so that a mix-up shows.
fn message(targets: &[(u64, u64)], body_len: usize) -> Message {
    let mut body = format!("{targets:?}").into_bytes();
    body.resize(body_len.max(body.len()), b'.');
    Message::new("amq.topic", b"a.key", &[0x10, 0, 2], &body).unwrap()
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

/// Every recovered target with the body of its message. Fails if one comes twice.
fn recovered(recovery: &Recovery) -> BTreeMap<(u64, u64), Vec<u8>> {
    let mut found = BTreeMap::new();
    for recovered in &recovery.messages {
        for (queue, seq) in &recovered.targets {
            let before = found.insert((queue.0, seq.0), recovered.message.body_bytes().to_vec());
            assert!(before.is_none(), "{queue:?} {seq:?} came twice");
        }
    }
    found
}
