//! Decides what of a batch of operations is written, and when a segment of the log may go.
//!
//! Pure but for the [`Disk`] below it: no thread, no clock. One call of [`Committer::commit`] takes a batch:
//!
//! 1. Settlements are matched with appends ([`matching`]); a message that is settled everywhere is not
//!    written.
//! 2. What is left is written as records into the open segment, and synced ([`writing`]).
//! 3. At most every [`SETTLE_EVERY_MS`] the settled sets and the notes that changed are written to the state,
//!    and then segments in which everything is settled are removed ([`settling`]), and what is left in sparse
//!    ones is moved ([`compaction`]).
//!
//! **Where a settlement finds its message.** The slot of a message ([`Slot`](super::slot::Slot)) says how far
//! its append has come, so a settlement needs no map of messages:
//!
//! - *Pending*: the append is not written yet. Its target is struck from the operation; what is left of it
//!   is written.
//! - *Written*: the slot has the place, and its bit is set in the settled set of the segment.
//! - *Unknown* or *early*: the append comes in a later batch. Queue and number go into the set of early
//!   settlements, the slot says that it must be asked, and the append takes its entries out again.
//!
//! A note takes the same way: to the segment, or to the early ones until the message is written.
//!
//! Invariant: every target of an append is, when it was written, either struck, and then it has no bit
//! anywhere, or it has exactly one bit in exactly one segment, which at most one settlement sets.
//!
//! **A message that moves is not lost.** When the append of a copy and the settlement of the original are
//! submitted together, a crash leaves the original, the copy or both. No settled set is written, and no
//! segment is removed, before everything that was submitted before is synced.
//!
//! **A transaction is all or nothing**: see [`atomic`](super::atomic). What it settles falls into three:
//!
//! - *Written* before it: the record names the places. Their sets are written behind the record, so no set
//!   knows of a transaction that is not there; and the segment of the record is removed only behind the sets
//!   of all before, so a transaction that is there no more is in the sets.
//! - *Appended behind it*: such a target is struck. What else there is of its message is in the log behind
//!   the record, so without the transaction there is no trace of the message.
//! - *Appended by it*: such a target is struck, and is part of the record in neither way.
//!
//! A message of a transaction that is settled elsewhere before it is written is left out of the record like
//! any other; its settlement is what a crash shows then.
//!
//! **When the disk refuses**, what could not be written stays and is tried again every [`RETRY_EVERY_MS`] in
//! a new segment, when the one before was cut off where it ended. Settlements go on meanwhile, and segments that
//! are settled are removed: that is how a full disk gets room again. Only what was settled in the same batch as
//! something that could not be written waits for it.

mod compaction;
mod matching;
mod ragged;
mod settling;
mod snapshot;
mod writing;

use super::definitions::Definitions;
use super::disk::{Disk, SegmentNumber};
use super::early::Early;
use super::keys::CLOSED_KEY;
use super::layout::{Before, offset};
use super::record::Salt;
use super::segment::Segment;
use super::shelf::Shelf;
use super::{Figures, Op, Reader};
use foldhash::fast::RandomState;
pub(super) use ragged::Ragged;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use vhosts::{Moment, Place, QueueId};
use writing::Open;

/// The longest time that a settlement or a note waits to be written, in milliseconds, while the disk keeps up.
/// What was settled later than that before a crash may be delivered again.
pub const SETTLE_EVERY_MS: u64 = 100;
/// The longest time that a message waits to be synced whose queues do not insist on it, in milliseconds.
pub const RELAXED_MS: u64 = 200;
/// A batch of more operations gives its memory back.
pub(super) const KEPT_CAPACITY: usize = 64 * 1024;
/// How long a disk that refused is left alone, in milliseconds.
pub const RETRY_EVERY_MS: u64 = 1000;

/// The writer of the log.
pub struct Committer {
    disk: Box<dyn Disk>,
    shelf: Arc<Shelf>,
    salt: Salt,
    segments: HashMap<SegmentNumber, Segment, RandomState>,
    /// The segment that is written to.
    open: Option<Open>,
    /// The one that was written to before, and where it ended.
    before: Before,
    next: SegmentNumber,
    /// Bytes of a segment, unless a single record or group is larger.
    segment_bytes: u64,
    /// Operations that are to be written, from `written` on.
    pending: Vec<Op>,
    written: usize,
    definitions: Definitions,
    /// Settlements and notes whose append has not come, or is not written yet.
    early: Early,
    /// Segments of which something must be written to the state, or that can be removed.
    dirty: Vec<SegmentNumber>,
    /// Settlements that wait for what was submitted with them.
    held: Vec<(Place, QueueId)>,
    /// Segments that may be worth moving.
    sparse: Vec<SegmentNumber>,
    compact_at: Option<Moment>,
    /// Segments that must be cut off before another is written.
    ragged: Vec<Ragged>,
    /// Segments that were replaced. What replaced them is not removed before them.
    replaced: Vec<SegmentNumber>,
    /// Keys of the state that belong to segments that are gone.
    stale: Vec<Vec<u8>>,
    now: Moment,
    settle_at: Option<Moment>,
    sync_at: Option<Moment>,
    /// Why the log cannot be written, and when it is tried again.
    log_stalled: Option<(Arc<str>, Moment)>,
    /// Why the state cannot be written; its next round tries again.
    state_stalled: Option<Arc<str>>,
    figures: Figures,
}

/// What a recovery hands over.
pub(super) struct Found {
    pub(super) salt: Salt,
    pub(super) segments: HashMap<SegmentNumber, Segment, RandomState>,
    pub(super) definitions: Definitions,
    pub(super) before: Before,
    pub(super) next: SegmentNumber,
    pub(super) segment_bytes: u64,
    /// Keys of the state that belong to no segment.
    pub(super) stale: Vec<Vec<u8>>,
    /// Segments that may have more behind their end.
    pub(super) ragged: Vec<Ragged>,
    /// Segments that others replaced.
    pub(super) replaced: Vec<SegmentNumber>,
}

impl Committer {
    /// Goes on where a recovery ended.
    pub(super) fn new(disk: Box<dyn Disk>, shelf: Arc<Shelf>, found: Found) -> Committer {
        let Found { salt, segments, definitions, before, next, segment_bytes, stale, ragged, replaced } =
            found;
        let dirty: Vec<_> = segments.keys().copied().collect();
        ragged.iter().for_each(|ragged| shelf.set_unsure(ragged.segment, !ragged.tail.is_empty()));
        Committer {
            disk,
            shelf,
            salt,
            segments,
            open: None,
            before,
            next,
            segment_bytes,
            pending: Vec::new(),
            written: 0,
            definitions,
            early: Early::default(),
            settle_at: Some(Moment(0)),
            dirty,
            held: Vec::new(),
            sparse: Vec::new(),
            compact_at: None,
            ragged,
            replaced,
            stale,
            now: Moment(0),
            sync_at: None,
            log_stalled: None,
            state_stalled: None,
            figures: Figures::default(),
        }
    }

    /// Takes all of `ops` and leaves it empty. True if everything that was ever taken is now as safe as it
    /// asked for.
    ///
    /// # Panics
    /// When the same message is appended twice.
    pub fn commit(&mut self, ops: &mut Vec<Op>, now: Moment) -> bool {
        self.now = now;
        let (waiting, held) = (self.pending.len(), self.held.len());
        ops.drain(..).for_each(|op| self.take(op));
        let is_alone = self.pending.len() == waiting;
        if self.log_stalled.as_ref().is_none_or(|(_, again)| *again <= now) {
            let written = self.write().and_then(|()| self.compact());
            let stalled = stall("the log", written, self.log_stalled.is_some());
            self.log_stalled = stalled.map(|reason| (reason, now.after_ms(RETRY_EVERY_MS)));
        }
        if self.pending.is_empty() {
            self.release(0);
        } else if is_alone {
            self.release(held);
        }
        if self.settle_at.is_some_and(|at| at <= now) {
            self.state_stalled = stall("the state", self.settle_round(), self.state_stalled.is_some());
        }
        self.pending.is_empty()
    }

    /// Carries out the settlements that are held from there on.
    fn release(&mut self, from: usize) {
        let mut held = std::mem::take(&mut self.held);
        held.drain(from..).for_each(|(place, queue)| self.settle_place(place, queue));
        self.held = held;
        self.held.shrink_to(KEPT_CAPACITY);
    }

    /// Makes everything safe, the settlements and the notes too, and ends the open segment.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn close(&mut self) -> io::Result<()> {
        self.write()?;
        self.release(0);
        self.close_open()?;
        self.settle_round()?;
        // What is gone may let go of more.
        while !self.dirty.is_empty() {
            self.settle_round()?;
        }
        self.disk.write_state(&[(CLOSED_KEY.to_vec(), Some(Vec::new()))])
    }

    /// When [`commit`](Self::commit) should be called though there is nothing new.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let log = match &self.log_stalled {
            Some((_, again)) => [Some(*again), None],
            None => [self.sync_at, self.compact_at],
        };
        log.into_iter().chain([self.settle_at]).flatten().min()
    }

    /// Why nothing can be written now.
    #[must_use]
    pub fn stalled(&self) -> Option<&Arc<str>> {
        self.log_stalled.as_ref().map(|(reason, _)| reason).or(self.state_stalled.as_ref())
    }

    /// Plain numbers for metrics. Looks at every segment.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            segments: self.segments.len() as u64,
            log_bytes: self.segments.values().map(|segment| offset(segment.end())).sum(),
            live_bytes: self.segments.values().map(|segment| offset(segment.live())).sum(),
            state_bytes: self.disk.state_bytes(),
            ..self.figures
        }
    }

    /// How many settlements wait for their append.
    #[must_use]
    pub fn early_len(&self) -> usize {
        self.early.settled_len()
    }

    /// What its records are checked with.
    pub(super) fn salt(&self) -> Salt {
        self.salt
    }

    /// Reads messages back.
    pub(super) fn reader(&self) -> Reader {
        Reader::new(self.shelf.clone())
    }

    /// How many notes are in memory. Looks at every segment.
    #[must_use]
    pub fn notes_len(&self) -> usize {
        self.early.notes_len() + self.segments.values().map(|segment| segment.notes.len()).sum::<usize>()
    }

    /// The disk below.
    #[must_use]
    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// The disk, when nothing more is to be written.
    pub(super) fn into_disk(self) -> Box<dyn Disk> {
        self.disk
    }

    /// The segments of the log.
    pub(super) fn segments(&self) -> impl Iterator<Item = (SegmentNumber, &Segment)> {
        self.segments.iter().map(|(number, segment)| (*number, segment))
    }

    fn mark_dirty(&mut self, number: SegmentNumber) {
        let Some(segment) = self.segments.get_mut(&number).filter(|segment| !segment.dirty) else { return };
        segment.dirty = true;
        self.dirty.push(number);
        self.settle_at.get_or_insert(self.now.after_ms(SETTLE_EVERY_MS));
    }
}

/// Why something can not be written, if so; says it in the log when that begins and when it ends.
fn stall(what: &str, written: io::Result<()>, was_stalled: bool) -> Option<Arc<str>> {
    match written {
        Ok(()) => {
            if was_stalled {
                tracing::info!("{what} of the store is written again");
            }
            None
        }
        Err(error) => {
            if !was_stalled {
                tracing::error!(
                    "{what} of the store cannot be written ({error}): publishers are blocked, nothing that was \
                     confirmed is lost, and it is tried again every second; look at the free space and the health \
                     of the disk"
                );
            }
            Some(format!("{what} cannot be written: {error}").into())
        }
    }
}
