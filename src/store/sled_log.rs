//! The log in a sled database.
//!
//! - State is in the default tree. The number of the last sync is in a tree of its own, so that writing it
//!   rewrites nothing else.
//! - A group is one tree, dropped whole; a group larger than [`GROUP_MAX`], which a single record made, is
//!   several. Values of a tree lie together in pages, so a page stays below a quarter of a segment: beyond
//!   that sled puts it into a file under `blobs/` that it never syncs.
//! - `flush` only hands the data to the operating system, on Linux without waiting for the disk. [`sync`]
//!   therefore syncs the file itself after it.
//! - The page cache evicts after so many accesses, not bytes. A tree of few large values is touched often
//!   enough to be evicted, when it is closed and after it was read.
//!
//! [`sync`]: Log::sync

use super::StoreError;
use super::chunk::GROUP_MAX;
use super::directory_lock::DirectoryLock;
use super::log::{GroupNumber, Log, LogFigures};
use super::watermark::Watermark;
use sled::{Db, Mode, Tree};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

const SEGMENT_SIZE: usize = 8 * 1024 * 1024;
const CACHE_CAPACITY: u64 = 64 * 1024 * 1024;
/// Accesses after which a shard of the page cache evicts, and some more.
const EVICTING_TOUCHES: u32 = 70;
const _: () = assert!(GROUP_MAX < SEGMENT_SIZE as u64 / 4);

const MARKS: &[u8] = b"marks";
const LAST_SYNC: &[u8] = b"sync";

/// A database directory and its watermark.
pub(super) struct SledLog {
    db: Db,
    marks: Tree,
    /// The file in which sled keeps everything, for syncing.
    file: File,
    dir: PathBuf,
    /// How many trees each group has.
    groups: BTreeMap<GroupNumber, u32>,
    open: Option<OpenTree>,
    watermark: Watermark,
    syncs: u64,
    lost_syncs: u64,
    blobs_reported: bool,
    figures: LogFigures,
    /// The last field: it is let go of when the database is closed.
    _lock: DirectoryLock,
}

/// The tree that chunks are added to.
struct OpenTree {
    group: GroupNumber,
    tree: Tree,
    bytes: u64,
    indexes: std::ops::Range<u32>,
}

impl SledLog {
    /// Opens or makes the database in `data_dir`. Panics as sled does when its files are damaged.
    pub(super) fn open(data_dir: &Path) -> Result<SledLog, StoreError> {
        let dir = data_dir.join("sled");
        fs::create_dir_all(&dir).map_err(|source| StoreError::Io {
            doing: "make",
            path: dir.clone(),
            source,
        })?;
        let lock = DirectoryLock::take(data_dir)?;
        lock.wait_for(&dir.join("db"));
        let db = sled::Config::new()
            .path(&dir)
            .mode(Mode::HighThroughput)
            .segment_size(SEGMENT_SIZE)
            .cache_capacity(CACHE_CAPACITY)
            .flush_every_ms(None)
            .open()
            .map_err(|source| opening(&dir, source))?;
        let marks = db.open_tree(MARKS).map_err(|source| opening(&dir, source))?;
        let file = open_file(&dir.join("db"))?;
        sync_directories(data_dir, &dir)?;
        let path = data_dir.join("watermark");
        let opened = Watermark::open(&path);
        let (watermark, promised) =
            opened.map_err(|source| StoreError::Io { doing: "open", path, source })?;
        let last = marks.get(LAST_SYNC).map_err(|source| opening(&dir, source))?;
        let found = last.and_then(|value| value.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
        let groups = group_trees(&db);
        Ok(SledLog {
            db,
            marks,
            file,
            dir,
            groups,
            open: None,
            watermark,
            syncs: found.max(promised),
            lost_syncs: promised.saturating_sub(found),
            blobs_reported: false,
            figures: LogFigures::default(),
            _lock: lock,
        })
    }

    /// The tree for a chunk of `len` bytes: the open one, or the next if that is full.
    fn tree_for(&mut self, group: GroupNumber, index: u32, len: u64) -> Result<&mut OpenTree, sled::Error> {
        let fits = |open: &OpenTree| open.group == group && open.bytes + len <= GROUP_MAX;
        let open = match self.open.take() {
            Some(open) if fits(&open) => open,
            full => {
                full.map_or(Ok(()), |full| touch(&full.tree, full.indexes))?;
                let parts = self.groups.entry(group).or_default();
                let tree = self.db.open_tree(tree_name(group, *parts))?;
                *parts += 1;
                OpenTree { group, tree, bytes: 0, indexes: index..index }
            }
        };
        Ok(self.open.insert(open))
    }

    /// Nothing may be in blob files: they are not synced.
    fn check_blobs(&mut self) {
        if self.blobs_reported {
            return;
        }
        let found = fs::read_dir(self.dir.join("blobs")).is_ok_and(|mut files| files.next().is_some());
        if found {
            self.blobs_reported = true;
            tracing::error!(dir = %self.dir.display(), "sled spilled a page into blobs/, which no sync covers");
        }
    }
}

impl Log for SledLog {
    fn write_chunk(&mut self, group: GroupNumber, index: u32, chunk: &[u8]) -> Result<(), StoreError> {
        let failed = failed("write a chunk of messages");
        let open = self.tree_for(group, index, chunk.len() as u64).map_err(failed)?;
        open.tree.insert(index.to_be_bytes(), chunk).map_err(failed)?;
        open.bytes += chunk.len() as u64;
        open.indexes.end = index + 1;
        Ok(())
    }

    fn close_group(&mut self, _: GroupNumber) -> Result<(), StoreError> {
        self.check_blobs();
        let Some(open) = self.open.take() else { return Ok(()) };
        touch(&open.tree, open.indexes).map_err(failed("close a group of messages"))
    }

    fn drop_group(&mut self, group: GroupNumber) -> Result<(), StoreError> {
        let parts = self.groups.remove(&group).unwrap_or_default();
        // From the last one, so that a crash leaves whole records.
        for part in (0..parts).rev() {
            self.db.drop_tree(tree_name(group, part)).map_err(failed("drop a group of messages"))?;
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.db.insert(key, value).map(drop).map_err(failed("write state"))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.db.remove(key).map(drop).map_err(failed("remove state"))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let begun = Instant::now();
        let number = self.syncs + 1;
        self.marks.insert(LAST_SYNC, &number.to_be_bytes()).map_err(failed("count a sync"))?;
        self.db.flush().map_err(failed("flush the database"))?;
        let io = |doing, name| {
            let path = self.dir.join(name);
            move |source| StoreError::Io { doing, path, source }
        };
        self.file.sync_data().map_err(io("sync", "db"))?;
        self.watermark.write(number).map_err(io("write", "../watermark"))?;
        self.figures.disk_bytes = self.file.metadata().map_err(io("look at", "db"))?.len();
        self.figures.last_sync_us = begun.elapsed().as_micros() as u64;
        self.figures.syncs += 1;
        self.syncs = number;
        Ok(())
    }

    fn groups(&self) -> Result<Vec<GroupNumber>, StoreError> {
        Ok(self.groups.keys().copied().collect())
    }

    fn read_group(&self, group: GroupNumber, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let failed = failed("read a group of messages");
        for part in 0..self.groups.get(&group).copied().unwrap_or_default() {
            let tree = self.db.open_tree(tree_name(group, part)).map_err(failed)?;
            let mut indexes: Option<std::ops::Range<u32>> = None;
            for entry in &tree {
                let (key, chunk) = entry.map_err(failed)?;
                each(&chunk);
                let index = key.as_ref().try_into().map_or(0, u32::from_be_bytes);
                indexes.get_or_insert(index..index).end = index.saturating_add(1);
            }
            touch(&tree, indexes.unwrap_or_default()).map_err(failed)?;
        }
        Ok(())
    }

    fn read_state(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        for entry in &*self.db {
            let (key, value) = entry.map_err(failed("read state"))?;
            each(&key, &value);
        }
        Ok(())
    }

    fn lost_syncs(&self) -> u64 {
        self.lost_syncs
    }

    fn figures(&self) -> LogFigures {
        self.figures
    }
}

fn failed(doing: &'static str) -> impl Fn(sled::Error) -> StoreError + Copy {
    move |source| StoreError::Database { doing, source }
}

fn opening(dir: &Path, source: sled::Error) -> StoreError {
    match source {
        sled::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
            StoreError::Io { doing: "open the database in", path: dir.into(), source }
        }
        damage => StoreError::Damaged { dir: dir.into(), detail: damage.to_string() },
    }
}

fn open_file(path: &Path) -> Result<File, StoreError> {
    File::open(path).map_err(|source| StoreError::Io { doing: "open", path: path.into(), source })
}

/// A file that was made is only there after a loss of power if its directory was synced.
fn sync_directories(data_dir: &Path, dir: &Path) -> Result<(), StoreError> {
    for path in [&dir.join("conf"), dir, data_dir] {
        open_file(path)?.sync_all().map_err(|source| StoreError::Io {
            doing: "sync",
            path: path.into(),
            source,
        })?;
    }
    Ok(())
}

const GROUP_PREFIX: u8 = b'g';

fn tree_name(group: GroupNumber, part: u32) -> [u8; 13] {
    let mut name = [GROUP_PREFIX; 13];
    name[1..9].copy_from_slice(&group.to_be_bytes());
    name[9..].copy_from_slice(&part.to_be_bytes());
    name
}

fn group_trees(db: &Db) -> BTreeMap<GroupNumber, u32> {
    let mut groups = BTreeMap::new();
    for name in db.tree_names() {
        let Ok([GROUP_PREFIX, number @ ..]) = <[u8; 13]>::try_from(name.as_ref()) else { continue };
        let (Some(group), Some(part)) = (number.first_chunk(), number.last_chunk()) else { continue };
        let parts: &mut u32 = groups.entry(u64::from_be_bytes(*group)).or_default();
        *parts = (*parts).max(u32::from_be_bytes(*part).saturating_add(1));
    }
    groups
}

/// Touches the pages of a tree until the cache lets go of them.
fn touch(tree: &Tree, indexes: std::ops::Range<u32>) -> Result<(), sled::Error> {
    for index in indexes.cycle().take(EVICTING_TOUCHES as usize) {
        tree.contains_key(index.to_be_bytes())?;
    }
    Ok(())
}
