//! Whether everything that was written can be read, and is what was written.
//!
//! The index of a segment and its records say the same twice. So a record that is damaged is not only found by
//! its checksum: the index says whose it was.

use super::super::definitions;
use super::super::disk::SegmentNumber;
use super::super::error::failed;
use super::super::index::{Entry, Facts, Index, What};
use super::super::layout::{self, HEADER_UNITS, offset};
use super::super::record::{Kind, Record, Salt};
use super::super::segment::Segment;
use super::super::{Damaged, StoreError, atomic};
use super::View;
use std::io;
use vhosts::{MessageBuilder, QueueId, Seq};

/// Bytes at the end of a segment that tell whether it was closed.
const TAIL_LEN: usize = 16;

/// What was looked at, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Segments of the log.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of the log.
    pub bytes: u64,
    /// What is wrong.
    pub faults: Vec<Fault>,
    salt: Salt,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The state beside the log, in words. Messages that were acknowledged may be delivered again.
    State(String),
    /// A segment cannot be read at all.
    Segment(SegmentNumber),
    /// The header of a segment. Its records are not concerned.
    Header(SegmentNumber),
    /// The index of a segment. Without it the records are read one by one.
    Index(SegmentNumber),
    /// Records whose index is sound, so that it is known whose they were.
    Records {
        /// The segment.
        segment: SegmentNumber,
        /// Where they begin, in bytes.
        offset: u64,
        /// How long they are.
        bytes: u64,
        /// The messages that are lost, in the order of their queues.
        messages: Vec<MessageRange>,
        /// Records of definitions or of atomic groups that are lost.
        contents: u64,
    },
    /// A part of a segment without an index, of which the neighbours are known.
    Part(Damaged),
}

/// Messages of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRange {
    /// The queue.
    pub queue: QueueId,
    /// The lowest of their numbers.
    pub first: Seq,
    /// The highest.
    pub last: Seq,
    /// How many they are.
    pub messages: u64,
    /// How many of them are not settled, and so are lost.
    pub lost: u64,
}

impl View {
    /// Reads every record. `progress` is told how many bytes were read since it was called last.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn check(&self, progress: &mut dyn FnMut(u64)) -> Result<Checked, StoreError> {
        let mut checked = Checked { salt: self.committer.salt(), ..Checked::default() };
        self.check_state(&mut checked.faults);
        let damaged = || self.recovery.torn.iter().flat_map(|torn| &torn.damaged);
        let unreadable = damaged().filter(|damaged| damaged.bytes == 0);
        checked.faults.extend(unreadable.map(|damaged| Fault::Segment(damaged.segment)));
        for (number, segment) in self.segments() {
            let before = checked.bytes;
            let is_indexed = checked.check(number, segment).map_err(failed("read a segment of the log"))?;
            if !is_indexed {
                let parts = damaged().filter(|damaged| damaged.segment == number && damaged.bytes > 0);
                checked.faults.extend(parts.cloned().map(Fault::Part));
            }
            progress(checked.bytes - before);
        }
        Ok(checked)
    }

    fn check_state(&self, faults: &mut Vec<Fault>) {
        let Some(torn) = &self.recovery.torn else { return };
        faults.extend(torn.put_aside.clone().map(Fault::State));
        if torn.lost_states > 0 {
            faults.push(Fault::State(format!(
                "{} values of the state cannot be read: messages that were acknowledged may be delivered again",
                torn.lost_states
            )));
        }
    }
}

impl Checked {
    /// Looks at a segment; says whether it has an index.
    fn check(&mut self, number: SegmentNumber, segment: &Segment) -> io::Result<bool> {
        let bytes = layout::read_all(&*segment.file)?;
        self.segments += 1;
        self.bytes += bytes.len() as u64;
        if layout::parse_header(&bytes, number).is_none() && segment.end() > HEADER_UNITS {
            self.faults.push(Fault::Header(number));
        }
        let Some(index) = segment.index(number)? else {
            if had_index(&bytes, segment.end()) {
                self.faults.push(Fault::Index(number));
            }
            let scan = layout::scan_closed(&*segment.file, self.salt, number, segment.end())?;
            self.records += scan.index.iter().count() as u64;
            return Ok(false);
        };
        self.check_records(number, segment, &index, &bytes);
        Ok(true)
    }

    fn check_records(&mut self, number: SegmentNumber, segment: &Segment, index: &Index, bytes: &[u8]) {
        let (mut builder, mut is_other, mut end) = (MessageBuilder::default(), false, HEADER_UNITS);
        for entry in index.iter() {
            end = entry.unit + entry.units;
            if is_gap(&entry) {
                continue;
            }
            self.records += 1;
            let at = self.salt.at(number, entry.unit);
            match bytes.get(offset(entry.unit) as usize..).and_then(|bytes| Record::parse(bytes, at)) {
                Some(record) => is_other |= !agrees(&record, &entry, &mut builder),
                None => self.add_damaged(number, segment, &entry),
            }
        }
        if is_other || end != index.end() {
            self.faults.push(Fault::Index(number));
        }
    }

    /// A record is damaged; the one before it may be too.
    fn add_damaged(&mut self, number: SegmentNumber, segment: &Segment, entry: &Entry) {
        let (start, len) = (offset(entry.unit), offset(entry.units));
        let goes_on = |fault: &&mut Fault| {
            matches!(fault, Fault::Records { segment, offset, bytes, .. }
                if *segment == number && *offset + *bytes == start)
        };
        if self.faults.last_mut().filter(goes_on).is_none() {
            let (messages, contents) = Default::default();
            self.faults.push(Fault::Records { segment: number, offset: start, bytes: 0, messages, contents });
        }
        let Some(Fault::Records { bytes, messages, contents, .. }) = self.faults.last_mut() else { return };
        *bytes += len;
        match &entry.what {
            What::Contents => *contents += 1,
            What::Message { targets, spilled, .. } => {
                for (bit, (queue, seq)) in (entry.unit..).zip(targets) {
                    add_message(messages, *queue, *seq, !spilled && !segment.is_settled(bit));
                }
            }
        }
    }
}

fn add_message(ranges: &mut Vec<MessageRange>, queue: QueueId, seq: Seq, is_lost: bool) {
    let at = ranges.binary_search_by_key(&queue, |range| range.queue).unwrap_or_else(|at| {
        ranges.insert(at, MessageRange { queue, first: seq, last: seq, messages: 0, lost: 0 });
        at
    });
    let range = &mut ranges[at];
    (range.first, range.last) = (range.first.min(seq), range.last.max(seq));
    range.messages += 1;
    range.lost += u64::from(is_lost);
}

/// Units that are passed by.
fn is_gap(entry: &Entry) -> bool {
    matches!(&entry.what, What::Message { targets, .. } if targets.is_empty())
}

/// Whether a record is what the index says.
fn agrees(record: &Record<'_>, entry: &Entry, builder: &mut MessageBuilder) -> bool {
    let is_right = match (&entry.what, record.head.kind) {
        (What::Contents, Kind::Definitions) => definitions::decode(record.contents()).is_some(),
        (What::Contents, Kind::Atomic) => atomic::Group::decode(record.contents()).is_some(),
        (What::Message { spilled, targets, facts }, kind @ (Kind::Message | Kind::Spilled)) => {
            let message = record.message(builder);
            *spilled == (kind == Kind::Spilled)
                && record.targets().as_ref() == Some(targets)
                && message.is_some_and(|message| Facts::of(&message) == *facts)
        }
        _ => false,
    };
    is_right && record.head.units() == entry.units
}

/// Whether there is more behind the last record than the zeros of a segment that was not closed.
fn had_index(bytes: &[u8], end: u32) -> bool {
    let behind = bytes.get(offset(end) as usize..).unwrap_or_default();
    behind.last_chunk::<TAIL_LEN>().is_some_and(|tail| *tail != [0; TAIL_LEN])
}
