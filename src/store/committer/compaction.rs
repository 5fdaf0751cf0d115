//! Sparse segments: what is not settled in them is moved into the open one, and they are removed. So the log is at
//! most twice as large as what it is kept for, whatever stays behind.
//!
//! The records that are moved are one atomic group that says which segment it replaces: a crash leaves the
//! old segment or the new records. Whoever has an old place finds the new one on the [`Shelf`].
//!
//! [`Shelf`]: super::super::shelf::Shelf

use super::super::definitions::{self, Home};
use super::super::disk::{Assignment, Disk, SegmentNumber};
use super::super::index::{Entry, Facts, Index, What};
use super::super::layout::{self, offset};
use super::super::notes::Note;
use super::super::record::{self, HEAD_LEN, Kind, Record, Salt, TARGET_MAX, Targets, UNIT};
use super::super::segment::Segment;
use super::Committer;
use super::writing::push_definitions;
use std::io;

/// Bytes that are moved in one go at most, so that nobody waits long for it.
const PORTION: u64 = 4 * 1024 * 1024;

/// A message that is to be moved.
struct Mover {
    unit: u32,
    bytes: Vec<u8>,
    kind: Kind,
    facts: Facts,
    targets: Targets,
    /// Where it was first.
    origin: SegmentNumber,
    /// It was looked for as one of several targets.
    was_shared: bool,
    /// The notes of its targets.
    notes: Vec<Note>,
}

/// What is not settled in a segment.
#[derive(Default)]
struct Live {
    movers: Vec<Mover>,
    /// Definitions that are the newest of their keys.
    changes: Vec<Assignment>,
}

/// What was put together of it.
struct Filled {
    to: SegmentNumber,
    home: Option<Home>,
    /// From which unit to which.
    moved: Vec<(u32, u32)>,
}

impl Live {
    /// Bytes at most that it takes.
    fn len(&self) -> u64 {
        let mover =
            |mover: &Mover| (mover.bytes.len() + UNIT) as u64 + TARGET_MAX * mover.targets.len() as u64;
        let movers: u64 = self.movers.iter().map(mover).sum();
        movers + definitions::len(&self.changes) + 3 * (HEAD_LEN + UNIT) as u64
    }

    fn has_notes(&self) -> bool {
        self.movers.iter().flat_map(|mover| &mover.notes).any(|note| *note != Note::default())
    }
}

impl Committer {
    /// Moves a portion of what is left in sparse segments.
    pub(super) fn compact(&mut self) -> io::Result<()> {
        if self.compact_at.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        let mut moved = 0;
        while moved < PORTION
            && let Some(number) = self.sparse.last().copied()
        {
            // Otherwise once more when the state says what there is to say.
            let segment = self.segments.get(&number);
            let is_ready =
                |segment: &&Segment| segment.is_sparse() && !segment.settles_others && !segment.dirty;
            if let Some(segment) = segment.filter(is_ready) {
                moved += offset(segment.live());
                self.move_segment(number)?;
            }
            self.sparse.pop();
        }
        self.compact_at = (!self.sparse.is_empty()).then(|| self.now.after_ms(super::SETTLE_EVERY_MS));
        Ok(())
    }

    fn move_segment(&mut self, number: SegmentNumber) -> io::Result<()> {
        let Some(segment) = self.segments.get(&number) else { return Ok(()) };
        let live = read_index(self.salt, segment, number).and_then(|index| self.read_live(number, &index));
        let live = match live {
            Ok(live) => live,
            Err(error) => {
                tracing::error!(segment = number, %error, "a sparse segment cannot be read, and is kept");
                return Ok(());
            }
        };
        self.open_for(live.len())?;
        let Some(filled) = self.fill_moved(number, &live) else { return Ok(()) };
        self.write_moved(&live, filled.to)?;
        self.replace(number, live, filled);
        Ok(())
    }

    /// Puts the records together; nothing if there is no open segment.
    fn fill_moved(&mut self, number: SegmentNumber, live: &Live) -> Option<Filled> {
        let open = self.open.as_mut()?;
        let target = self.segments.get_mut(&open.number)?;
        let head = open.reserve_atomic(target, 0);
        let home = (!live.changes.is_empty())
            .then(|| push_definitions(open, Some(&mut *target), &live.changes, true));
        let mut moved = Vec::with_capacity(live.movers.len());
        for mover in &live.movers {
            let at = open.at();
            let Some(units) = record::push_moved(&mut open.buffer, at, &mover.bytes, &mover.targets) else {
                continue;
            };
            open.index.add_message(units, mover.kind, &mover.targets, mover.facts);
            target.add_message(at.unit, units, &mover.targets, mover.was_shared);
            moved.push((mover.unit, at.unit));
            target.add_origin(at.unit, at.unit + units, mover.origin);
            for (bit, note) in (at.unit..).zip(&mover.notes).filter(|(_, note)| **note != Note::default()) {
                target.note(bit, *note);
            }
        }
        target.settles_others = true;
        open.fill_atomic(head, Some(number), Vec::new());
        Some(Filled { to: open.number, home, moved })
    }

    /// Hands the records to the disk, which has them safe then; if it refuses, the open segment ends before them.
    fn write_moved(&mut self, live: &Live, to: SegmentNumber) -> io::Result<()> {
        let (Some(open), Some(target)) = (&mut self.open, self.segments.get_mut(&to)) else { return Ok(()) };
        let start = open.start;
        let noted = if live.has_notes() { save_notes(&mut *self.disk, to, target) } else { Ok(()) };
        let written = noted.and_then(|()| open.file.write_at(&open.buffer, offset(start)));
        self.figures.written_bytes += open.buffer.len() as u64;
        if written.is_ok() {
            open.handed_over();
        }
        if let Err(error) = written.and_then(|()| self.sync()) {
            self.abandon(start);
            return Err(error);
        }
        if let Some(open) = &self.open {
            self.shelf.written(open.number, open.start);
        }
        Ok(())
    }

    /// From now on the records are where they were moved, and the segment may go.
    fn replace(&mut self, number: SegmentNumber, live: Live, Filled { to, home, moved }: Filled) {
        self.figures.moved += live.movers.len() as u64;
        let mut settled = Vec::new();
        if let Some(home) = home {
            self.definitions.written(home, &live.changes, &mut settled);
        }
        self.definitions.removed(number, &mut settled);
        self.settle_homes(settled);
        self.mark_dirty(to);
        if let Some(segment) = self.segments.remove(&number) {
            self.shelf.moved(number, to, moved, segment.origins());
            self.stale.extend(segment.kept(number));
        }
        self.replaced.push(number);
    }

    /// What is not settled in a segment: messages, and definitions.
    fn read_live(&self, number: SegmentNumber, index: &Index) -> io::Result<Live> {
        let Live { mut movers, mut changes } = Live::default();
        let Some(segment) = self.segments.get(&number) else { return Ok(Live { movers, changes }) };
        for Entry { unit, what, .. } in index.iter() {
            let at = self.salt.at(number, unit);
            match what {
                What::Contents if segment.is_settled(unit) => {}
                What::Contents => {
                    let bytes = layout::read_record(&*segment.file, at)?;
                    let record =
                        Record::parse(&bytes, at).filter(|record| record.head.kind == Kind::Definitions);
                    let read =
                        record.and_then(|record| definitions::decode(record.contents())).unwrap_or_default();
                    changes.extend(
                        read.into_iter().filter(|(key, _)| self.definitions.is_newest(key, number, unit)),
                    );
                }
                What::Message { spilled, targets, facts } => {
                    let live = |bit: &u32| !segment.is_settled(*bit);
                    let bits: Vec<u32> = (unit..).take(targets.len()).filter(live).collect();
                    if bits.is_empty() {
                        continue;
                    }
                    let was_shared = targets.len() > 1 || segment.is_shared(unit);
                    let notes = bits.iter().map(|bit| segment.notes.note(*bit)).collect();
                    let targets = bits.iter().map(|bit| targets[(bit - unit) as usize]).collect();
                    let bytes = layout::read_record(&*segment.file, at)?;
                    if Record::parse(&bytes, at).is_none() {
                        tracing::error!(
                            segment = number,
                            unit,
                            ?targets,
                            "a message is damaged and cannot be read"
                        );
                        continue;
                    }
                    let kind = if spilled { Kind::Spilled } else { Kind::Message };
                    let origin = segment.origin(unit).unwrap_or(number);
                    movers.push(Mover { unit, bytes, kind, facts, targets, origin, was_shared, notes });
                }
            }
        }
        Ok(Live { movers, changes })
    }
}

fn read_index(salt: Salt, segment: &Segment, number: SegmentNumber) -> io::Result<Index> {
    match segment.index(number)? {
        Some(index) => Ok(index),
        None => Ok(layout::scan_closed(&*segment.file, salt, number, segment.end())?.index),
    }
}

/// The notes of records that are moved are there before them: a crash leaves none without its note.
fn save_notes(disk: &mut dyn Disk, number: SegmentNumber, segment: &mut Segment) -> io::Result<()> {
    let mut changes = Vec::new();
    segment.changes(number, |change| changes.push(change));
    disk.write_state(&changes)?;
    segment.saved();
    Ok(())
}
