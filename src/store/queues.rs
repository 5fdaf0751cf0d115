//! What the committer remembers of each queue: the sequence numbers that were seen, and whether it is gone.
//!
//! A record must never be written with a sequence number that a restart could give again. So before the
//! first record at or above the ceiling of a queue is safe, a higher ceiling is: one small write for each
//! [`BLOCK`] numbers, not one for each message. A clean stop writes the exact number.
//!
//! A deleted queue stays known until the restart, some 40 bytes, because another thread may still append to
//! it or settle in it.

use foldhash::fast::RandomState;
use std::collections::HashMap;
use vhosts::{QueueId, Seq};

/// How many sequence numbers a crash may skip.
const BLOCK: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    /// The next sequence number that was not seen.
    next: u64,
    /// The number at which a restart goes on, as it was written.
    ceiling: u64,
    forgotten: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queues(HashMap<QueueId, Queue, RandomState>);

/// What to do about a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Write,
    /// Write this ceiling first.
    RaiseCeiling(u64),
    /// The queue is gone.
    Drop,
}

impl Queues {
    /// A queue as it was recovered.
    pub(super) fn recovered(&mut self, queue: QueueId, next: u64, ceiling: u64) {
        self.0.insert(queue, Queue { next, ceiling, forgotten: false });
    }

    /// Remembers a number that is settled; it may never be written. False if the queue is gone.
    pub(super) fn seen(&mut self, queue: QueueId, seq: Seq) -> bool {
        let queue = self.0.entry(queue).or_default();
        queue.next = queue.next.max(seq.0.saturating_add(1));
        !queue.forgotten
    }

    /// Remembers a number that is to be written.
    pub(super) fn append(&mut self, queue: QueueId, seq: Seq) -> Verdict {
        let queue = self.0.entry(queue).or_default();
        if queue.forgotten {
            return Verdict::Drop;
        }
        queue.next = queue.next.max(seq.0.saturating_add(1));
        if queue.next <= queue.ceiling {
            return Verdict::Write;
        }
        queue.ceiling = queue.next.saturating_add(BLOCK);
        Verdict::RaiseCeiling(queue.ceiling)
    }

    pub(super) fn forget(&mut self, queue: QueueId) {
        self.0.insert(queue, Queue { forgotten: true, ..Queue::default() });
    }

    /// Lowers or raises all ceilings to the next number, and returns those that changed.
    pub(super) fn exact_ceilings(&mut self) -> Vec<(QueueId, u64)> {
        let changed = self.0.iter_mut().filter(|(_, queue)| !queue.forgotten && queue.ceiling != queue.next);
        changed
            .map(|(id, queue)| {
                queue.ceiling = queue.next;
                (*id, queue.next)
            })
            .collect()
    }
}
