//! The second step of a commit: what is left of the operations goes into the log, in their order.
//!
//! Records are put together in memory and handed to the disk in one write, one for each segment. When that
//! fails, the segment ends before them, and the operations wait for the next one.

use super::super::atomic::{self, Settles, Transaction};
use super::super::definitions::{self, Home};
use super::super::disk::{Assignment, Mark, SegmentFile, SegmentNumber};
use super::super::index::{Facts, Index};
use super::super::layout::{self, Before, HEADER_UNITS, offset};
use super::super::record::{self, At, HEAD_LEN, Kind, Salt, Targets, UNIT};
use super::super::segment::Segment;
use super::super::slot::{self, Slot};
use super::super::{Op, Safety};
use super::{Committer, KEPT_CAPACITY, RELAXED_MS};
use std::io;
use std::sync::Arc;
use vhosts::{Message, QueueId, Seq};

/// The segment that is written to.
pub(super) struct Open {
    pub(super) number: SegmentNumber,
    salt: Salt,
    pub(super) file: Arc<dyn SegmentFile>,
    pub(super) index: Index,
    /// Records that are not handed to the disk.
    pub(super) buffer: Vec<u8>,
    /// The unit that the buffer begins at.
    pub(super) start: u32,
    /// Bytes that it was made with.
    room: u64,
    /// What was handed to the disk since the last sync. When that fails, the disk may have lost it.
    pub(super) unsynced: Vec<u8>,
}

impl Open {
    /// Where the next record goes.
    pub(super) fn at(&self) -> At {
        self.salt.at(self.number, self.index.end())
    }

    /// The disk has what is in the buffer.
    pub(super) fn handed_over(&mut self) {
        if self.unsynced.is_empty() {
            std::mem::swap(&mut self.unsynced, &mut self.buffer);
        } else {
            self.unsynced.append(&mut self.buffer);
        }
        self.start = self.index.end();
    }

    fn has_room(&self, len: u64) -> bool {
        offset(self.index.end()) + len <= self.room
    }
}

/// What is in the buffer, and what follows from it when it is written.
#[derive(Default)]
struct Filled {
    /// Some of it must be synced before it is reported.
    needs_sync: bool,
    /// Records of definitions, and their operations.
    definitions: Vec<(Home, usize)>,
    /// What transactions settle.
    settles: Vec<(QueueId, Seq, Message)>,
}

impl Committer {
    /// Writes what is pending, and syncs what asks for it.
    pub(super) fn write(&mut self) -> io::Result<()> {
        while self.written < self.pending.len() {
            let len = self.skip_settled();
            if len == 0 {
                break;
            }
            self.open_for(len)?;
            let mut filled = Filled::default();
            let start = self.open.as_ref().map_or(0, |open| open.start);
            let until = self.fill(&mut filled);
            let is_last = until == self.pending.len();
            if let Err(error) = self.hand_over(filled.needs_sync, is_last) {
                self.abandon(start);
                self.unplace(until);
                return Err(error);
            }
            self.apply(filled);
            self.place_notes(until);
            self.written = until;
        }
        self.pending.clear();
        self.written = 0;
        self.pending.shrink_to(KEPT_CAPACITY);
        if self.sync_at.is_some_and(|at| at <= self.now) { self.sync_all() } else { Ok(()) }
    }

    /// Syncs what was written; when that fails, the segment ends.
    pub(super) fn sync_all(&mut self) -> io::Result<()> {
        let start = self.open.as_ref().map_or(0, |open| open.start);
        self.sync().inspect_err(|_| self.abandon(start))
    }

    /// Passes operations by of which nothing is to be written. Bytes at most of the next one; 0 if there is none.
    fn skip_settled(&mut self) -> u64 {
        while let Some(op) = self.pending.get(self.written) {
            let len = self.len(op);
            if len > 0 {
                return len;
            }
            self.spare(self.written);
            self.written += 1;
        }
        0
    }

    /// Bytes at most of an operation; 0 if nothing of it is to be written.
    fn len(&self, op: &Op) -> u64 {
        let len = |message: &Message, targets: &Targets| match targets.len() {
            0 => 0,
            targets => record::message_len(message, targets),
        };
        match op {
            Op::Append { message, targets, .. } => len(message, targets),
            Op::Define(changes) => (HEAD_LEN + UNIT) as u64 + definitions::len(changes),
            Op::Transaction(transaction) => {
                let appends: u64 =
                    transaction.appends.iter().map(|(message, targets)| len(message, targets)).sum();
                if appends == 0 && !transaction.settles.iter().any(|settle| self.settles(settle).is_some()) {
                    return 0;
                }
                appends + (HEAD_LEN + UNIT + atomic::Group::len(transaction.settles.len())) as u64
            }
            Op::Settle { .. } | Op::Purge { .. } | Op::Note { .. } => 0,
        }
    }

    /// Nothing of the operation is written.
    fn spare(&mut self, at: usize) {
        for (message, _) in self.pending[at].appends().filter(|(_, targets)| targets.is_empty()) {
            Slot::Never.store(message);
            self.figures.spared += 1;
        }
    }

    /// Sees to it that the open segment has room.
    pub(super) fn open_for(&mut self, len: u64) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|open| open.has_room(len)) {
            return Ok(());
        }
        self.close_open()?;
        self.cut_ragged()?;
        // As many bytes as the record or group that it is made for needs.
        let (number, room) = (self.next, self.segment_bytes.max(offset(HEADER_UNITS) + len));
        // One that could not be made may be there nonetheless.
        self.next += 1;
        let file = self.disk.create(number, room)?;
        self.segments.insert(number, Segment::new(file.clone()));
        self.shelf.add(number, file.clone());
        let buffer = layout::header(self.salt, number, self.before).to_vec();
        self.open = Some(Open {
            number,
            salt: self.salt,
            file,
            index: Index::default(),
            buffer,
            start: 0,
            room,
            unsynced: Vec::new(),
        });
        Ok(())
    }

    /// Puts records of as many operations together as the open segment has room for; says which is the first
    /// that it has no room for.
    fn fill(&mut self, filled: &mut Filled) -> usize {
        let mut at = self.written;
        while at < self.pending.len() {
            let len = self.len(&self.pending[at]);
            if len == 0 {
                self.spare(at);
                at += 1;
                continue;
            }
            let Some(open) = self.open.as_mut().filter(|open| open.has_room(len)) else { break };
            match &self.pending[at] {
                Op::Append { message, targets, safety } => {
                    filled.needs_sync |= *safety == Safety::Synced;
                    let kind = if *safety == Safety::Spilled { Kind::Spilled } else { Kind::Message };
                    let segment = self.segments.get_mut(&open.number);
                    self.figures.written += 1;
                    push_message(open, segment, kind, message, targets, false);
                }
                Op::Define(changes) => {
                    filled.needs_sync = true;
                    let home = push_definitions(open, self.segments.get_mut(&open.number), changes, false);
                    filled.definitions.push((home, at));
                }
                Op::Transaction(_) => {
                    filled.needs_sync = true;
                    self.push_transaction(at, filled);
                }
                Op::Settle { .. } | Op::Purge { .. } | Op::Note { .. } => {}
            }
            at += 1;
        }
        at
    }

    /// Where a target is, if it was written and is not settled.
    fn settles(&self, (queue, _, message): &(QueueId, Seq, Message)) -> Option<Settles> {
        let Slot::Written(place) = Slot::load(message) else { return None };
        let place = self.find(place)?;
        let segment = self.segments.get(&place.segment)?;
        let bit = segment.bit(place, *queue)?;
        (!segment.is_settled(bit)).then_some(Settles { segment: place.segment, unit: place.unit, bit })
    }

    /// The atomic record comes first, and is known when the others are put together.
    fn push_transaction(&mut self, at: usize, filled: &mut Filled) {
        let Op::Transaction(transaction) = &self.pending[at] else { return };
        let Transaction { appends, settles } = &**transaction;
        let named: Vec<Settles> = settles.iter().filter_map(|settle| self.settles(settle)).collect();
        let Some(open) = self.open.as_mut() else { return };
        let Some(segment) = self.segments.get_mut(&open.number) else { return };
        segment.settles_others |= !named.is_empty();
        filled.settles.extend(settles.iter().cloned());
        let head = open.reserve_atomic(segment, named.len());
        for (message, targets) in appends {
            if targets.is_empty() {
                Slot::Never.store(message);
                self.figures.spared += 1;
            } else {
                self.figures.written += 1;
                push_message(open, Some(segment), Kind::Message, message, targets, true);
            }
        }
        open.fill_atomic(head, None, named);
    }

    /// Hands the buffer to the disk. When the segment is full, it ends with that.
    fn hand_over(&mut self, needs_sync: bool, is_last: bool) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let (start, end) = (offset(open.start), open.index.end());
        open.file.write_at(&open.buffer, start)?;
        self.figures.written_bytes += open.buffer.len() as u64;
        open.handed_over();
        if needs_sync || !is_last {
            self.sync()?;
        } else {
            self.sync_at.get_or_insert(self.now.after_ms(RELAXED_MS));
        }
        let Some(open) = &self.open else { return Ok(()) };
        self.shelf.written(open.number, end);
        if is_last { Ok(()) } else { self.close_open() }
    }

    /// Syncs what was written.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.sync_at = None;
        let Some(open) = self.open.as_mut().filter(|open| !open.unsynced.is_empty()) else { return Ok(()) };
        open.file.sync()?;
        open.unsynced.clear();
        self.figures.syncs += 1;
        // It says less than it could if this fails, and nothing wrong.
        let _ = self.disk.mark(Mark { segment: open.number, end: offset(open.start) });
        Ok(())
    }

    /// Ends the open segment with its index, so that a start need not read it.
    pub(super) fn close_open(&mut self) -> io::Result<()> {
        // An index that is there says that its records are.
        self.sync_all()?;
        let Some(open) = &self.open else { return Ok(()) };
        let mut index = Vec::new();
        layout::push_index(&mut index, open.number, &open.index);
        let end = offset(open.start);
        // Without its index it is read record by record, so these may fail, or be lost.
        if open.file.write_at(&index, end).is_ok() {
            let _ = open.file.truncate(end + index.len() as u64);
        }
        self.end_open();
        Ok(())
    }

    fn end_open(&mut self) {
        let Some(open) = self.open.take() else { return };
        self.before = Before { segment: open.number, end: open.start };
        let Some(segment) = self.segments.get_mut(&open.number) else { return };
        segment.closed = true;
        if segment.is_finished() || segment.is_sparse() {
            self.mark_dirty(open.number);
        }
    }

    /// Does what follows from records that are written.
    fn apply(&mut self, filled: Filled) {
        let mut settled = Vec::new();
        for (home, at) in filled.definitions {
            if let Op::Define(changes) = &self.pending[at] {
                self.definitions.written(home, changes, &mut settled);
            }
        }
        self.settle_homes(settled);
        for (queue, _, message) in filled.settles {
            if let Slot::Written(place) = Slot::load(&message) {
                self.settle_place(place, queue);
            }
        }
    }

    /// Records of definitions are settled.
    pub(super) fn settle_homes(&mut self, settled: Vec<Home>) {
        for Home { segment: number, unit, units } in settled {
            if let Some(segment) = self.segments.get_mut(&number) {
                segment.settle_units(unit, units);
                self.mark_dirty(number);
            }
        }
    }

    /// Gives the early notes to the messages that were written.
    fn place_notes(&mut self, until: usize) {
        if !self.early.has_notes() {
            return;
        }
        let mut notes = Vec::new();
        for (message, targets) in self.pending[self.written..until].iter().flat_map(Op::appends) {
            let Slot::Written(place) = Slot::load(message) else { continue };
            for target in targets {
                notes.extend(self.early.take_note(target).map(|note| (place, target.0, note)));
            }
        }
        notes.into_iter().for_each(|(place, queue, note)| self.note_place(place, queue, note));
    }
}

impl Open {
    /// Leaves room for an atomic record, and counts it. Says where it is in the buffer, and in the segment.
    pub(super) fn reserve_atomic(&mut self, segment: &mut Segment, settles: usize) -> (usize, At) {
        let (start, at) = (self.buffer.len(), self.at());
        let units = atomic_units(settles);
        self.buffer.resize(start + units as usize * UNIT, 0);
        self.index.add_contents(units);
        segment.add_contents(units);
        segment.settle_units(at.unit, units);
        (start, at)
    }

    /// Everything that belongs to the atomic record is in the buffer behind it.
    pub(super) fn fill_atomic(
        &mut self,
        (start, at): (usize, At),
        replaces: Option<SegmentNumber>,
        settles: Vec<Settles>,
    ) {
        let units = self.index.end() - at.unit - atomic_units(settles.len());
        let mut contents = Vec::new();
        atomic::Group { units, replaces, settles }.encode(&mut contents);
        let mut bytes = Vec::new();
        record::push_contents(&mut bytes, at, Kind::Atomic, &contents, false);
        self.buffer[start..start + bytes.len()].copy_from_slice(&bytes);
    }
}

/// Units of an atomic record.
fn atomic_units(settles: usize) -> u32 {
    (HEAD_LEN + atomic::Group::len(settles)).div_ceil(UNIT) as u32
}

fn push_message(
    open: &mut Open,
    segment: Option<&mut Segment>,
    kind: Kind,
    message: &Message,
    targets: &Targets,
    grouped: bool,
) {
    let at = open.at();
    let units = record::push_message(&mut open.buffer, at, kind, message, targets, grouped);
    // Who settles a target that was struck must not find another.
    let shared = targets.len() > 1 || matches!(Slot::load(message), Slot::Pending { shared: true, .. });
    open.index.add_message(units, kind, targets, Facts::of(message));
    if let Some(segment) = segment {
        segment.add_message(at.unit, units, targets, shared);
    }
    Slot::Written(slot::place(at.segment, at.unit, units, shared)).store(message);
}

/// Adds a record of definitions.
pub(super) fn push_definitions(
    open: &mut Open,
    segment: Option<&mut Segment>,
    changes: &[Assignment],
    grouped: bool,
) -> Home {
    let at = open.at();
    let mut contents = Vec::new();
    definitions::encode(changes, &mut contents);
    let units = record::push_contents(&mut open.buffer, at, Kind::Definitions, &contents, grouped);
    open.index.add_contents(units);
    if let Some(segment) = segment {
        segment.add_contents(units);
    }
    Home { segment: at.segment, unit: at.unit, units }
}
