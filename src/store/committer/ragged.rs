//! What is left of a segment when the disk refuses: it ends before what could not be written, and what was
//! handed over before and is not synced is written there once more.

use super::super::disk::SegmentNumber;
use super::super::layout::{Before, HEADER_UNITS, offset};
use super::super::record::Targets;
use super::super::slot::Slot;
use super::Committer;
use std::io;
use vhosts::Message;

/// A segment that may have more behind its end, which must be cut off before another is written.
#[derive(Debug)]
pub(in super::super) struct Ragged {
    pub(in super::super) segment: SegmentNumber,
    /// The unit that it ends before.
    pub(in super::super) end: u32,
    /// What is there before its end, and was not synced. A sync that failed may have lost it.
    pub(in super::super) tail: Vec<u8>,
}

impl Committer {
    /// The disk refused: the open segment ends at this unit.
    pub(super) fn abandon(&mut self, end: u32) {
        self.sync_at = None;
        let Some(open) = self.open.take() else { return };
        // A header that was not written leaves nothing worth keeping.
        let end = end.max(HEADER_UNITS);
        self.before = Before { segment: open.number, end };
        let Some(segment) = self.segments.get_mut(&open.number) else { return };
        segment.truncate(end);
        segment.closed = true;
        let mut tail = open.unsynced;
        let lost = offset(open.start).saturating_sub(offset(end)) as usize;
        tail.truncate(tail.len().saturating_sub(lost));
        self.shelf.set_unsure(open.number, !tail.is_empty());
        self.ragged.push(Ragged { segment: open.number, end, tail });
        self.mark_dirty(open.number);
    }

    /// What could not be written may be there in part, and is written elsewhere: it is cut off for good, so that no
    /// start finds it twice. What is before it is safe then: the header of the next segment says so.
    pub(super) fn cut_ragged(&mut self) -> io::Result<()> {
        while let Some(Ragged { segment: number, end, tail }) = self.ragged.last() {
            if let Some(segment) = self.segments.get(number) {
                if !tail.is_empty() {
                    segment.file.write_at(tail, offset(*end).saturating_sub(tail.len() as u64))?;
                }
                segment.file.truncate(offset(*end))?;
                segment.file.sync()?;
            }
            self.shelf.set_unsure(*number, false);
            self.ragged.pop();
        }
        Ok(())
    }

    /// The messages of operations that could not be written wait again.
    pub(super) fn unplace(&mut self, until: usize) {
        for at in self.written..until {
            let parts = self.pending[at].appends().enumerate();
            parts.for_each(|(part, (message, targets))| unplace(message, targets, at, part));
        }
    }
}

fn unplace(message: &Message, targets: &Targets, op: usize, part: usize) {
    if !targets.is_empty() {
        let shared = matches!(Slot::load(message), Slot::Written(place) if place.shared)
            || matches!(Slot::load(message), Slot::Pending { shared: true, .. });
        Slot::Pending { op, part, shared }.store(message);
    }
}
