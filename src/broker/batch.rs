//! What was published since the last hand-over, sorted by queue.
//!
//! One lock per queue and batch, not per message. A persistent message that goes to several queues is one
//! append with several targets: it is stored once.

use super::live_queue::QueueRef;
use super::transaction::Locks;
use super::work::Work;
use crate::store::{Op, Safety, Targets};
use vhosts::queue::settings::SyncMode;
use vhosts::{Message, Moment, QueueId, Seq};

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
    shared: Shared,
    messages: usize,
}

/// A publish for one queue.
#[derive(Debug)]
pub struct Incoming {
    /// The message.
    pub message: Message,
    /// Its place among the batch's appends, if it is persistent.
    pub append: Option<u32>,
    /// What the publisher calls it.
    pub number: u32,
}

/// What the publishes of a batch have in common, whatever their queues.
#[derive(Debug, Default)]
pub struct Shared {
    appends: Vec<(Message, Targets, Safety)>,
    refused: Vec<(u32, QueueId)>,
}

impl Shared {
    /// A queue that survives a restart took a message under that number. It is synced if one of its queues insists.
    pub fn stored(&mut self, append: Option<u32>, queue: QueueId, seq: Seq, mode: SyncMode) {
        if let Some(append) = append {
            let (_, targets, safety) = &mut self.appends[append as usize];
            targets.push((queue, seq));
            if mode == SyncMode::Sync {
                *safety = Safety::Synced;
            }
        }
    }

    /// A queue refused a message.
    pub fn refused(&mut self, number: u32, queue: QueueId) {
        self.refused.push((number, queue));
    }
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

    /// Adds a message for these queues, of which there is at least one. Should one refuse it, it is called
    /// `number`.
    pub fn push(&mut self, message: Message, number: u32, queues: &[QueueRef]) {
        self.messages += 1;
        let append = message.persistent().then(|| {
            self.shared.appends.push((message.clone(), Targets::new(), Safety::Relaxed));
            self.shared.appends.len() as u32 - 1
        });
        let Some((last, others)) = queues.split_last() else { return };
        for queue in others {
            self.slot(queue).push(Incoming { message: message.clone(), append, number });
        }
        self.slot(last).push(Incoming { message, append, number });
    }

    /// Hands everything to the queues. True if anything is to be stored.
    pub fn hand_over(&mut self, now: Moment, work: &mut Work) -> bool {
        for (queue, incoming) in &mut self.queues[..self.used] {
            if let Some(queue) = queue.take() {
                queue.publish(incoming, &mut self.shared, now, work);
            }
        }
        self.end(work)
    }

    /// Hands everything to queues that are locked, and leaves what they do then to the caller.
    pub fn hand_over_locked(&mut self, now: Moment, locked: &mut Locks<'_>, work: &mut Work) {
        for (queue, incoming) in &mut self.queues[..self.used] {
            if let Some(queue) = queue.take().and_then(|queue| locked.at(&queue)) {
                incoming.drain(..).for_each(|incoming| queue.publish(incoming, &mut self.shared, now));
            }
            incoming.clear();
        }
        self.end(work);
    }

    /// The queues that something is for.
    pub fn queues(&self) -> impl Iterator<Item = (&QueueRef, &[Incoming])> {
        self.queues[..self.used]
            .iter()
            .filter_map(|(queue, incoming)| Some((queue.as_ref()?, incoming.as_slice())))
    }

    /// The messages that a queue refused since this was asked last, by their numbers.
    pub fn refused(&mut self) -> impl Iterator<Item = (u32, QueueId)> {
        self.shared.refused.drain(..)
    }

    /// Gives back the room of large batches; for connections that have become idle.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            *self = Batch::default();
        }
    }

    fn end(&mut self, work: &mut Work) -> bool {
        (self.used, self.messages) = (0, 0);
        let before = work.ops.len();
        let stored = self.shared.appends.drain(..).filter(|(_, targets, _)| !targets.is_empty());
        work.ops.extend(stored.map(|(message, targets, safety)| Op::Append { message, targets, safety }));
        work.ops.len() > before
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
