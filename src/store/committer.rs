//! Decides what of a batch of operations is written, and when a group of the log may go.
//!
//! Pure but for the [`Log`] below it: no thread, no clock. One call of [`Committer::commit`] takes a batch,
//! and when it returns without an error, the batch is safe. Its steps, in this order:
//!
//! 1. Settlements are matched with appends; a message that is settled everywhere is not written.
//! 2. Appends are written as chunks of the open group, definitions as state.
//! 3. At most every [`SETTLE_EVERY_MS`], the settled sets of the groups that changed are written.
//! 4. Groups in which everything is settled are dropped: after the sets of step 3, so that no crash can
//!    bring back a message that a dropped group had settled, and right before the sync, so that the space
//!    of a group is never used again before its end is safe.
//! 5. The log is synced, if anything was written.
//!
//! **Where a settlement finds its message.** The slot of a message ([`Slot`]) says how far its append has
//! come, so a settlement needs no map of messages:
//!
//! - *Pending*: the append is in this batch. Its target is struck from the operation; what is left of it is
//!   written.
//! - *Written*: the slot has group and ordinal, and the bit is set in the settled set of the group. With
//!   several targets the slot has the ordinal of the first; the runs of the group find the one of the queue.
//! - *Unknown* or *early*: the append comes in a later batch. Queue and number go into the set of early
//!   settlements, the slot says that it must be asked, and the append takes its entries out again.
//!
//! Invariant: every target of an append is, when its batch is committed, either struck, and then it has no
//! bit anywhere, or written with exactly one bit in exactly one group, which at most one settlement sets.
//! `targets - settled` of a group is therefore exactly the number of messages that it is kept for.
//!
//! After an error the committer must not be used again.

use super::chunk::ChunkWriter;
use super::group::Group;
use super::log::{GroupNumber, Log};
use super::queues::{Queues, Verdict};
use super::record::{self, Targets};
use super::slot::{ORDINALS_MAX, Slot};
use super::{Op, StoreError, keys};
use foldhash::fast::RandomState;
use std::collections::{HashMap, HashSet};
use vhosts::{Message, Moment, QueueId, Seq};

/// The longest time that a settlement waits to be written, in milliseconds. What was settled later than
/// that before a crash may be delivered again.
pub const SETTLE_EVERY_MS: u64 = 100;

/// A group is closed at this many targets: the settled set of a group stays small.
const GROUP_TARGETS_MAX: u32 = 1 << 18;
const _: () = assert!(GROUP_TARGETS_MAX < ORDINALS_MAX);

/// The writer of the log.
pub struct Committer<L> {
    log: L,
    writer: ChunkWriter,
    groups: HashMap<GroupNumber, Group, RandomState>,
    /// Groups whose settled set changed since it was written.
    dirty: Vec<GroupNumber>,
    queues: Queues,
    /// Settlements whose append has not come.
    early: HashSet<(QueueId, Seq), RandomState>,
    now: Moment,
    /// When the settled sets are written next, if any changed.
    settle_at: Option<Moment>,
    unsynced: bool,
    counts: Counts,
    /// Used again for every value that is written.
    value: Vec<u8>,
}

/// Plain numbers of a [`Committer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Groups that are kept.
    pub groups: u64,
    /// Messages that were written.
    pub written: u64,
    /// Messages that were settled before they had to be written.
    pub spared: u64,
    /// Settlements whose append has not come yet.
    pub early: u64,
}

impl<L: Log> Committer<L> {
    /// Goes on where a recovery ended: with its groups, its queues, and a group number above all others.
    pub(super) fn new(
        log: L,
        groups: HashMap<GroupNumber, Group, RandomState>,
        queues: Queues,
        next_group: GroupNumber,
    ) -> Committer<L> {
        let dirty: Vec<_> =
            groups.iter().filter(|(_, group)| group.dirty).map(|(number, _)| *number).collect();
        Committer {
            log,
            writer: ChunkWriter::new(next_group),
            groups,
            settle_at: (!dirty.is_empty()).then_some(Moment(0)),
            dirty,
            queues,
            early: HashSet::default(),
            now: Moment(0),
            unsynced: true,
            counts: Counts::default(),
            value: Vec::new(),
        }
    }

    /// Makes all of `ops` safe and leaves it empty.
    ///
    /// # Errors
    /// When the log fails. Nothing of the batch may then be reported as safe.
    ///
    /// # Panics
    /// When the same message is appended twice.
    pub fn commit(&mut self, ops: &mut Vec<Op>, now: Moment) -> Result<(), StoreError> {
        self.now = now;
        for index in 0..ops.len() {
            self.match_up(ops, index);
        }
        for op in ops.drain(..) {
            self.apply(op)?;
        }
        self.writer.seal(&mut self.log)?;
        if self.settle_at.is_some_and(|at| at <= now) {
            self.write_settled()?;
        }
        self.sync()
    }

    /// Makes everything safe, the settlements and the exact sequence numbers too.
    ///
    /// # Errors
    /// When the log fails.
    pub fn close(&mut self) -> Result<(), StoreError> {
        for (queue, next) in self.queues.exact_ceilings() {
            self.put(&keys::ceiling(queue), &next.to_le_bytes())?;
        }
        self.write_settled()?;
        self.sync()
    }

    /// When [`commit`](Self::commit) should be called though there is nothing new.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.settle_at
    }

    /// Plain numbers for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { groups: self.groups.len() as u64, early: self.early.len() as u64, ..self.counts }
    }

    /// The log below.
    #[must_use]
    pub fn log(&self) -> &L {
        &self.log
    }

    /// Notes where appends are, and brings settlements to them.
    fn match_up(&mut self, ops: &mut [Op], index: usize) {
        match &mut ops[index] {
            Op::Append { message, targets } => {
                match Slot::load(message) {
                    Slot::Unknown => {}
                    Slot::Early => targets.retain(|target| !self.early.remove(target)),
                    slot => panic!("a message is appended once, but this one is {slot:?}"),
                }
                Slot::Pending(index).store(message);
            }
            Op::Settle { queue, seq, message } => {
                let target = (*queue, *seq);
                if !self.queues.seen(target.0, target.1) {
                    return;
                }
                match Slot::load(message) {
                    Slot::Pending(append) => strike(ops, append, target),
                    Slot::Written { group, first, shared } => self.settle(group, first, shared, target.0),
                    Slot::Unknown | Slot::Early => {
                        Slot::Early.store(message);
                        self.early.insert(target);
                    }
                    Slot::Never => {}
                }
            }
            Op::Define { .. } | Op::Forget { .. } => {}
        }
    }

    fn settle(&mut self, number: GroupNumber, first: u32, shared: bool, queue: QueueId) {
        // A group that is gone had settled everything.
        let Some(group) = self.groups.get_mut(&number) else { return };
        let changed = if shared { group.settle_shared(first, queue) } else { group.settle(first) };
        if changed && !group.dirty {
            self.mark_dirty(number);
        }
    }

    fn mark_dirty(&mut self, number: GroupNumber) {
        let Some(group) = self.groups.get_mut(&number).filter(|group| !group.dirty) else { return };
        group.dirty = true;
        self.dirty.push(number);
        self.settle_at.get_or_insert(self.now.after_ms(SETTLE_EVERY_MS));
    }

    fn apply(&mut self, op: Op) -> Result<(), StoreError> {
        match op {
            Op::Append { message, targets } => self.append(&message, targets),
            Op::Define { key, value: Some(value) } => self.put(&keys::definition(&key), &value),
            Op::Define { key, value: None } => self.remove(&keys::definition(&key)),
            Op::Forget { queue } => self.forget(queue),
            Op::Settle { .. } => Ok(()),
        }
    }

    fn append(&mut self, message: &Message, mut targets: Targets) -> Result<(), StoreError> {
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
            return Ok(());
        }
        self.write(message, &targets)
    }

    fn write(&mut self, message: &Message, targets: &Targets) -> Result<(), StoreError> {
        let open = self.groups.get(&self.writer.group()).map_or(0, Group::targets);
        if self.writer.is_group_full(record::len(message, targets)) || open >= GROUP_TARGETS_MAX {
            self.close_group()?;
        }
        let number = self.writer.group();
        let group = self.groups.entry(number).or_default();
        let first = group.targets();
        targets.iter().for_each(|(queue, _)| _ = group.add(*queue));
        Slot::Written { group: number, first, shared: targets.len() > 1 }.store(message);
        self.counts.written += 1;
        self.unsynced = true;
        self.writer.record(&mut self.log, message, targets, first)
    }

    /// Ends the open group, if it has anything, and begins another.
    fn close_group(&mut self) -> Result<(), StoreError> {
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

    /// A deleted queue must stay deleted, so its settlements do not wait: the sets are written at once.
    fn forget(&mut self, queue: QueueId) -> Result<(), StoreError> {
        self.queues.forget(queue);
        self.early.retain(|(early, _)| *early != queue);
        self.remove(&keys::ceiling(queue))?;
        // What this batch appended must be in the log before the set that settles it.
        self.writer.seal(&mut self.log)?;
        let changed =
            self.groups.iter_mut().filter_map(|(number, group)| group.settle_queue(queue).then_some(*number));
        for number in changed.collect::<Vec<_>>() {
            self.write_group_state(number)?;
            self.mark_dirty(number);
        }
        Ok(())
    }

    fn write_group_state(&mut self, number: GroupNumber) -> Result<(), StoreError> {
        let Some(group) = self.groups.get(&number) else { return Ok(()) };
        group.state(&mut self.value);
        self.unsynced = true;
        self.log.put(&keys::settled(number), &self.value)
    }

    /// Writes the settled sets that changed, and drops the groups that are settled.
    fn write_settled(&mut self) -> Result<(), StoreError> {
        self.settle_at = None;
        if self.groups.get(&self.writer.group()).is_some_and(|open| open.live() == 0) {
            self.close_group()?;
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for number in &dirty {
            self.write_group_state(*number)?;
        }
        for number in dirty.drain(..) {
            self.drop_if_finished(number)?;
        }
        self.dirty = dirty;
        self.settle_at = None;
        Ok(())
    }

    fn drop_if_finished(&mut self, number: GroupNumber) -> Result<(), StoreError> {
        let Some(group) = self.groups.get_mut(&number) else { return Ok(()) };
        group.dirty = false;
        if !group.is_finished() {
            return Ok(());
        }
        self.groups.remove(&number);
        // In this order: the set must be there as long as a part of the group is.
        self.log.drop_group(number)?;
        self.remove(&keys::settled(number))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.unsynced = true;
        self.log.put(key, value)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.unsynced = true;
        self.log.remove(key)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.unsynced) { self.log.sync() } else { Ok(()) }
    }
}

/// Takes a target out of an append of the same batch.
fn strike(ops: &mut [Op], append: usize, target: (QueueId, Seq)) {
    if let Some(Op::Append { targets, .. }) = ops.get_mut(append)
        && let Some(at) = targets.iter().position(|found| *found == target)
    {
        targets.swap_remove(at);
    }
}
