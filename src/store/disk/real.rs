//! The disk of a broker: a data directory.
//!
//! ```text
//! lock                               one process at a time
//! segments/000000000000002a.segment  the log; the number is in hexadecimal
//! segments/000000000000002a.free     a segment that was removed, and will be another one or be deleted
//! state/                             see `state`
//! mark                               how far the log is synced
//! ballast                            room for a full disk
//! ```
//!
//! To delete a file costs tens of milliseconds on some file systems, so a segment that is removed only loses its
//! name; see [`janitor`].

use super::ballast::Ballast;
use super::janitor::Janitor;
use super::newest::Newest;
use super::state::State;
use super::{Assignment, Disk, Mark, SegmentFile, SegmentNumber};
use crate::store::StoreError;
use crate::store::directory_lock::DirectoryLock;
use crate::store::layout::SEGMENT_BYTES;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

const SUFFIX: &str = ".segment";
const FREE: &str = "free";
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A data directory that this process has for itself.
#[derive(Debug)]
pub struct RealDisk {
    segments: PathBuf,
    /// The directory of the segments, for syncing.
    directory: File,
    mark: Newest,
    state: State,
    ballast: Ballast,
    /// Segments that somebody may have open.
    opened: Mutex<HashMap<SegmentNumber, Weak<RealSegment>>>,
    janitor: Janitor,
    /// The last field: it is let go of when everything else is closed.
    _lock: DirectoryLock,
}

impl RealDisk {
    /// Opens the directory, or makes it. A state that is damaged is put aside, see [`Disk::put_aside`].
    ///
    /// # Errors
    /// When another process has it, and when the system refuses something.
    pub fn open(data_dir: &Path) -> Result<RealDisk, StoreError> {
        let segments = data_dir.join("segments");
        fs::create_dir_all(data_dir).map_err(failed("make", data_dir))?;
        let lock = DirectoryLock::take(data_dir)?;
        fs::create_dir_all(&segments).map_err(failed("make", &segments))?;
        let mark = data_dir.join("mark");
        let mark = Newest::open(&mark).map_err(failed("open", &mark))?;
        let ballast = Ballast::of(data_dir);
        let state = match State::open(data_dir) {
            Err(StoreError::Io { source, .. }) if is_full(&source) && ballast.drop() => {
                State::open(data_dir)?
            }
            opened => opened?,
        };
        ballast.load();
        let directory = File::open(&segments).map_err(failed("open", &segments))?;
        sync_directory(data_dir).map_err(failed("sync", data_dir))?;
        let (opened, janitor) =
            (Mutex::default(), Janitor::start().map_err(failed("look after", &segments))?);
        let disk = RealDisk { segments, directory, mark, state, ballast, opened, janitor, _lock: lock };
        disk.delete_left().map_err(failed("read", &disk.segments))?;
        Ok(disk)
    }

    /// Deletes what was removed before the last end.
    fn delete_left(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.segments)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == FREE) {
                self.janitor.delete(path);
            }
        }
        Ok(())
    }

    fn make(&mut self, path: &Path, bytes: u64) -> io::Result<File> {
        let spare = if bytes == SEGMENT_BYTES { self.janitor.take_spare() } else { None };
        let is_made = spare.is_some_and(|spare| fs::rename(spare, path).is_ok());
        let file = OpenOptions::new().read(true).write(true).create_new(!is_made).open(path)?;
        if !is_made {
            reserve(&file, bytes)?;
            file.sync_all()?;
        }
        self.directory.sync_all()?;
        Ok(file)
    }

    fn opened(&self, number: SegmentNumber, file: File) -> Arc<dyn SegmentFile> {
        let segment = Arc::new(RealSegment(file));
        lock(&self.opened).insert(number, Arc::downgrade(&segment));
        segment
    }

    fn path(&self, number: SegmentNumber) -> PathBuf {
        self.segments.join(segment_file_name(number))
    }
}

impl Disk for RealDisk {
    fn segments(&self) -> io::Result<Vec<SegmentNumber>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.segments)? {
            let found = entry?;
            match found.file_name().to_str().and_then(number) {
                Some(number) => numbers.push(number),
                None if found.path().extension().is_some_and(|extension| extension == FREE) => {}
                None => {
                    tracing::warn!(path = %found.path().display(), "this is no segment and is left alone")
                }
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn create(&mut self, number: SegmentNumber, bytes: u64) -> io::Result<Arc<dyn SegmentFile>> {
        let path = self.path(number);
        if path.try_exists()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match self.make(&path, bytes) {
            Ok(file) => {
                self.ballast.load();
                Ok(self.opened(number, file))
            }
            Err(refused) => {
                // Whether this succeeds changes nothing: what refused the file is to be told.
                let _ = fs::remove_file(&path).and_then(|()| self.directory.sync_all());
                self.janitor.give_up_spares();
                Err(refused)
            }
        }
    }

    fn open(&self, number: SegmentNumber) -> io::Result<Arc<dyn SegmentFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(number))?;
        Ok(self.opened(number, file))
    }

    fn remove(&mut self, numbers: &[SegmentNumber]) -> io::Result<()> {
        for number in numbers {
            let path = self.path(*number).with_extension(FREE);
            match fs::rename(self.path(*number), &path) {
                Ok(()) => {
                    let users = lock(&self.opened).remove(number).unwrap_or_default();
                    self.janitor.retire(path, users);
                }
                Err(refused) if refused.kind() == io::ErrorKind::NotFound => {}
                Err(refused) => return Err(refused),
            }
        }
        // Also when none was there: they may be gone since a call that could not sync.
        self.directory.sync_all()
    }

    fn read_state(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.state.read(each)
    }

    fn write_state(&mut self, changes: &[Assignment]) -> io::Result<()> {
        let written = self.state.write(changes);
        match &written {
            Ok(()) => {}
            Err(refused) if is_full(refused) => {
                self.janitor.give_up_spares();
                // The next try has more room.
                self.ballast.drop();
            }
            Err(_) => {}
        }
        written
    }

    fn random(&mut self) -> u32 {
        rand::random()
    }

    fn mark(&mut self, synced: Mark) -> io::Result<()> {
        self.mark.write([synced.segment, synced.end])
    }

    fn marked(&self) -> Mark {
        let [segment, end] = self.mark.value();
        Mark { segment, end }
    }

    fn put_aside(&self) -> Option<&str> {
        self.state.put_aside()
    }

    fn state_bytes(&self) -> u64 {
        self.state.bytes()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(super) struct RealSegment(File);

impl SegmentFile for RealSegment {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(refused) if refused.kind() == io::ErrorKind::Interrupted => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }
}

/// The name of the file of a segment.
#[must_use]
pub fn segment_file_name(number: SegmentNumber) -> String {
    format!("{number:016x}{SUFFIX}")
}

fn number(file_name: &str) -> Option<SegmentNumber> {
    let number = SegmentNumber::from_str_radix(file_name.strip_suffix(SUFFIX)?, 16).ok()?;
    (segment_file_name(number) == file_name).then_some(number)
}

fn is_full(refused: &io::Error) -> bool {
    refused.kind() == io::ErrorKind::StorageFull
}

/// Makes an empty file that long, with all its room.
pub(super) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return write_zeros(file, bytes),
            Err(refused) => return Err(refused.into()),
        }
    }
}

/// The same where the file system does not know how.
fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let mut offset = 0;
    while offset < bytes {
        let portion = &ZEROS[..ZEROS.len().min((bytes - offset) as usize)];
        file.write_all_at(portion, offset)?;
        offset += portion.len() as u64;
    }
    Ok(())
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { doing, path: path.into(), source }
}

mod offline;
#[cfg(test)]
mod tests;
