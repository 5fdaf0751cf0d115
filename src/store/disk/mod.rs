//! What the store asks of the medium below it: segments of the log, which are files, and a small map of state.
//!
//! A write of the log and a write of the state are never under way at the same time, and each of these calls
//! is over when it returns. What a loss of power leaves: of a segment, everything up to its last
//! [`SegmentFile::sync`], and of what was written later any part, torn anywhere, in any order; of the
//! state, what the last [`Disk::write_state`] that returned had left, or all of the one that was under way.
//!
//! A call that fails may be tried again, and later ones may succeed: a full disk has room again one day.

mod ballast;
mod janitor;
pub mod memory;
mod newest;
mod real;
mod state;

pub(super) use real::RealDisk;
pub use real::segment_file_name;

use std::fmt;
use std::io;
use std::sync::Arc;

/// A growing number of a segment; it is never used again.
pub type SegmentNumber = u64;

/// A change of the state: a key, and its new value or nothing.
pub type Assignment = (Vec<u8>, Option<Vec<u8>>);

/// The medium of the store. One thread at a time uses it.
///
/// Every method may fail with the error of the medium.
pub trait Disk: Send {
    /// The segments that are there, in growing order.
    ///
    /// # Errors
    /// See [`Disk`].
    fn segments(&self) -> io::Result<Vec<SegmentNumber>>;

    /// Makes a segment of `bytes` zeros with that much room on the medium, so that writing into it does not
    /// fail for want of room. When this returns, the segment is there after a loss of power.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`], and then nothing of it is left; see [`Disk`].
    fn create(&mut self, number: SegmentNumber, bytes: u64) -> io::Result<Arc<dyn SegmentFile>>;

    /// Opens a segment that is there.
    ///
    /// # Errors
    /// See [`Disk`].
    fn open(&self, number: SegmentNumber) -> io::Result<Arc<dyn SegmentFile>>;

    /// Removes segments for good: when this returns, no loss of power brings them back. One that is open can
    /// be read until it is let go of. One that is not there is no error.
    ///
    /// # Errors
    /// See [`Disk`]; any of them may then be gone.
    fn remove(&mut self, numbers: &[SegmentNumber]) -> io::Result<()>;

    /// Shows the state in order of its keys.
    ///
    /// # Errors
    /// See [`Disk`].
    fn read_state(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()>;

    /// Makes all these changes of the state at once; when this returns, they are safe.
    ///
    /// # Errors
    /// See [`Disk`]; the state may then be the old one or the new one, and the same changes may be made again.
    fn write_state(&mut self, changes: &[Assignment]) -> io::Result<()>;

    /// A number that nobody can guess.
    fn random(&mut self) -> u32;

    /// Notes how far the log is synced. It need not be safe, only mostly right: see
    /// [`marked`](Self::marked).
    ///
    /// # Errors
    /// See [`Disk`].
    fn mark(&mut self, synced: Mark) -> io::Result<()>;

    /// The last mark that is there. The log was synced at least that far; if it ends before, a part is missing.
    fn marked(&self) -> Mark;

    /// What had to be put aside when the medium was opened, because it was damaged, in words for the log.
    fn put_aside(&self) -> Option<&str> {
        None
    }

    /// Bytes that the state takes on the medium.
    fn state_bytes(&self) -> u64 {
        0
    }
}

/// A place in the log up to which it is synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// In this segment,
    pub segment: SegmentNumber,
    /// up to this offset in bytes.
    pub end: u64,
}

/// A segment of the log. Several threads may read while one writes elsewhere in it.
#[allow(clippy::len_without_is_empty, reason = "nobody asks whether a segment is empty")]
pub trait SegmentFile: Send + Sync + fmt::Debug {
    /// Bytes of the file.
    ///
    /// # Errors
    /// See [`Disk`].
    fn len(&self) -> io::Result<u64>;

    /// Writes all of `bytes` at `offset`. Visible to readers when it returns; safe after the next sync.
    ///
    /// # Errors
    /// See [`Disk`]; any part may then be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads what is there from `offset` on, as much as `buffer` holds, and says how much that was: less only at
    /// the end of the file.
    ///
    /// # Errors
    /// See [`Disk`].
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Returns when all writes before it would survive a loss of power.
    ///
    /// # Errors
    /// See [`Disk`]; what was written since the last sync may then be lost, also if a later one succeeds.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file off there.
    ///
    /// # Errors
    /// See [`Disk`].
    fn truncate(&self, bytes: u64) -> io::Result<()>;
}
