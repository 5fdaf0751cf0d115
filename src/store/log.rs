//! What the committer asks of the medium below it: numbered groups of chunks, a small map of state, and a
//! sync that makes everything before it safe.
//!
//! Writes take effect in the order of the calls. After a crash the medium holds everything up to the last
//! [`Log::sync`], and of what followed a prefix of the calls, the last of them perhaps in part. The committer
//! relies on this order when it removes a group only after writing that the group is settled.

use super::StoreError;

/// A growing number of a group of chunks; a group is removed whole.
pub type GroupNumber = u64;

/// The medium of the store. One thread at a time uses it.
///
/// Every method may fail with the error of the medium. After a failed write nothing may be assumed of it but
/// what was synced before.
pub trait Log: Send {
    /// Writes a chunk. Groups are written one after the other and each from index 0 upwards; the first chunk
    /// makes the group.
    ///
    /// # Errors
    /// See [`Log`].
    fn write_chunk(&mut self, group: GroupNumber, index: u32, chunk: &[u8]) -> Result<(), StoreError>;

    /// Says that no chunk will be added to the group.
    ///
    /// # Errors
    /// See [`Log`].
    fn close_group(&mut self, group: GroupNumber) -> Result<(), StoreError>;

    /// Removes a group with all its chunks; a part of them may survive a crash.
    ///
    /// # Errors
    /// See [`Log`].
    fn drop_group(&mut self, group: GroupNumber) -> Result<(), StoreError>;

    /// Sets a value of the state.
    ///
    /// # Errors
    /// See [`Log`].
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes a value of the state, if it is there.
    ///
    /// # Errors
    /// See [`Log`].
    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError>;

    /// Returns when all writes before it would survive a loss of power.
    ///
    /// # Errors
    /// See [`Log`].
    fn sync(&mut self) -> Result<(), StoreError>;

    /// The groups, in growing order.
    ///
    /// # Errors
    /// See [`Log`].
    fn groups(&self) -> Result<Vec<GroupNumber>, StoreError>;

    /// Shows the chunks of a group in order of their index.
    ///
    /// # Errors
    /// See [`Log`].
    fn read_group(&self, group: GroupNumber, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreError>;

    /// Shows the state in order of its keys.
    ///
    /// # Errors
    /// See [`Log`].
    fn read_state(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError>;

    /// How many syncs that once succeeded are missing from what was found at open: the end of the medium was
    /// cut off.
    fn lost_syncs(&self) -> u64 {
        0
    }

    /// Plain numbers for metrics.
    fn figures(&self) -> LogFigures {
        LogFigures::default()
    }
}

/// Plain numbers of a [`Log`], since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogFigures {
    /// Bytes that it takes on disk.
    pub disk_bytes: u64,
    /// Syncs that succeeded.
    pub syncs: u64,
    /// How long the last of them took, in microseconds.
    pub last_sync_us: u64,
}
