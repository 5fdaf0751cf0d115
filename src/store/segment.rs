//! A segment of the log, as the committer remembers it: which of its units are settled, and the notes about the
//! others.
//!
//! A record whose only target is settled is settled as a whole. One with several targets has a bit for each,
//! from its first unit on, and the rest of it follows with the last of them. So the units that are not settled
//! are what the segment is kept for.

use super::disk::{Assignment, SegmentFile, SegmentNumber};
use super::index::{Entry, Index, What};
use super::layout::{self, HEADER_UNITS};
use super::notes::{Note, Notes};
use super::settled::Settled;
use super::{keys, slot};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use vhosts::{Place, QueueId, Seq};

/// A record that a place does not say all about: it has several targets, or is large.
#[derive(Clone, Copy, Debug)]
struct Wide {
    unit: u32,
    units: u32,
    /// Targets that are not settled.
    left: u32,
    /// Its queues, if it is shared.
    queues: u32,
    shared: bool,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Arc<dyn SegmentFile>,
    settled: Settled,
    /// The unit behind the last record.
    end: u32,
    /// In growing order of their units.
    wide: Vec<Wide>,
    /// Lists of queues; records that follow each other often have the same.
    queues: Vec<Box<[QueueId]>>,
    pub(super) notes: Notes,
    /// Nothing will be added.
    pub(super) closed: bool,
    /// Something of it must be written, or it can be removed.
    pub(super) dirty: bool,
    /// Its records settle some of other segments, which the state may not say yet.
    pub(super) settles_others: bool,
    /// It has records that were moved here: from which unit to which, and where they were first.
    origins: Vec<(u32, u32, SegmentNumber)>,
}

impl Segment {
    pub(super) fn new(file: Arc<dyn SegmentFile>) -> Segment {
        Segment {
            file,
            settled: Settled::default(),
            end: HEADER_UNITS,
            wide: Vec::new(),
            queues: Vec::new(),
            notes: Notes::default(),
            closed: false,
            dirty: false,
            settles_others: false,
            origins: Vec::new(),
        }
    }

    /// A segment that was found, with what the state says of it.
    pub(super) fn recovered(
        file: Arc<dyn SegmentFile>,
        settled: Settled,
        notes: Notes,
        index: &Index,
    ) -> Segment {
        let mut segment = Segment { settled, notes, closed: true, ..Segment::new(file) };
        for Entry { unit, units, what } in index.iter() {
            match what {
                What::Message { spilled, targets, .. } => {
                    segment.add_message(unit, units, &targets, false);
                    // Nobody knows of it any more; a gap has no targets.
                    if spilled || targets.is_empty() {
                        segment.settled.insert(unit, units);
                    }
                }
                What::Contents => segment.add_contents(units),
            }
        }
        // What the state says of records that are lost is of no use.
        segment.settled.truncate(segment.end);
        let is_live = |unit: u32| !segment.settled.contains(unit);
        let lefts: Vec<u32> = segment
            .wide
            .iter()
            .map(|wide| (wide.unit..).take(wide.left as usize).filter(|unit| is_live(*unit)).count() as u32)
            .collect();
        segment.wide.iter_mut().zip(lefts).for_each(|(wide, left)| wide.left = left);
        let settled = &segment.settled;
        segment.notes.retain(|unit| unit < segment.end && !settled.contains(unit));
        segment
    }

    /// Units of records that are not settled.
    pub(super) fn live(&self) -> u32 {
        (self.end - HEADER_UNITS).saturating_sub(self.settled.count())
    }

    /// The unit behind the last record.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// The index that it was closed with; none if it has none, or one that says something else.
    pub(super) fn index(&self, number: SegmentNumber) -> io::Result<Option<Index>> {
        let index = layout::read_index(&*self.file, number)?;
        Ok(index.filter(|index| index.end() == self.end))
    }

    /// Whether it can be removed.
    pub(super) fn is_finished(&self) -> bool {
        self.closed && self.live() == 0
    }

    /// Whether more than half of it is settled, so that it is worth moving the rest.
    pub(super) fn is_sparse(&self) -> bool {
        self.closed && self.live() > 0 && self.live() < (self.end - HEADER_UNITS) / 2
    }

    /// Adds the next record. One that was shared where it was before is looked for as such here too.
    pub(super) fn add_message(
        &mut self,
        unit: u32,
        units: u32,
        targets: &[(QueueId, Seq)],
        was_shared: bool,
    ) {
        self.end = unit + units;
        let shared = targets.len() > 1 || was_shared;
        if shared || slot::place(0, 0, units, false).units == 0 {
            let queues =
                if shared { self.list(targets.iter().map(|(queue, _)| *queue).collect()) } else { 0 };
            self.wide.push(Wide { unit, units, left: targets.len() as u32, queues, shared });
        }
    }

    /// Forgets the records from that unit on.
    pub(super) fn truncate(&mut self, unit: u32) {
        self.end = unit;
        self.settled.truncate(unit);
        self.notes.retain(|bit| bit < unit);
        self.origins.retain(|(from, ..)| *from < unit);
        self.wide.truncate(self.wide.partition_point(|wide| wide.unit < unit));
    }

    /// Adds the next record, which is no message.
    pub(super) fn add_contents(&mut self, units: u32) {
        self.end += units;
    }

    /// Where a record was first that was moved here.
    pub(super) fn add_origin(&mut self, from: u32, to: u32, segment: SegmentNumber) {
        match self.origins.last_mut() {
            Some((_, end, origin)) if *end == from && *origin == segment => *end = to,
            _ => self.origins.push((from, to, segment)),
        }
    }

    /// Where a record was first, if it was moved here.
    pub(super) fn origin(&self, unit: u32) -> Option<SegmentNumber> {
        let at = self.origins.partition_point(|(_, to, _)| *to <= unit);
        self.origins.get(at).filter(|(from, ..)| *from <= unit).map(|(.., segment)| *segment)
    }

    /// Where records were first that were moved here.
    pub(super) fn origins(&self) -> impl Iterator<Item = SegmentNumber> {
        let origins: BTreeSet<_> = self.origins.iter().map(|(.., segment)| *segment).collect();
        origins.into_iter()
    }

    fn list(&mut self, queues: Box<[QueueId]>) -> u32 {
        if self.queues.last() != Some(&queues) {
            self.queues.push(queues);
        }
        self.queues.len() as u32 - 1
    }

    fn wide(&self, unit: u32) -> Option<usize> {
        self.wide.binary_search_by_key(&unit, |wide| wide.unit).ok()
    }

    /// Whether a record is looked for as one of several targets.
    pub(super) fn is_shared(&self, unit: u32) -> bool {
        self.wide(unit).is_some_and(|at| self.wide[at].shared)
    }

    /// The bit of a target; nothing if it is none.
    pub(super) fn bit(&self, place: Place, queue: QueueId) -> Option<u32> {
        if !place.shared {
            return Some(place.unit);
        }
        let queues = self.queues.get(self.wide[self.wide(place.unit)?].queues as usize)?;
        let at = queues.iter().position(|other| *other == queue)?;
        Some(place.unit + at as u32)
    }

    /// Settles a target. Says whether its record is settled with it, if it was not settled before.
    pub(super) fn settle(&mut self, place: Place, queue: QueueId) -> Option<Whole> {
        let bit = self.bit(place, queue)?;
        self.settle_bit(place.unit, bit, if place.shared { 0 } else { place.units.into() })
    }

    /// Settles a target by its bit; so many units, if the record has no other.
    fn settle_bit(&mut self, unit: u32, bit: u32, alone: u32) -> Option<Whole> {
        if bit >= self.end || self.settled.contains(bit) {
            return None;
        }
        self.notes.remove(bit);
        if alone > 0 {
            self.settled.insert(unit, alone);
            return Some(Whole(true));
        }
        let at = self.wide(unit)?;
        let wide = &mut self.wide[at];
        wide.left = wide.left.saturating_sub(1);
        let is_whole = wide.left == 0;
        let (first, units) = if is_whole { (unit, wide.units) } else { (bit, 1) };
        self.settled.insert(first, units);
        Some(Whole(is_whole))
    }

    /// Settles a whole record that has no targets, or a gap.
    pub(super) fn settle_units(&mut self, unit: u32, units: u32) {
        self.settled.insert(unit, units);
    }

    pub(super) fn is_settled(&self, bit: u32) -> bool {
        self.settled.contains(bit)
    }

    /// Remembers a note; false if the target is settled.
    pub(super) fn note(&mut self, bit: u32, note: Note) -> bool {
        let is_live = bit < self.end && !self.is_settled(bit);
        if is_live {
            self.notes.set(bit, note);
        }
        is_live
    }

    /// Shows what of it changed in the state: keys and values.
    pub(super) fn changes(&self, number: SegmentNumber, mut show: impl FnMut(Assignment)) {
        self.settled.changes(|block, value| show((keys::settled(number, block), Some(value))));
        self.notes.changes(|block, value| show((keys::notes(number, block), value.map(<[u8]>::to_vec))));
    }

    /// Shows all that the state has to say of it: keys and values.
    pub(super) fn state(&self, number: SegmentNumber, mut show: impl FnMut(Vec<u8>, Vec<u8>)) {
        self.settled.all(|block, value| show(keys::settled(number, block), value));
        self.notes.all(|block, value| show(keys::notes(number, block), value.to_vec()));
    }

    /// What changed was written.
    pub(super) fn saved(&mut self) {
        self.settled.saved();
        self.notes.saved();
    }

    /// What the state has of it.
    pub(super) fn kept(&self, number: SegmentNumber) -> Vec<Vec<u8>> {
        let settled = self.settled.kept().map(|block| keys::settled(number, block));
        settled.chain(self.notes.kept().map(|block| keys::notes(number, block))).collect()
    }
}

/// Whether a record is settled as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole(pub(super) bool);
