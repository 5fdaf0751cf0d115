//! A group of the message log, as the committer remembers it: whose targets are in it, which are settled,
//! and the notes about the others.
//!
//! A target is one queue of one record. Targets are numbered in the order in which they were written; this
//! ordinal, not the sequence number, names a target in the settled set. Sequence numbers have gaps, because
//! transient messages and messages that were settled early take some and are never written. Ordinals have
//! none: the set stays one bit for each written target, no gap can hold it back, it goes away with its
//! group, and what is written every 100 ms grows with the groups that were touched, not with the queues.

use super::notes::{Note, Notes};
use super::settled::Settled;
use super::slot::ORDINALS_MAX;
use vhosts::{QueueId, Seq};

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
    /// The last targets of the records that have several: where the search for one of them ends.
    lasts: Settled,
    pub(super) notes: Notes,
    /// Nothing will be added.
    pub(super) closed: bool,
    /// Something of it must be written, or it can be dropped.
    pub(super) dirty: bool,
    /// The settled set changed since it was written.
    pub(super) unsaved: bool,
    /// A transaction in it settles targets, which the sets of their groups may not say yet.
    pub(super) settles_others: bool,
}

impl Group {
    /// A group that was found in the log, its targets still to be added.
    pub(super) fn recovered(settled: Settled, notes: Notes) -> Group {
        Group { settled, notes, closed: true, ..Group::default() }
    }

    /// A group in which everything is settled, to be dropped.
    pub(super) fn complete(notes: Notes) -> Group {
        Group { notes, closed: true, dirty: true, ..Group::default() }
    }

    /// Forgets what was written of notes whose targets are settled, or lost.
    pub(super) fn forget_stale_notes(&mut self) {
        let targets = self.targets();
        self.notes.retain(|ordinal| ordinal < targets && !self.settled.contains(ordinal));
    }

    /// How many targets were written.
    pub(super) fn targets(&self) -> u32 {
        self.runs.last().map_or(0, |run| run.end)
    }

    /// How many of them are not settled.
    pub(super) fn live(&self) -> u32 {
        self.targets().saturating_sub(self.settled.count())
    }

    /// Adds the targets of a record and returns the ordinal of the first.
    pub(super) fn add_record(&mut self, targets: &[(QueueId, Seq)]) -> u32 {
        let first = self.targets();
        targets.iter().for_each(|(queue, _)| _ = self.add(*queue));
        if targets.len() > 1 {
            self.lasts.insert(self.targets() - 1);
        }
        first
    }

    /// Adds the next target and returns its ordinal.
    fn add(&mut self, queue: QueueId) -> u32 {
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
        let is_new = ordinal < self.targets() && self.settled.insert(ordinal);
        if is_new {
            self.unsaved = true;
            self.notes.remove(ordinal);
        }
        is_new
    }

    /// Remembers a note; false if the target is settled.
    pub(super) fn note(&mut self, ordinal: u32, note: Note) -> bool {
        let is_live = ordinal < self.targets() && !self.is_settled(ordinal);
        if is_live {
            self.notes.set(ordinal, note);
        }
        is_live
    }

    pub(super) fn is_settled(&self, ordinal: u32) -> bool {
        self.settled.contains(ordinal)
    }

    /// The target in `queue` of the record whose targets begin at `first`; nothing if it was settled before
    /// the record was written. `shared` if the record has several targets.
    pub(super) fn find(&self, first: u32, shared: bool, queue: QueueId) -> Option<u32> {
        let last = if shared { self.lasts.next(first)? } else { first };
        let start = self.runs.partition_point(|run| run.end <= first);
        let mut ordinal = first;
        for run in &self.runs[start..] {
            if run.queue == queue || ordinal > last {
                return (ordinal <= last).then_some(ordinal);
            }
            ordinal = run.end;
        }
        None
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
        if self.settled.count() != before {
            self.unsaved = true;
            self.forget_stale_notes();
        }
        self.unsaved
    }

    /// The value under which the settled set is kept: a first byte 1 says that everything is settled. What a
    /// transaction in here settles would be lost with that.
    pub(super) fn state(&self, out: &mut Vec<u8>) {
        out.clear();
        if self.is_finished() && !self.settles_others {
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
/// The state of a group that is about to be dropped.
pub(super) const COMPLETE_STATE: &[u8] = &[COMPLETE];

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

    fn group(records: &[&[u64]]) -> Group {
        let mut group = Group::default();
        let mut targets = 0;
        for record in records {
            let record: Vec<_> = record.iter().map(|queue| (QueueId(*queue), Seq(1))).collect();
            assert_eq!(group.add_record(&record), targets);
            targets += record.len() as u32;
        }
        group
    }

    #[test]
    fn a_target_is_found_in_its_own_record_only() {
        let group = group(&[&[1, 2], &[1, 2], &[2, 1], &[1], &[3]]);
        assert_eq!(group.find(2, true, QueueId(2)), Some(3));
        assert_eq!(group.find(4, true, QueueId(2)), Some(4), "the run of queue 2 begins before the record");
        assert_eq!(group.find(4, true, QueueId(1)), Some(5), "and that of queue 1 ends behind it");
        assert_eq!(group.find(0, true, QueueId(1)), Some(0));
        assert_eq!(group.find(0, true, QueueId(3)), None);
        assert_eq!(group.find(6, false, QueueId(1)), Some(6));
        assert_eq!(group.find(6, false, QueueId(3)), None, "that of the next record");
        assert_eq!(group.find(8, true, QueueId(3)), None, "not written yet");
    }

    #[test]
    fn a_queue_settles_as_a_whole() {
        let mut group = group(&[&[7], &[7, 8], &[7, 2055]]);
        assert!(group.settle(1));
        assert!(group.settle_queue(QueueId(7)));
        group.unsaved = false;
        assert!(!group.settle_queue(QueueId(7)), "written, and nothing changed since");
        assert_eq!(group.live(), 2);
        assert!(!group.settle_queue(QueueId(9)));
        assert!(!group.settle_queue(QueueId(8 + 64 * FILTER_WORDS)), "the filter errs, the runs do not");
        assert!(!group.settle(5), "not written yet");
    }
}
