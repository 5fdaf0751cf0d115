//! What readers of the log share with the committer: the files, how far they are written, and where records went
//! that were moved.
//!
//! A place stays good for as long as the message is not settled: when its segment was moved away, the shelf
//! knows where to.

use super::disk::{SegmentFile, SegmentNumber};
use super::record::Salt;
use super::slot::{self, Slot};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vhosts::{Message, Place};

#[derive(Debug, Default)]
pub(super) struct Shelf {
    salt: Salt,
    files: Mutex<Files>,
    /// The place up to which the log is written: everything before can be read.
    written: AtomicU64,
}

#[derive(Debug, Default)]
struct Files {
    segments: HashMap<SegmentNumber, Arc<dyn SegmentFile>>,
    moved: HashMap<SegmentNumber, Moved>,
    /// Segments of which the disk may have lost something that is written there once more.
    unsure: HashSet<SegmentNumber>,
}

/// Records that were moved out of a segment, which was the first that they were known in.
#[derive(Debug, Default)]
struct Moved {
    /// From which unit to which place, in growing order.
    places: Vec<(u32, SegmentNumber, u32)>,
    /// Records that are not settled.
    left: usize,
}

impl Shelf {
    pub(super) fn new(salt: Salt) -> Shelf {
        Shelf { salt, ..Shelf::default() }
    }

    /// What records are checked with.
    pub(super) fn salt(&self) -> Salt {
        self.salt
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, number: SegmentNumber, file: Arc<dyn SegmentFile>) {
        self.files().segments.insert(number, file);
    }

    pub(super) fn remove(&self, number: SegmentNumber) {
        self.files().segments.remove(&number);
    }

    /// The records of a segment that are not settled were moved: from which unit to which of the segment `to`, in
    /// growing order. Some of them had come there from `origins`, and are only looked for where they were first.
    pub(super) fn moved(
        &self,
        number: SegmentNumber,
        to: SegmentNumber,
        mut units: Vec<(u32, u32)>,
        origins: impl Iterator<Item = SegmentNumber>,
    ) {
        let mut files = self.files();
        files.segments.remove(&number);
        for origin in origins {
            let Some(moved) = files.moved.get_mut(&origin) else { continue };
            for (_, segment, unit) in moved.places.iter_mut().filter(|(_, segment, _)| *segment == number) {
                if let Ok(at) = units.binary_search_by_key(unit, |(unit, _)| *unit) {
                    (*segment, *unit) = (to, units[at].1);
                    units.remove(at);
                }
            }
        }
        if !units.is_empty() {
            let (places, left) = (units.iter().map(|(unit, at)| (*unit, to, *at)).collect(), units.len());
            files.moved.insert(number, Moved { places, left });
        }
    }

    /// Where a record is now that was at that place; the same place if it was not moved.
    pub(super) fn find(&self, place: Place) -> Place {
        self.files().find(place)
    }

    /// A record that was moved out of that segment is settled.
    pub(super) fn forget_moved(&self, number: SegmentNumber) {
        let mut files = self.files();
        if let Some(moved) = files.moved.get_mut(&number) {
            moved.left = moved.left.saturating_sub(1);
            if moved.left == 0 {
                files.moved.remove(&number);
            }
        }
    }

    /// Where a record is now, and the file that it is in.
    pub(super) fn open(&self, place: Place) -> Option<(Place, Arc<dyn SegmentFile>)> {
        let files = self.files();
        let place = files.find(place);
        Some((place, files.segments.get(&place.segment)?.clone()))
    }

    /// The disk may have lost something of a segment, or has it again.
    pub(super) fn set_unsure(&self, number: SegmentNumber, is_unsure: bool) {
        let unsure = &mut self.files().unsure;
        _ = if is_unsure { unsure.insert(number) } else { unsure.remove(&number) };
    }

    /// Whether what cannot be read there is to be had later.
    pub(super) fn is_unsure(&self, number: SegmentNumber) -> bool {
        self.files().unsure.contains(&number)
    }

    /// The log is written up to there.
    pub(super) fn written(&self, segment: SegmentNumber, unit: u32) {
        self.written.store((segment << slot::UNIT_BITS) + u64::from(unit.min(slot::UNIT_MAX)), Release);
    }

    /// Where a message is, if it can be read there.
    pub(super) fn place(&self, message: &Message) -> Option<Place> {
        // Before the slot: a place that could not be written is in no slot any more when what is behind it is.
        let written = self.written.load(Acquire);
        let Slot::Written(place) = Slot::load(message) else { return None };
        let at = place.segment << slot::UNIT_BITS | u64::from(place.unit);
        (at < written).then_some(place)
    }
}

impl Files {
    fn find(&self, place: Place) -> Place {
        let found = self.moved.get(&place.segment).and_then(|moved| {
            let at = moved.places.binary_search_by_key(&place.unit, |(unit, ..)| *unit).ok()?;
            Some(moved.places[at])
        });
        found.map_or(place, |(_, segment, unit)| Place { segment, unit, ..place })
    }
}
