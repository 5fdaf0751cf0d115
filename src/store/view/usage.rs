//! What takes the space in a store.

use super::super::error::failed;
use super::super::index::{Entry, What};
use super::super::layout::{self, HEADER_UNITS, offset};
use super::super::record::Salt;
use super::super::segment::Segment;
use super::super::{StoreError, disk::SegmentNumber};
use super::View;
use std::collections::BTreeMap;
use std::io;
use vhosts::QueueId;

/// What takes the space, in bytes. All but the state and what is free together are the sizes of the segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In order of the ids.
    pub queues: BTreeMap<QueueId, QueueUsage>,
    /// Records of definitions that are needed.
    pub definitions: u64,
    /// Records that are settled, and go with their segments or when these are moved.
    pub settled: u64,
    /// Headers and indexes of segments.
    pub indexes: u64,
    /// Reserved and not written.
    pub reserved: u64,
    /// Segments that others took the place of, which the next start removes.
    pub replaced: u64,
    /// Segments that were removed, and are kept to be used again.
    pub free: u64,
    /// The state beside the log.
    pub state: u64,
    /// Segments of the log.
    pub segments: u64,
}

/// What a queue takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueUsage {
    /// Messages that a restart brings back.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bodies: u64,
    /// Its share of their records: one that is in several queues is divided among them.
    pub disk: u64,
}

impl View {
    /// What takes the space.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let (state, free) = (self.committer.disk().state_bytes(), self.free_bytes);
        let mut usage = Usage { state, free, ..Usage::default() };
        for (number, segment) in self.segments() {
            usage.add(self.committer.salt(), number, segment).map_err(failed("read a segment of the log"))?;
        }
        let known = usage.log();
        usage.replaced = self.log_bytes()?.saturating_sub(known);
        Ok(usage)
    }
}

impl Usage {
    /// Bytes of the segments.
    #[must_use]
    pub fn log(&self) -> u64 {
        let queues: u64 = self.queues.values().map(|queue| queue.disk).sum();
        queues + self.definitions + self.settled + self.indexes + self.reserved + self.replaced
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.log() + self.free + self.state
    }

    fn add(&mut self, salt: Salt, number: SegmentNumber, segment: &Segment) -> io::Result<()> {
        let file = &*segment.file;
        let behind = file.len()?.saturating_sub(offset(segment.end()));
        self.segments += 1;
        self.indexes += offset(HEADER_UNITS);
        let index = match segment.index(number)? {
            Some(index) => {
                self.indexes += behind;
                index
            }
            None => {
                self.reserved += behind;
                layout::scan_closed(file, salt, number, segment.end())?.index
            }
        };
        index.iter().for_each(|entry| self.add_entry(&entry, segment));
        Ok(())
    }

    fn add_entry(&mut self, entry: &Entry, segment: &Segment) {
        let mut left = offset(entry.units);
        match &entry.what {
            What::Contents if !segment.is_settled(entry.unit) => {
                self.definitions += std::mem::take(&mut left);
            }
            What::Message { spilled: false, targets, facts } => {
                let share = left / targets.len().max(1) as u64;
                for (bit, (queue, _)) in (entry.unit..).zip(targets) {
                    if !segment.is_settled(bit) {
                        let queue = self.queues.entry(*queue).or_default();
                        queue.messages += 1;
                        queue.bodies += facts.body_len;
                        queue.disk += share;
                        left -= share;
                    }
                }
            }
            _ => {}
        }
        // Also the bytes that no share has.
        self.settled += left;
    }
}
