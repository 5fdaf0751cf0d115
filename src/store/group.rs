//! A group of the message log, as the committer remembers it: whose targets are in it, and which are settled.
//!
//! A target is one queue of one record. Targets are numbered in the order in which they were written; this
//! ordinal, not the sequence number, names a target in the settled set. Sequence numbers have gaps, because
//! transient messages and messages that were settled early take some and are never written. Ordinals have
//! none: the set stays one bit for each written target, no gap can hold it back, it goes away with its
//! group, and what is written every 100 ms grows with the groups that were touched, not with the queues.

use super::settled::Settled;
use super::slot::ORDINALS_MAX;
use vhosts::QueueId;

/// Targets of one queue that follow each other, up to the ordinal `end`.
#[derive(Debug)]
struct Run {
    queue: QueueId,
    end: u32,
}

/// Words of the filter that says which queues a group cannot contain.
const FILTER_WORDS: u64 = 32;

#[derive(Debug, Default)]
pub(super) struct Group {
    runs: Vec<Run>,
    /// Queue ids modulo the size of the filter, so that [`Group::settle_queue`] passes most groups by.
    filter: [u64; FILTER_WORDS as usize],
    settled: Settled,
    /// Nothing will be added.
    pub(super) closed: bool,
    /// The settled set changed since it was written.
    pub(super) dirty: bool,
}

impl Group {
    /// A group that was found in the log, its targets still to be added.
    pub(super) fn recovered(settled: Settled) -> Group {
        Group { settled, closed: true, ..Group::default() }
    }

    /// A group in which everything is settled, to be dropped.
    pub(super) fn complete() -> Group {
        Group { closed: true, dirty: true, ..Group::default() }
    }

    /// How many targets were written.
    pub(super) fn targets(&self) -> u32 {
        self.runs.last().map_or(0, |run| run.end)
    }

    /// How many of them are not settled.
    pub(super) fn live(&self) -> u32 {
        self.targets().saturating_sub(self.settled.count())
    }

    /// Adds the next target and returns its ordinal.
    pub(super) fn add(&mut self, queue: QueueId) -> u32 {
        let ordinal = self.targets();
        match self.runs.last_mut() {
            Some(run) if run.queue == queue => run.end += 1,
            _ => {
                self.filter[(queue.0 / 64 % FILTER_WORDS) as usize] |= 1 << (queue.0 % 64);
                self.runs.push(Run { queue, end: ordinal + 1 });
            }
        }
        ordinal
    }

    /// Adds targets that a damaged record leaves behind: settled, so that ordinals keep their place.
    pub(super) fn add_lost(&mut self, up_to: u32) {
        for ordinal in self.targets()..up_to.min(ORDINALS_MAX) {
            self.add(QueueId::default());
            self.settled.insert(ordinal);
        }
    }

    pub(super) fn settle(&mut self, ordinal: u32) -> bool {
        ordinal < self.targets() && self.settled.insert(ordinal)
    }

    pub(super) fn is_settled(&self, ordinal: u32) -> bool {
        self.settled.contains(ordinal)
    }

    /// Settles the target in `queue` of the record whose targets begin at `first`.
    pub(super) fn settle_shared(&mut self, first: u32, queue: QueueId) -> bool {
        let start = self.runs.partition_point(|run| run.end <= first);
        let Some(found) = self.runs[start..].iter().position(|run| run.queue == queue) else { return false };
        let begin = (start + found).checked_sub(1).map_or(0, |before| self.runs[before].end);
        self.settle(begin.max(first))
    }

    /// Settles all targets of a queue; false if that leaves nothing to be written.
    pub(super) fn settle_queue(&mut self, queue: QueueId) -> bool {
        if self.filter[(queue.0 / 64 % FILTER_WORDS) as usize] & (1 << (queue.0 % 64)) == 0 {
            return false;
        }
        let before = self.settled.count();
        let mut begin = 0;
        for run in &self.runs {
            if run.queue == queue {
                (begin..run.end).for_each(|ordinal| _ = self.settled.insert(ordinal));
            }
            begin = run.end;
        }
        let is_changed = self.settled.count() != before;
        is_changed || self.dirty
    }

    /// The value under which the settled set is kept: a first byte 1 says that everything is settled.
    pub(super) fn state(&self, out: &mut Vec<u8>) {
        out.clear();
        if self.is_finished() {
            return out.push(COMPLETE);
        }
        out.push(PARTIAL);
        self.settled.encode(out);
    }

    /// Whether it can be dropped.
    pub(super) fn is_finished(&self) -> bool {
        self.closed && self.live() == 0
    }
}

const PARTIAL: u8 = 0;
const COMPLETE: u8 = 1;

/// The settled set of a group as it was kept.
pub(super) enum KeptState {
    /// Everything is settled; the group need not be read.
    Complete,
    /// These targets are settled.
    Partial(Settled),
}

impl KeptState {
    /// Reads what [`Group::state`] wrote; nothing if it is something else.
    pub(super) fn decode(value: &[u8]) -> Option<KeptState> {
        match value.split_first()? {
            (&COMPLETE, []) => Some(KeptState::Complete),
            (&PARTIAL, set) => Settled::decode(set).map(KeptState::Partial),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(queues: &[u64]) -> Group {
        let mut group = Group::default();
        queues.iter().enumerate().for_each(|(at, queue)| assert_eq!(group.add(QueueId(*queue)), at as u32));
        group
    }

    #[test]
    fn a_shared_record_settles_the_target_of_its_own() {
        // Two records for the queues 1 and 2, then one for 2 and 1.
        let mut group = group(&[1, 2, 1, 2, 2, 1]);
        assert!(group.settle_shared(2, QueueId(2)));
        assert!(group.is_settled(3) && group.live() == 5);
        assert!(group.settle_shared(4, QueueId(2)));
        assert!(group.is_settled(4), "the run of queue 2 begins before the record");
        assert!(group.settle_shared(0, QueueId(1)));
        assert!(!group.settle_shared(0, QueueId(1)), "twice");
        assert!(!group.settle_shared(4, QueueId(9)));
        assert_eq!(group.live(), 3);
    }

    #[test]
    fn a_queue_settles_as_a_whole() {
        let mut group = group(&[7, 7, 8, 7, 2055]);
        assert!(group.settle(1));
        assert!(group.settle_queue(QueueId(7)));
        assert!(!group.settle_queue(QueueId(7)));
        assert_eq!(group.live(), 2);
        assert!(!group.settle_queue(QueueId(9)));
        assert!(!group.settle_queue(QueueId(8 + 64 * FILTER_WORDS)), "the filter errs, the runs do not");
        assert!(!group.settle(5), "not written yet");
    }
}
