//! What one connection published since its last hand-over, sorted by queue.
//!
//! One lock per queue and batch, not per message. A persistent message that goes to several queues is one
//! append with several targets: it is stored once.

use super::live_queue::{Append, Incoming, QueueRef};
use crate::store::{Op, Targets};
use vhosts::Message;

/// Queues that a batch holds apart before it asks to be handed over.
const QUEUES_MAX: usize = 64;
/// Messages that a batch holds before it asks to be handed over, so that a queue's lock is held briefly.
const MESSAGES_MAX: usize = 1024;

/// Publishes that wait to be handed to their queues.
#[derive(Debug, Default)]
pub struct Batch {
    /// The first `used` are in use; the others keep their room for the next batch.
    queues: Vec<(Option<QueueRef>, Vec<Incoming>)>,
    used: usize,
    appends: Vec<Append>,
    messages: usize,
}

impl Batch {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Whether it should be handed over before more comes.
    pub fn is_full(&self) -> bool {
        self.messages >= MESSAGES_MAX || self.used >= QUEUES_MAX
    }

    /// Adds a message for these queues, of which there is at least one.
    pub fn push(&mut self, message: Message, queues: &[QueueRef]) {
        self.messages += 1;
        let append = message.persistent().then(|| {
            self.appends.push(Append { message: message.clone(), targets: Targets::new() });
            self.appends.len() - 1
        });
        let Some((last, others)) = queues.split_last() else { return };
        for queue in others {
            self.slot(queue).push(Incoming { message: message.clone(), append });
        }
        self.slot(last).push(Incoming { message, append });
    }

    /// Hands everything to the queues, and what must be stored to `ops`. True if there is any of that.
    pub fn hand_over(&mut self, ops: &mut Vec<Op>) -> bool {
        for (queue, incoming) in &mut self.queues[..self.used] {
            if let Some(queue) = queue.take() {
                queue.publish(incoming, &mut self.appends, ops);
            }
        }
        (self.used, self.messages) = (0, 0);
        let before = ops.len();
        let stored = self.appends.drain(..).filter(|append| !append.targets.is_empty());
        ops.extend(stored.map(|Append { message, targets }| Op::Append { message, targets }));
        ops.len() > before
    }

    /// Gives back the room of large batches; for connections that have become idle.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Batch::default();
        }
    }

    fn slot(&mut self, queue: &QueueRef) -> &mut Vec<Incoming> {
        let used = &self.queues[..self.used];
        let at = used.iter().position(|(other, _)| other.as_ref() == Some(queue)).unwrap_or(self.used);
        if at == self.used {
            self.used += 1;
            if at == self.queues.len() {
                self.queues.push((None, Vec::new()));
            }
            self.queues[at].0 = Some(queue.clone());
        }
        &mut self.queues[at].1
    }
}
