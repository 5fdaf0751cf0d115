//! The second step of a commit: what is left of the operations goes into the log, in their order.

use super::super::group::Group;
use super::super::log::{GroupNumber, Log};
use super::super::queues::Verdict;
use super::super::record::{self, Targets};
use super::super::slot::Slot;
use super::super::transaction::{self, Place, Transaction};
use super::super::{Op, StoreError, keys};
use super::{Committer, GROUP_TARGETS_MAX};
use vhosts::{Message, QueueId, Seq};

impl<L: Log> Committer<L> {
    pub(super) fn apply(&mut self, op: Op) -> Result<(), StoreError> {
        match op {
            Op::Append { message, targets } => self.append(&message, targets),
            Op::Transaction(transaction) => self.transaction(*transaction),
            Op::Define { key, value: Some(value) } => self.put(&keys::definition(&key), &value),
            Op::Define { key, value: None } => self.remove(&keys::definition(&key)),
            Op::Forget { queue } => self.forget(queue),
            Op::Settle { .. } | Op::Note { .. } => Ok(()),
        }
    }

    fn append(&mut self, message: &Message, mut targets: Targets) -> Result<(), StoreError> {
        self.admit(message, &mut targets)?;
        if targets.is_empty() {
            return Ok(());
        }
        let number = self.group_for(record::len(message, &targets), targets.len())?;
        let first = self.place(number, message, &targets);
        self.writer.record(&mut self.log, message, &targets, first)
    }

    /// Written though no append is left of it, if there is something that it settles.
    fn transaction(&mut self, transaction: Transaction) -> Result<(), StoreError> {
        let Transaction { mut appends, settles } = transaction;
        for (message, targets) in &mut appends {
            self.admit(message, targets)?;
        }
        appends.retain(|(_, targets)| !targets.is_empty());
        let settled: Vec<Place> = settles.iter().filter_map(|settle| self.written_place(settle)).collect();
        if appends.is_empty() && settled.is_empty() {
            return Ok(());
        }
        let len = transaction::len(&appends, &settled);
        let number = self.group_for(len, transaction::targets(&appends))?;
        let group = self.groups.entry(number).or_default();
        group.settles_others |= !settled.is_empty();
        let first = group.targets();
        for (message, targets) in &appends {
            self.place(number, message, targets);
        }
        self.unsynced = true;
        self.writer.transaction(&mut self.log, &appends, &settled, first)?;
        for place in settled {
            if self.groups.get_mut(&place.group).is_some_and(|group| group.settle(place.ordinal)) {
                self.mark_dirty(place.group);
            }
        }
        Ok(())
    }

    /// Leaves the targets that are to be written, and sees to it that their numbers are not given again.
    fn admit(&mut self, message: &Message, targets: &mut Targets) -> Result<(), StoreError> {
        let mut at = 0;
        while let Some(&(queue, seq)) = targets.get(at) {
            match self.queues.append(queue, seq) {
                Verdict::Write => at += 1,
                Verdict::Drop => _ = targets.swap_remove(at),
                Verdict::RaiseCeiling(ceiling) => {
                    self.put(&keys::ceiling(queue), &ceiling.to_le_bytes())?;
                    at += 1;
                }
            }
        }
        if targets.is_empty() {
            self.counts.spared += 1;
            Slot::Never.store(message);
        }
        Ok(())
    }

    /// Where a target is, if it was written and is not settled.
    fn written_place(&self, (queue, _, message): &(QueueId, Seq, Message)) -> Option<Place> {
        let Slot::Written { group: number, first, shared } = Slot::load(message) else { return None };
        let group = self.groups.get(&number)?;
        let ordinal = group.find(first, shared, *queue)?;
        (!group.is_settled(ordinal)).then_some(Place { group: number, ordinal })
    }

    /// The open group, or the next if a record of so many bytes and targets is too much for it.
    fn group_for(&mut self, len: u64, targets: usize) -> Result<GroupNumber, StoreError> {
        let open = self.groups.get(&self.writer.group()).map_or(0, Group::targets);
        let has_too_many = open > 0 && open as usize + targets > GROUP_TARGETS_MAX as usize;
        if self.writer.is_group_full(len) || has_too_many {
            self.close_group()?;
        }
        Ok(self.writer.group())
    }

    /// Gives a message its ordinals in the open group, and returns the first.
    fn place(&mut self, number: GroupNumber, message: &Message, targets: &Targets) -> u32 {
        let group = self.groups.entry(number).or_default();
        let first = group.add_record(targets);
        Slot::Written { group: number, first, shared: targets.len() > 1 }.store(message);
        self.counts.written += 1;
        self.unsynced = true;
        if self.early.has_notes() {
            self.place_notes(number, first, targets);
        }
        first
    }

    fn place_notes(&mut self, number: GroupNumber, first: u32, targets: &Targets) {
        for (ordinal, target) in (first..).zip(targets) {
            let Some(note) = self.early.take_note(target) else { continue };
            if self.groups.get_mut(&number).is_some_and(|group| group.note(ordinal, note)) {
                self.mark_dirty(number);
            }
        }
    }

    /// Ends the open group, if it has anything, and begins another.
    pub(super) fn close_group(&mut self) -> Result<(), StoreError> {
        let number = self.writer.group();
        let Some(group) = self.groups.get_mut(&number) else { return Ok(()) };
        group.closed = true;
        let unnoticed = group.is_finished() && !group.dirty;
        self.writer.seal(&mut self.log)?;
        self.writer.start_group(number + 1);
        if unnoticed {
            self.mark_dirty(number);
        }
        self.log.close_group(number)
    }

    /// What it had is settled when all of the batch is in the log.
    fn forget(&mut self, queue: QueueId) -> Result<(), StoreError> {
        self.queues.forget(queue);
        self.early.forget(queue);
        self.forgotten.push(queue);
        self.remove(&keys::ceiling(queue))
    }
}
