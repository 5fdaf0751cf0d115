//! Decides what of a batch of operations is written, and when a group of the log may go.
//!
//! Pure but for the [`Log`] below it: no thread, no clock. One call of [`Committer::commit`] takes a batch,
//! and when it returns without an error, the batch is safe. Its steps, in this order:
//!
//! 1. Settlements are matched with appends ([`matching`]); a message that is settled everywhere is not
//!    written.
//! 2. Appends and transactions are written as chunks of the open group, definitions as state ([`writing`]).
//! 3. Deleted queues are settled, and at most every [`SETTLE_EVERY_MS`] the settled sets and the notes that
//!    changed are written ([`settling`]).
//! 4. Groups in which everything is settled are dropped: after the sets of step 3, so that no crash can
//!    bring back a message that a dropped group had settled, and right before the sync, so that the space
//!    of a group is never used again before its end is safe.
//! 5. The log is synced, if anything was written.
//!
//! **Where a settlement finds its message.** The slot of a message ([`Slot`](super::slot::Slot)) says how far
//! its append has come, so a settlement needs no map of messages:
//!
//! - *Pending*: the append is in this batch. Its target is struck from the operation; what is left of it is
//!   written.
//! - *Written*: the slot has group and ordinal, and the bit is set in the settled set of the group. With
//!   several targets the slot has the ordinal of the first; the runs of the group find the one of the queue.
//! - *Unknown* or *early*: the append comes in a later batch. Queue and number go into the set of early
//!   settlements, the slot says that it must be asked, and the append takes its entries out again.
//!
//! A note takes the same way: to the group, or to the early ones until the message is written.
//!
//! Invariant: every target of an append is, when its batch is committed, either struck, and then it has no
//! bit anywhere, or written with exactly one bit in exactly one group, which at most one settlement sets.
//! `targets - settled` of a group is therefore exactly the number of messages that it is kept for. A note is
//! kept for no other targets than these.
//!
//! **A message that moves is not lost.** When the append of a copy and the settlement of the original are
//! submitted together, a crash leaves the original, the copy or both, if the original was safe before, and
//! unless the copy is settled too. Both are in one batch, and no settled set is written between the beginning
//! of a batch and the chunk with its last record: whatever set says that the original is settled is in the
//! log behind the copy. An original that is struck instead was not safe.
//!
//! **A transaction is all or nothing.** It is one record, and a record that is cut off is not read. What it
//! settles falls into three:
//!
//! - *Written* before it, also in the same batch: these targets are not struck, and the record names their
//!   places. Their sets are in the log behind the record, so no set knows of a transaction that is not there;
//!   and the group of the record is said to be complete only behind the sets of its own batch and of all
//!   before, so a transaction that is there no more is in the sets.
//! - *Appended behind it*, in this batch or a later one: such a target is struck. What else there is of its
//!   message is in the log behind the record, so without the transaction there is no trace of the message.
//! - *Appended by it*: such a target is struck, and is part of the record in neither way.
//!
//! A message of a transaction that is settled elsewhere before it is written is left out of the record like
//! any other; its settlement is what a crash shows then.
//!
//! After an error the committer must not be used again.

mod matching;
mod settling;
mod writing;

use super::chunk::ChunkWriter;
use super::early::Early;
use super::group::Group;
use super::log::{GroupNumber, Log};
use super::queues::Queues;
use super::slot::ORDINALS_MAX;
use super::{Op, StoreError, keys};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use vhosts::{Moment, QueueId};

/// The longest time that a settlement or a note waits to be written, in milliseconds. What was settled later
/// than that before a crash may be delivered again.
pub const SETTLE_EVERY_MS: u64 = 100;

/// A group is closed at this many targets: the settled set of a group stays small.
const GROUP_TARGETS_MAX: u32 = 1 << 18;
const _: () = assert!(GROUP_TARGETS_MAX < ORDINALS_MAX);

/// The writer of the log.
pub struct Committer<L> {
    log: L,
    writer: ChunkWriter,
    groups: HashMap<GroupNumber, Group, RandomState>,
    /// Groups of which something must be written, or that can be dropped.
    dirty: Vec<GroupNumber>,
    queues: Queues,
    /// Settlements and notes whose append has not come, or is not written yet.
    early: Early,
    /// The queues that this batch deletes.
    forgotten: Vec<QueueId>,
    now: Moment,
    /// When the settled sets and the notes are written next, if any changed.
    settle_at: Option<Moment>,
    unsynced: bool,
    counts: Counts,
    /// Used again for every settled set that is written.
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
            early: Early::default(),
            forgotten: Vec::new(),
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
        // From here on everything of the batch is in the log, and sets may say what it settles.
        self.writer.seal(&mut self.log)?;
        self.settle_forgotten()?;
        if self.settle_at.is_some_and(|at| at <= now) {
            self.write_settled()?;
        }
        self.sync()
    }

    /// Makes everything safe, the settlements, the notes and the exact sequence numbers too.
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
        Counts { groups: self.groups.len() as u64, early: self.early.settled_len() as u64, ..self.counts }
    }

    /// How many notes are in memory. Looks at every group.
    #[must_use]
    pub fn notes_len(&self) -> usize {
        self.early.notes_len() + self.groups.values().map(|group| group.notes.len()).sum::<usize>()
    }

    /// The log below.
    #[must_use]
    pub fn log(&self) -> &L {
        &self.log
    }

    fn mark_dirty(&mut self, number: GroupNumber) {
        let Some(group) = self.groups.get_mut(&number).filter(|group| !group.dirty) else { return };
        group.dirty = true;
        self.dirty.push(number);
        self.settle_at.get_or_insert(self.now.after_ms(SETTLE_EVERY_MS));
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
