//! A segment of the log, as a file.
//!
//! ```text
//! | header | record | record | … | zeros |                        while it is written
//! | header | record | record | … | index | trailer |              when it is closed
//!
//! header:  | "HMQ" 3 | salt u32 | number u64 | segment before u64 | its end u32 | crc32 u32 |
//! trailer: | crc32 u32 | bytes of the index u32 | end u32 | "HQix" |
//! ```
//!
//! Ends are units. The header says where the segment before it ended: what is there behind that was not
//! written to its end, and was written once more here. A segment without a trailer is read record by record, and
//! so is one whose index is damaged.

use super::atomic;
use super::disk::{Mark, SegmentFile, SegmentNumber};
use super::index::{Facts, Index};
use super::record::{At, HEAD_LEN, Head, Kind, Record, Salt, UNIT};
use std::io;
use std::ops::Range;
use vhosts::MessageBuilder;

/// Bytes that are reserved for a segment, and that it has at most, unless a single record or atomic group of
/// them is larger.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Units of the header.
pub(super) const HEADER_UNITS: u32 = 2;
const HEADER_LEN: usize = HEADER_UNITS as usize * UNIT;
const MAGIC: [u8; 4] = *b"HMQ\x03";
/// How often as many bytes as a segment has are looked at in vain, to find records behind damage.
const PATIENCE: u64 = 16;
const TRAILER_LEN: usize = 16;
const TRAILER_MAGIC: [u8; 4] = *b"HQix";

/// The segment before, and where it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) segment: SegmentNumber,
    pub(super) end: u32,
}

pub(super) fn header(salt: Salt, number: SegmentNumber, before: Before) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&salt.0.to_le_bytes());
    header[8..16].copy_from_slice(&number.to_le_bytes());
    header[16..24].copy_from_slice(&before.segment.to_le_bytes());
    header[24..28].copy_from_slice(&before.end.to_le_bytes());
    let checksum = crc32fast::hash(&header[..28]);
    header[28..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The salt, and what the header says of the segment before; nothing if it is no header of that segment.
pub(super) fn parse_header(header: &[u8], number: SegmentNumber) -> Option<(Salt, Before)> {
    let header: &[u8; HEADER_LEN] = header.first_chunk()?;
    let (words, _) = header.as_chunks::<4>();
    let word = |at: usize| u32::from_le_bytes(words[at]);
    let long = |at: usize| u64::from(word(at + 1)) << 32 | u64::from(word(at));
    let is_sound = words[0] == MAGIC && long(2) == number && crc32fast::hash(&header[..28]) == word(7);
    is_sound.then_some((Salt(word(1)), Before { segment: long(4), end: word(6) }))
}

/// Appends index and trailer to `out`.
pub(super) fn push_index(out: &mut Vec<u8>, number: SegmentNumber, index: &Index) {
    let start = out.len();
    index.encode(out);
    let len = (out.len() - start) as u32;
    let checksum = index_checksum(number, index.end(), &out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&index.end().to_le_bytes());
    out.extend_from_slice(&TRAILER_MAGIC);
}

fn index_checksum(number: SegmentNumber, end: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&end.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// The index that a segment was closed with; nothing if it was not, or if it is damaged.
pub(super) fn read_index(file: &dyn SegmentFile, number: SegmentNumber) -> io::Result<Option<Index>> {
    let len = file.len()?;
    let mut trailer = [0; TRAILER_LEN];
    let Some(at) = len.checked_sub(TRAILER_LEN as u64) else { return Ok(None) };
    file.read_at(&mut trailer, at)?;
    let (words, _) = trailer.as_chunks::<4>();
    let [checksum, index_len, end] = [0, 1, 2].map(|at| u32::from_le_bytes(words[at]));
    let start = at.checked_sub(index_len.into()).filter(|start| *start == offset(end));
    let (Some(start), true) = (start, words[3] == TRAILER_MAGIC) else { return Ok(None) };
    let mut bytes = vec![0; index_len as usize];
    let is_whole = file.read_at(&mut bytes, start)? == bytes.len();
    let is_sound = is_whole && index_checksum(number, end, &bytes) == checksum;
    Ok(if is_sound { Index::decode(&bytes, end) } else { None })
}

/// The offset of a unit.
pub(super) fn offset(unit: u32) -> u64 {
    u64::from(unit) * UNIT as u64
}

/// A segment that was read record by record.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) index: Index,
    /// Units that were synced, and in which no record can be read.
    pub(super) damaged: Vec<Range<u32>>,
}

/// Reads the records in the bytes of a segment, up to the unit `limit`. What was cut off at the end is left out, unless it was
/// synced up to there, and then it is damage.
pub(super) fn scan(bytes: &[u8], salt: Salt, number: SegmentNumber, limit: Option<u32>, mark: Mark) -> Scan {
    let bytes = &bytes[..bytes.len().min(limit.map_or(usize::MAX, |limit| offset(limit) as usize))];
    let synced = if mark.segment == number { mark.end.div_ceil(UNIT as u64) as u32 } else { 0 };
    let is_synced = mark.segment > number;
    let (scan, builder) = Default::default();
    let patience = PATIENCE * bytes.len() as u64;
    let mut scanner = Scanner { bytes, patience, salt, number, synced, is_synced, grouped: 0, scan, builder };
    scanner.run();
    scanner.scan
}

/// Reads the records of a segment of which everything up to the unit `end` is in use: what cannot be read there is
/// damage, and what is behind it counts.
pub(super) fn scan_closed(
    file: &dyn SegmentFile,
    salt: Salt,
    number: SegmentNumber,
    end: u32,
) -> io::Result<Scan> {
    let mark = Mark { segment: number, end: offset(end) };
    Ok(scan(&read_all(file)?, salt, number, Some(end), mark))
}

/// All bytes of a segment.
pub(super) fn read_all(file: &dyn SegmentFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

struct Scanner<'a> {
    bytes: &'a [u8],
    salt: Salt,
    number: SegmentNumber,
    /// The log is synced up to this unit of the segment.
    synced: u32,
    /// All of it is.
    is_synced: bool,
    /// Bytes that may still be looked at in vain: what a client put into a body may look like many large records.
    patience: u64,
    /// Up to here, records belong to an atomic group that is all there.
    grouped: u32,
    scan: Scan,
    builder: MessageBuilder,
}

impl<'a> Scanner<'a> {
    fn run(&mut self) {
        let mut unit = HEADER_UNITS;
        while (unit as usize) < self.bytes.len() / UNIT {
            unit = match self.record(unit) {
                Some(record) => self.accept(unit, &record),
                // What was not synced counts up to where it was cut off, and no further.
                None if !self.is_safe(unit + 1) => break,
                None => unit + 1,
            };
        }
        // What is synced and cannot be read at the end is damage too.
        self.leave_gap(self.synced);
    }

    fn record(&mut self, unit: u32) -> Option<Record<'a>> {
        let bytes: &'a [u8] = self.bytes.get(offset(unit) as usize..)?;
        let len = Head::parse(bytes)?.len();
        if len > bytes.len() as u64 || len > self.patience {
            return None;
        }
        let record = Record::parse(bytes, self.salt.at(self.number, unit));
        if record.is_none() {
            self.patience -= len;
        }
        record
    }

    /// Adds a record, or passes it by if it belongs to an atomic group that is not all there.
    fn accept(&mut self, unit: u32, record: &Record<'_>) -> u32 {
        let units = record.head.units();
        let end = unit + units;
        if record.head.is_grouped() && end > self.grouped && !self.is_safe(end) {
            return end;
        }
        match record.head.kind {
            Kind::Atomic => {
                let group = atomic::Group::decode(record.contents()).map_or(0, |group| group.units);
                let until = end.saturating_add(group);
                if !self.is_safe(until) && !self.is_whole(end, until) {
                    return u32::MAX;
                }
                self.grouped = until;
                self.leave_gap(unit);
                self.scan.index.add_contents(units);
            }
            Kind::Definitions => {
                self.leave_gap(unit);
                self.scan.index.add_contents(units);
            }
            Kind::Message | Kind::Spilled => {
                let read = record.targets().zip(record.message(&mut self.builder));
                let (kind, read) =
                    (record.head.kind, read.map(|(targets, message)| (targets, Facts::of(&message))));
                let Some((targets, facts)) = read else { return end };
                self.leave_gap(unit);
                self.scan.index.add_message(units, kind, &targets, facts);
            }
        }
        end
    }

    /// Whether everything up to there was synced.
    fn is_safe(&self, until: u32) -> bool {
        self.is_synced || until <= self.synced
    }

    /// Whether records fill all of these units.
    fn is_whole(&mut self, mut unit: u32, until: u32) -> bool {
        while unit < until {
            let Some(record) = self.record(unit).filter(|record| record.head.is_grouped()) else {
                return false;
            };
            unit += record.head.units();
        }
        unit == until
    }

    /// Nothing could be read from the last record up to here.
    fn leave_gap(&mut self, until: u32) {
        let from = self.scan.index.end();
        if from < until {
            self.scan.index.add_gap(until - from);
            // Of what was not synced, a crash may leave the end without the beginning.
            if self.is_synced || from < self.synced {
                self.scan.damaged.push(from..until);
            }
        }
    }
}

/// The bytes of the record at a unit, which is at least a head.
pub(super) fn read_record(file: &dyn SegmentFile, at: At) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEAD_LEN];
    let mut read = file.read_at(&mut bytes, offset(at.unit))?;
    if let Some(head) = Head::parse(&bytes[..read])
        && head.len() <= file.len()?
    {
        bytes.resize(head.len() as usize, 0);
        read += file.read_at(&mut bytes[read..], offset(at.unit) + read as u64)?;
    }
    bytes.truncate(read);
    Ok(bytes)
}
