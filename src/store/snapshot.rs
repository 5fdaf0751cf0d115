//! What a store holds at one moment, as a disk that can only be read.
//!
//! The commit thread makes one between two commits, of a store that is at work; [`Disk`] of a data directory
//! makes one of a store that is not. A recovery reads it as it reads any other disk, and whatever is written
//! to it is dropped, so that looking at a store changes nothing.
//!
//! Of the segment that is being written, a snapshot has what was written up to its moment. One that is removed
//! later can be read for as long as the snapshot has it open.

use super::directory_lock::DirectoryLock;
use super::disk::{Assignment, Disk, Mark, SegmentFile, SegmentNumber};
use super::layout::{self, offset};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// A store at one moment, for export and inspection; the head of this file says how it is made.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(super) segments: BTreeMap<SegmentNumber, Part>,
    /// Keys and values.
    pub(super) state: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) state_bytes: u64,
    /// Files of segments that were removed.
    pub(super) free_bytes: u64,
    pub(super) mark: Mark,
    pub(super) put_aside: Option<String>,
    /// Nobody else has the directory meanwhile.
    pub(super) _lock: Option<DirectoryLock>,
}

/// A segment of a snapshot.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: Arc<dyn SegmentFile>,
    /// The unit behind the last record, where that is known.
    pub(super) end: Option<u32>,
}

impl Part {
    /// Bytes of it that belong to the snapshot: up to its end, or all if it was closed there.
    fn len(&self, number: SegmentNumber) -> io::Result<u64> {
        let Some(end) = self.end else { return self.file.len() };
        let index = layout::read_index(&*self.file, number)?;
        if index.is_some_and(|index| index.end() == end) { self.file.len() } else { Ok(offset(end)) }
    }
}

impl Disk for Snapshot {
    fn segments(&self) -> io::Result<Vec<SegmentNumber>> {
        Ok(self.segments.keys().copied().collect())
    }

    fn create(&mut self, _: SegmentNumber, _: u64) -> io::Result<Arc<dyn SegmentFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, number: SegmentNumber) -> io::Result<Arc<dyn SegmentFile>> {
        let part = self.segments.get(&number).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Unwritten { file: Arc::clone(&part.file), len: part.len(number)? }))
    }

    fn remove(&mut self, _: &[SegmentNumber]) -> io::Result<()> {
        Ok(())
    }

    fn read_state(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.state.iter().for_each(|(key, value)| each(key, value));
        Ok(())
    }

    fn write_state(&mut self, _: &[Assignment]) -> io::Result<()> {
        Ok(())
    }

    fn random(&mut self) -> u32 {
        0
    }

    fn mark(&mut self, _: Mark) -> io::Result<()> {
        Ok(())
    }

    fn marked(&self) -> Mark {
        self.mark
    }

    fn put_aside(&self) -> Option<&str> {
        self.put_aside.as_deref()
    }

    fn state_bytes(&self) -> u64 {
        self.state_bytes
    }
}

/// A segment that is only read, up to its length.
#[derive(Debug)]
struct Unwritten {
    file: Arc<dyn SegmentFile>,
    len: u64,
}

impl SegmentFile for Unwritten {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buffer.len().min(left);
        self.file.read_at(&mut buffer[..len], offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}
