//! A store at one moment, to be looked at: what is in it, what takes the space, and whether it is sound.

mod check;
mod usage;

pub use check::{Checked, Fault, MessageRange};
pub use usage::{QueueUsage, Usage};

use super::committer::Committer;
use super::disk::SegmentNumber;
use super::error::failed;
use super::segment::Segment;
use super::{Reader, Recovery, Snapshot, StoreError, recovery};
use std::io;
use std::path::Path;

/// A store at one moment. Nothing of it can be changed.
pub struct View {
    /// On a [`Snapshot`], which drops what is written.
    committer: Committer,
    recovery: Recovery,
    free_bytes: u64,
}

impl View {
    /// What is in a data directory that no broker has open.
    ///
    /// # Errors
    /// As [`Snapshot::of_directory`], and when a file cannot be read.
    pub fn of_directory(data_dir: &Path) -> Result<View, StoreError> {
        View::of(Snapshot::of_directory(data_dir)?)
    }

    /// What is in a snapshot. It reads what a start would read.
    ///
    /// # Errors
    /// When the disk refuses, or when the data is of another format.
    pub fn of(snapshot: Snapshot) -> Result<View, StoreError> {
        let free_bytes = snapshot.free_bytes;
        let (committer, recovery) = recovery::recover(Box::new(snapshot))?;
        Ok(View { committer, recovery, free_bytes })
    }

    /// What a start would find.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The same, without the rest.
    #[must_use]
    pub fn into_recovery(self) -> Recovery {
        self.recovery
    }

    /// Reads its messages.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.committer.reader()
    }

    /// Bytes of all segments.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn log_bytes(&self) -> Result<u64, StoreError> {
        let disk = self.committer.disk();
        let numbers = disk.segments().map_err(failed("list the segments of the log"))?;
        let len = |number| disk.open(number).and_then(|file| file.len());
        numbers.into_iter().map(len).sum::<io::Result<u64>>().map_err(failed("read a segment of the log"))
    }

    /// The segments that count, in growing order.
    fn segments(&self) -> Vec<(SegmentNumber, &Segment)> {
        let mut segments: Vec<_> = self.committer.segments().collect();
        segments.sort_unstable_by_key(|(number, _)| *number);
        segments
    }
}
