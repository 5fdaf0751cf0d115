//! Reading messages back from the log, by their places. Any thread may.
//!
//! What lies close together is read in one go, so that a deep queue comes back in large sequential reads.

use super::disk::SegmentFile;
use super::layout::offset;
use super::record::{HEAD_LEN, Head, Record, Salt};
use super::shelf::Shelf;
use super::slot::Slot;
use std::fmt;
use std::io;
use std::sync::Arc;
use vhosts::{Message, MessageBuilder, Place};

/// Bytes that are read in one go at most, unless a record is larger.
const SPAN_MAX: u64 = 1024 * 1024;
/// Bytes that are read for nothing rather than read in two goes.
const GAP_MAX: u64 = 16 * 1024;
/// Bytes that are read of a record whose length is not known.
const GUESS: u64 = 4096;

/// Reads messages; a clone reads from the same store.
#[derive(Clone)]
pub struct Reader(Arc<Shelf>);

impl fmt::Debug for Reader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Reader")
    }
}

impl Reader {
    pub(super) fn new(shelf: Arc<Shelf>) -> Reader {
        Reader(shelf)
    }

    /// Where a message is, if it is written and can be read there.
    #[must_use]
    pub fn place(&self, message: &Message) -> Option<Place> {
        self.0.place(message)
    }

    /// The messages at these places, which are read fastest in growing order; nothing for one that is damaged or
    /// gone.
    ///
    /// # Errors
    /// When the disk refuses. It may be tried again.
    pub fn read(&self, places: &[Place]) -> io::Result<Vec<Option<Message>>> {
        let mut found = Vec::with_capacity(places.len());
        found.extend(places.iter().map(|place| self.0.open(*place)));
        let mut span = Span { salt: self.0.salt(), ..Span::default() };
        let mut builder = MessageBuilder::default();
        let mut messages = Vec::with_capacity(places.len());
        for at in 0..found.len() {
            let Some((place, file)) = &found[at] else {
                messages.push(None);
                continue;
            };
            let start = offset(place.unit);
            if !span.has(place.segment, start, 0) {
                span.load(&**file, place.segment, start, span_end(&found[at..], place))?;
            }
            let message = span.message(&**file, place, &mut builder)?;
            if message.is_none() && self.0.is_unsure(place.segment) {
                return Err(io::Error::other("the disk has lost it, and does not take it once more yet"));
            }
            // As it is known, wherever it is now.
            message.iter().for_each(|message| Slot::Written(places[at]).store(message));
            messages.push(message);
        }
        Ok(messages)
    }
}

type Found = Option<(Place, Arc<dyn SegmentFile>)>;

/// How far it is worth to read from the first of these places on.
fn span_end(found: &[Found], first: &Place) -> u64 {
    let start = offset(first.unit);
    let mut end = start;
    for place in found.iter().map_while(|found| found.as_ref().map(|(place, _)| place)) {
        let from = offset(place.unit);
        if place.segment != first.segment || from < start || from > end + GAP_MAX || from > start + SPAN_MAX {
            break;
        }
        let len = if place.units > 0 { offset(place.units.into()) } else { GUESS };
        end = end.max(from + len);
    }
    end
}

/// A part of a segment in memory.
#[derive(Default)]
struct Span {
    salt: Salt,
    segment: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Span {
    fn has(&self, segment: u64, start: u64, len: u64) -> bool {
        self.segment == segment
            && start >= self.start
            && start + len.max(1) <= self.start + self.bytes.len() as u64
    }

    fn load(&mut self, file: &dyn SegmentFile, segment: u64, start: u64, end: u64) -> io::Result<()> {
        (self.segment, self.start) = (segment, start);
        self.bytes.resize((end - start) as usize, 0);
        let read = file.read_at(&mut self.bytes, start)?;
        self.bytes.truncate(read);
        Ok(())
    }

    /// The message at a place that the span begins to have.
    fn message(
        &mut self,
        file: &dyn SegmentFile,
        place: &Place,
        builder: &mut MessageBuilder,
    ) -> io::Result<Option<Message>> {
        let start = offset(place.unit);
        if !self.has(place.segment, start, HEAD_LEN as u64) {
            self.load(file, place.segment, start, start + GUESS)?;
        }
        let Some(head) = Head::parse(&self.bytes[(start - self.start) as usize..]) else { return Ok(None) };
        let is_possible = head.len() <= self.bytes.len() as u64 || head.len() <= file.len()?;
        if !is_possible {
            return Ok(None);
        }
        if !self.has(place.segment, start, head.len()) {
            self.load(file, place.segment, start, start + head.len())?;
        }
        let bytes = &self.bytes[(start - self.start) as usize..];
        let record = Record::parse(bytes, self.salt.at(place.segment, place.unit));
        Ok(record.and_then(|record| record.message(builder)))
    }
}
