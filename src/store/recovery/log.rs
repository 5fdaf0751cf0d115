//! The segments that were found, and what is in them.

use super::super::atomic;
use super::super::committer::Ragged;
use super::super::definitions::{self, Definitions, Home};
use super::super::disk::{Assignment, Disk, Mark, SegmentFile, SegmentNumber};
use super::super::error::{StoreError, failed};
use super::super::index::{Entry, Index, What};
use super::super::layout::{self, Before, HEADER_UNITS, offset};
use super::super::record::{HEAD_LEN, Kind, Record, Salt};
use super::super::segment::Segment;
use super::super::shelf::Shelf;
use super::super::slot;
use super::runs::Runs;
use super::state::State;
use super::{Damaged, Torn};
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vhosts::{QueueId, Seq};

/// How often a line in the log says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(1);

type Segments = HashMap<SegmentNumber, Segment, RandomState>;

/// The segments that were found.
pub(super) struct FoundLog {
    salt: Salt,
    segments: BTreeMap<SegmentNumber, FoundSegment>,
    mark: Mark,
    /// Where segments ended, as those behind them say.
    ends: HashMap<SegmentNumber, u32>,
    /// What transactions settle: bits of segments.
    settles: HashMap<SegmentNumber, HashSet<u32>>,
    definitions: Definitions,
    /// Records of definitions that are settled.
    settled_homes: Vec<Home>,
    /// Segments that may have more behind their end.
    ragged: Vec<Ragged>,
    /// Segments that others replaced.
    replaced: HashSet<SegmentNumber>,
}

struct FoundSegment {
    file: Arc<dyn SegmentFile>,
    /// If it had none, and was read record by record.
    index: Option<Index>,
    /// It ended there.
    end: u32,
}

impl FoundLog {
    /// Opens all segments. The salt is in the state, and in the header of each segment.
    pub(super) fn open(
        disk: &dyn Disk,
        salt: Option<Salt>,
        torn: &mut Torn,
    ) -> Result<(FoundLog, Option<Salt>), StoreError> {
        let mut log = FoundLog {
            salt: Salt::default(),
            segments: BTreeMap::new(),
            mark: disk.marked(),
            ends: HashMap::new(),
            settles: HashMap::new(),
            definitions: Definitions::default(),
            settled_homes: Vec::new(),
            ragged: Vec::new(),
            replaced: HashSet::new(),
        };
        let mut salt = salt;
        for number in disk.segments().map_err(failed("list the segments of the log"))? {
            match disk.open(number).and_then(|file| Ok((header(&*file, number)?, file))) {
                Ok((header, file)) => {
                    if let Some((found, before)) = header {
                        salt = salt.or(Some(found));
                        log.ends.insert(before.segment, before.end);
                    }
                    log.segments.insert(number, FoundSegment { file, index: None, end: HEADER_UNITS });
                }
                Err(error) => unreadable(number, &error, torn),
            }
        }
        log.salt = salt.unwrap_or_default();
        Ok((log, salt))
    }

    pub(super) fn highest(&self) -> SegmentNumber {
        let numbers = self.segments.keys().chain(self.ends.keys()).copied();
        numbers.max().unwrap_or_default().max(self.mark.segment)
    }

    /// The segment that was written last.
    pub(super) fn last(&self) -> Before {
        let last = self.segments.last_key_value();
        last.map(|(number, found)| Before { segment: *number, end: found.end }).unwrap_or_default()
    }

    /// Reads the records that are listed: definitions, whose newest values it returns, and atomic ones. Leaves out
    /// the segments that were replaced.
    pub(super) fn read_listed(&mut self, torn: &mut Torn) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (mut replaced, mut changes) = (HashSet::new(), Vec::new());
        let mut report = Report::new("reading indexes", self.segments.len());
        for number in self.segments.keys().copied().collect::<Vec<_>>() {
            report.step();
            match self.index(number, torn) {
                Ok(index) => self.listed(number, &index, &mut replaced, &mut changes, torn),
                Err(error) => {
                    unreadable(number, &error, torn);
                    self.segments.remove(&number);
                }
            }
        }
        self.replaced = self.segments.keys().copied().filter(|number| replaced.contains(number)).collect();
        self.segments.retain(|number, _| !replaced.contains(number));
        let mut newest = BTreeMap::new();
        for (home, changes) in changes {
            if replaced.contains(&home.segment) {
                continue;
            }
            self.definitions.written(home, &changes, &mut self.settled_homes);
            for (key, value) in changes {
                match value {
                    Some(value) => _ = newest.insert(key, value),
                    None => _ = newest.remove(&key),
                }
            }
        }
        newest.into_iter().collect()
    }

    /// Segments that have more behind their end, and segments that others replaced.
    pub(super) fn take_left(&mut self) -> (Vec<Ragged>, Vec<SegmentNumber>) {
        (std::mem::take(&mut self.ragged), self.replaced.drain().collect())
    }

    /// The index of a segment; one that has none is read record by record, and gets one.
    fn index(&mut self, number: SegmentNumber, torn: &mut Torn) -> io::Result<Index> {
        let end = self.ends.get(&number).copied();
        let is_last = self.segments.last_key_value().is_some_and(|(last, _)| *last == number);
        let Some(found) = self.segments.get_mut(&number) else { return Ok(Index::default()) };
        let index = layout::read_index(&*found.file, number)?;
        // Behind the end that the next one knows is what was written once more there.
        if let Some(index) = index.filter(|index| end.is_none_or(|end| index.end() <= end)) {
            found.end = index.end();
            // A recovery that was killed wrote it: from now on it is relied on, so a loss of power must leave it.
            if is_last && let Err(error) = found.file.sync() {
                tracing::debug!(segment = number, %error, "the last segment could not be synced");
                self.ragged.push(Ragged { segment: number, end: index.end(), tail: Vec::new() });
            }
            return Ok(index);
        }
        // The one behind it was written only when it was synced.
        let mark = end.map_or(self.mark, |end| Mark { segment: number, end: offset(end) });
        let mut found_bytes = layout::read_all(&*found.file)?;
        let scan = layout::scan(&found_bytes, self.salt, number, end, mark);
        torn.damaged.extend(scan.damaged.iter().map(|units| damaged(number, units, &scan.index)));
        let mut bytes = Vec::new();
        layout::push_index(&mut bytes, number, &scan.index);
        let at = offset(scan.index.end());
        let file = &found.file;
        // What counts from now on must stay, and an index that is there says that its records are.
        let synced = file.sync().and_then(|()| file.write_at(&bytes, at));
        let indexed = synced.and_then(|()| file.truncate(at + bytes.len() as u64));
        if let Err(error) = indexed.and_then(|()| file.sync()) {
            tracing::debug!(segment = number, %error, "no index could be written");
            found_bytes.truncate(at as usize);
            self.ragged.push(Ragged { segment: number, end: scan.index.end(), tail: found_bytes });
        }
        found.end = scan.index.end();
        found.index = Some(scan.index);
        Ok(found.index.clone().unwrap_or_default())
    }

    fn listed(
        &mut self,
        number: SegmentNumber,
        index: &Index,
        replaced: &mut HashSet<SegmentNumber>,
        changes: &mut Vec<(Home, Vec<Assignment>)>,
        torn: &mut Torn,
    ) {
        let Some(found) = self.segments.get(&number) else { return };
        if index.listed().is_empty() {
            return;
        }
        for Entry { unit, units, .. } in index.iter().filter(|entry| entry.what == What::Contents) {
            let (at, home) = (self.salt.at(number, unit), Home { segment: number, unit, units });
            let bytes = layout::read_record(&*found.file, at).unwrap_or_default();
            match Record::parse(&bytes, at) {
                Some(record) if record.head.kind == Kind::Definitions => {
                    changes.push((home, definitions::decode(record.contents()).unwrap_or_default()));
                }
                Some(record) => {
                    let group = atomic::Group::decode(record.contents()).unwrap_or_default();
                    replaced.extend(group.replaces);
                    for settles in group.settles {
                        self.settles.entry(settles.segment).or_default().insert(settles.bit);
                    }
                    self.settled_homes.push(home);
                }
                None => {
                    torn.damaged.push(damaged(number, &(unit..unit + units), index));
                    self.settled_homes.push(home);
                }
            }
        }
    }

    /// Looks at all messages.
    pub(super) fn read_messages(
        mut self,
        state: &mut State,
        runs: &mut Runs,
        shelf: &Shelf,
        torn: &mut Torn,
    ) -> (Segments, Definitions) {
        let mut segments = Segments::default();
        let mut report = Report::new("reading what is not settled", self.segments.len());
        let mut last = Default::default();
        for (number, found) in std::mem::take(&mut self.segments) {
            report.step();
            let index = match found.index {
                Some(index) => index,
                None => match layout::read_index(&*found.file, number) {
                    Ok(Some(index)) => index,
                    unread => {
                        let damaged = io::ErrorKind::InvalidData.into();
                        unreadable(number, &unread.err().unwrap_or(damaged), torn);
                        continue;
                    }
                },
            };
            let (settled, notes) = state.take(number);
            let mut segment = Segment::recovered(found.file.clone(), settled, notes, &index);
            let settles = self.settles.remove(&number).unwrap_or_default();
            read_segment(number, &index, &mut segment, &settles, runs);
            shelf.add(number, found.file);
            last = (number, index.end());
            segments.insert(number, segment);
        }
        shelf.written(last.0, last.1);
        for Home { segment, unit, units } in self.settled_homes {
            if let Some(segment) = segments.get_mut(&segment) {
                segment.settle_units(unit, units);
            }
        }
        (segments, self.definitions)
    }
}

/// Adds the messages of a segment to their queues, but those that are settled.
fn read_segment(
    number: SegmentNumber,
    index: &Index,
    segment: &mut Segment,
    settles: &HashSet<u32>,
    runs: &mut Runs,
) {
    for Entry { unit, units, what } in index.iter() {
        let (spilled, targets, facts) = match what {
            What::Message { spilled, targets, facts } => (spilled, targets, facts),
            What::Contents => {
                // What an atomic record has to say was heard; definitions that are live stay.
                segment.settles_others = true;
                continue;
            }
        };
        let place = slot::place(number, unit, units, targets.len() > 1);
        for (bit, (queue, seq)) in (unit..).zip(targets) {
            runs.seen(queue, seq);
            if settles.contains(&bit) {
                segment.settle(place, queue);
            }
            if !spilled && !segment.is_settled(bit) {
                runs.add(queue, seq, place, facts, segment.notes.note(bit));
            }
        }
    }
}

fn header(file: &dyn SegmentFile, number: SegmentNumber) -> io::Result<Option<(Salt, Before)>> {
    let mut header = [0; HEAD_LEN];
    file.read_at(&mut header, 0)?;
    Ok(layout::parse_header(&header, number))
}

/// What is said of a segment that cannot be read at all.
fn unreadable(number: SegmentNumber, error: &io::Error, torn: &mut Torn) {
    tracing::error!(segment = number, %error, "a segment of the log cannot be read; it is left where it is");
    torn.damaged.push(Damaged { segment: number, ..Damaged::default() });
}

/// A part that could not be read, and the messages beside it.
fn damaged(segment: SegmentNumber, units: &Range<u32>, index: &Index) -> Damaged {
    let first = |entry: &Entry| -> Option<(QueueId, Seq)> {
        match &entry.what {
            What::Message { targets, .. } => targets.first().copied(),
            What::Contents => None,
        }
    };
    let (mut after, mut before) = (None, None);
    for entry in index.iter() {
        if entry.unit < units.start {
            after = first(&entry).or(after);
        } else if entry.unit >= units.end && before.is_none() {
            before = first(&entry);
        }
    }
    let bytes = offset(units.end - units.start);
    Damaged { segment, offset: offset(units.start), bytes, after, before }
}

/// Says in the log how far it is.
struct Report {
    what: &'static str,
    done: usize,
    total: usize,
    last: Instant,
}

impl Report {
    fn new(what: &'static str, total: usize) -> Report {
        Report { what, done: 0, total, last: Instant::now() }
    }

    fn step(&mut self) {
        if self.last.elapsed() >= REPORT_EVERY {
            self.last = Instant::now();
            tracing::info!("{}: {} of {} segments", self.what, self.done, self.total);
        }
        self.done += 1;
    }
}
