//! A data directory that no broker has open, looked at and left as it is.
//!
//! The database of the state cannot be opened without being written to, so a copy of it is read. It is small
//! beside the log.

use super::super::{Mark, SegmentFile, SegmentNumber};
use super::{FREE, Newest, RealSegment, State, failed, number};
use crate::store::directory_lock::DirectoryLock;
use crate::store::snapshot::{Part, Snapshot};
use crate::store::{StoreError, keys};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Snapshot {
    /// Everything in a data directory; nobody else has it for as long as this lives. Nothing is written but the
    /// file of the lock.
    ///
    /// # Errors
    /// When there is nothing, when another process has it or it is of an older format, and when the system refuses
    /// something.
    pub fn of_directory(data_dir: &Path) -> Result<Snapshot, StoreError> {
        let segments = data_dir.join("segments");
        if data_dir.join("sled").is_dir() {
            return Err(StoreError::Older { dir: data_dir.into(), supported: keys::FORMAT });
        }
        if !segments.is_dir() {
            return Err(StoreError::Missing { dir: data_dir.into() });
        }
        let lock = DirectoryLock::take(data_dir)?;
        let path = data_dir.join("mark");
        let mark = read_mark(&path).map_err(failed("read", &path))?;
        let copy = StateCopy::of(data_dir).map_err(failed("copy the state in", data_dir))?;
        let state = State::open(&copy.0)?;
        let mut entries = Vec::new();
        let read = state.read(&mut |key, value| entries.push((key.to_vec(), value.to_vec())));
        read.map_err(failed("read the state in", data_dir))?;
        let damaged = state.put_aside().map(|_| {
            "the state cannot be read: no message is lost, but messages that were acknowledged may be delivered \
             again"
                .to_owned()
        });
        let (segments, free_bytes) = open_all(&segments).map_err(failed("open a segment in", &segments))?;
        Ok(Snapshot {
            segments,
            free_bytes,
            state: entries,
            state_bytes: copy.1,
            mark,
            put_aside: damaged,
            _lock: Some(lock),
        })
    }
}

fn read_mark(path: &Path) -> io::Result<Mark> {
    if !path.try_exists()? {
        return Ok(Mark::default());
    }
    let [segment, end] = Newest::open(path)?.value();
    Ok(Mark { segment, end })
}

/// The segments, and the bytes of those that were removed.
fn open_all(dir: &Path) -> io::Result<(BTreeMap<SegmentNumber, Part>, u64)> {
    let (mut parts, mut free) = (BTreeMap::new(), 0);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(number) {
            let file: Arc<dyn SegmentFile> = Arc::new(RealSegment(File::open(entry.path())?));
            parts.insert(number, Part { file, end: None });
        } else if entry.path().extension().is_some_and(|extension| extension == FREE) {
            free += entry.metadata()?.len();
        }
    }
    Ok((parts, free))
}

/// A directory with a copy of the state, and how many bytes that has; it is removed in the end.
struct StateCopy(PathBuf, u64);

impl StateCopy {
    fn of(data_dir: &Path) -> io::Result<StateCopy> {
        let name = format!("haremq-state-{}-{:x}", std::process::id(), rand::random::<u64>());
        let mut copy = StateCopy(std::env::temp_dir().join(name), 0);
        let (from, to) = (data_dir.join("state"), copy.0.join("state"));
        make_private(&copy.0)?;
        fs::create_dir(&to)?;
        if !from.is_dir() {
            return Ok(copy);
        }
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                copy.1 += fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        Ok(copy)
    }
}

impl Drop for StateCopy {
    fn drop(&mut self) {
        // What is left in a directory of temporary files does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(dir)
}
