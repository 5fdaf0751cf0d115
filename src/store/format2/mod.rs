//! Reads data that was written in format 2, so that it can be taken over.
//!
//! ```text
//! sled, default tree   format, definitions d…, settled sets s‹group›, notes n‹group›‹block›
//! sled, trees g…       the chunks of a group of messages; a group that is too large has several trees
//! sled, tree marks     the number of the last sync
//! watermark            the same, beside the database: if it is higher, the end of the database is missing
//! ```
//!
//! What is settled is known only when all groups were read, because a transaction settles messages of other
//! groups. So they are read twice: for the transactions, then for the messages. One chunk or one record is in
//! memory at a time, a bit for each message, and what sled keeps: a group in each of its 256 caches at most.
//!
//! It changes nothing that can be read; only sled tidies its files, as always when it opens them. Ceilings of
//! sequence numbers are not read, so a number that is higher than all of a queue may have been given before.

mod chunk;
mod record;
mod state;

#[cfg(test)]
mod tests;

use super::{Note, StoreError};
use chunk::GroupReader;
use record::Contents;
use sled::{Db, IVec, Mode};
use state::Settled;
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use vhosts::{Message, QueueId, Seq};

const FORMAT: u32 = 2;
const SEGMENT_SIZE: usize = 8 * 1024 * 1024;
const CACHE_CAPACITY: u64 = 64 * 1024 * 1024;
/// The page cache evicts after so many accesses, whatever the size of the pages.
const EVICTING_TOUCHES: usize = 70;

type GroupNumber = u64;

/// Keys and values.
type Definitions = Vec<(Vec<u8>, Vec<u8>)>;

/// A message, with its queues, its numbers there and what was noted of it.
type EachMessage<'a> = &'a mut dyn FnMut(Message, Vec<(QueueId, Seq, Note)>) -> Result<(), StoreError>;

/// The first ordinal of a record and what is in it.
type EachRecord<'a> = &'a mut dyn FnMut(u32, Contents) -> Result<(), StoreError>;

/// A key and its value.
type EachEntry<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>;

/// An open database of format 2.
pub(super) struct Format2 {
    db: Db,
    dir: PathBuf,
    /// The names of the trees of each group, in the order of its chunks.
    groups: BTreeMap<GroupNumber, Vec<IVec>>,
    lost_syncs: u64,
}

/// What could not be read. An unfinished record at the end is normal after a crash and was never reported as
/// safe; everything else is a fault of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Torn {
    /// Syncs that had succeeded, and whose data is not there any more.
    pub(super) lost_syncs: u64,
    /// Chunks that are damaged, or missing though a later one is there.
    pub(super) lost_chunks: u64,
    /// Records that are malformed, or that begin and do not end.
    pub(super) lost_records: u64,
    /// Settled sets and blocks of notes; messages of their groups may be delivered again.
    pub(super) lost_states: u64,
}

impl fmt::Display for Torn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.lost_syncs, "synced writes are missing at the end of the log"),
            (self.lost_chunks, "chunks are damaged or missing"),
            (self.lost_records, "records are malformed or unfinished"),
            (self.lost_states, "settlement states are unreadable"),
        ];
        let found = parts.iter().filter(|(count, _)| *count > 0);
        found.enumerate().try_for_each(|(at, (count, what))| {
            write!(out, "{}{count} {what}", if at == 0 { "" } else { ", " })
        })
    }
}

/// Opens the database in the data directory `data_dir`; nothing if there is none. No other process may use the
/// directory.
///
/// # Errors
/// [`StoreError::OtherFormat`], [`StoreError::Damaged`] when sled cannot make sense of its files, and
/// [`StoreError::Io`].
pub(super) fn open(data_dir: &Path) -> Result<Option<Format2>, StoreError> {
    let dir = data_dir.join("sled");
    let is_there = dir.try_exists();
    if !is_there.map_err(|source| StoreError::Io { doing: "look for", path: dir.clone(), source })? {
        return Ok(None);
    }
    let config = sled::Config::new()
        .path(&dir)
        .mode(Mode::HighThroughput)
        .segment_size(SEGMENT_SIZE)
        .cache_capacity(CACHE_CAPACITY)
        .flush_every_ms(None);
    let db = guarded(&dir, || config.open())?;
    // A database that was never synced may lack the number, and then it is empty.
    let format = guarded(&dir, || db.get(b"format"))?;
    match format.and_then(|value| value.as_ref().try_into().ok()).map_or(FORMAT, u32::from_le_bytes) {
        FORMAT => {}
        found => return Err(StoreError::OtherFormat { found, supported: FORMAT }),
    }
    let last_sync = guarded(&dir, || db.open_tree(b"marks")?.get(b"sync"))?;
    let syncs = last_sync.and_then(|value| value.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
    let lost_syncs = state::promised_syncs(data_dir)?.saturating_sub(syncs);
    let groups = guarded(&dir, || Ok(group_trees(&db)))?;
    Ok(Some(Format2 { db, dir, groups, lost_syncs }))
}

impl Format2 {
    /// The keys and values of all definitions, in order of their keys.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and [`StoreError::Io`].
    pub(super) fn definitions(&self) -> Result<Definitions, StoreError> {
        let mut definitions = Vec::new();
        self.entries(self.db.scan_prefix(b"d"), &mut |key, value| {
            definitions.push((key[1..].to_vec(), value.to_vec()));
            Ok(())
        })?;
        Ok(definitions)
    }

    /// Shows all messages that are not settled everywhere, in the order in which they were written, each with
    /// the targets where it is not. What is lost is left out and counted.
    ///
    /// # Errors
    /// Those of `each`, [`StoreError::Damaged`] and [`StoreError::Io`].
    pub(super) fn messages(&self, each: EachMessage<'_>) -> Result<Torn, StoreError> {
        let mut torn = Torn { lost_syncs: self.lost_syncs, ..Torn::default() };
        for (number, settled) in self.settled(&mut torn)? {
            let notes = self.notes(number, &mut torn)?;
            self.group(number, &mut torn, &mut |first, contents| {
                let mut ordinals = first..;
                for (message, targets) in contents.messages {
                    // In this order: where the targets end, no ordinal must be taken.
                    let places = targets.into_iter().zip(ordinals.by_ref());
                    let live = places.filter(|(_, at)| !settled.contains(*at));
                    let note = |at| notes.get(&at).copied().unwrap_or_default();
                    let live: Vec<_> = live.map(|((queue, seq), at)| (queue, seq, note(at))).collect();
                    if !live.is_empty() {
                        each(message, live)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(torn)
    }

    /// What is settled in each group, by itself and by transactions, but for groups in which everything is.
    fn settled(&self, torn: &mut Torn) -> Result<BTreeMap<GroupNumber, Settled>, StoreError> {
        let mut sets = BTreeMap::new();
        for number in self.groups.keys() {
            let value = guarded(&self.dir, || self.db.get(state::key(b's', *number)))?;
            if value.as_deref() != Some(state::ALL_SETTLED) {
                let set = value.map_or_else(|| Some(Settled::default()), |value| Settled::decode(&value));
                torn.lost_states += u64::from(set.is_none());
                sets.insert(*number, set.unwrap_or_default());
            }
        }
        for number in sets.keys().copied().collect::<Vec<_>>() {
            self.group(number, &mut Torn::default(), &mut |_, contents| {
                for (group, ordinal) in contents.settles {
                    sets.entry(group).and_modify(|set| set.insert(ordinal));
                }
                Ok(())
            })?;
        }
        Ok(sets)
    }

    fn notes(&self, number: GroupNumber, torn: &mut Torn) -> Result<HashMap<u32, Note>, StoreError> {
        let mut notes = HashMap::new();
        self.entries(self.db.scan_prefix(state::key(b'n', number)), &mut |key, value| {
            torn.lost_states += u64::from(state::notes(key, value, &mut notes).is_none());
            Ok(())
        })?;
        Ok(notes)
    }

    /// Shows the records of a group.
    fn group(&self, number: GroupNumber, torn: &mut Torn, each: EachRecord<'_>) -> Result<(), StoreError> {
        let mut reader = GroupReader::new(number, torn);
        for name in self.groups.get(&number).into_iter().flatten() {
            let tree = guarded(&self.dir, || self.db.open_tree(name))?;
            let mut keys = Vec::new();
            self.entries(tree.iter(), &mut |key, chunk| {
                keys.push(IVec::from(key));
                reader.chunk(chunk, each)
            })?;
            let mut touches = keys.iter().cycle().take(EVICTING_TOUCHES);
            guarded(&self.dir, || touches.try_for_each(|key| tree.contains_key(key).map(drop)))?;
        }
        reader.finish();
        Ok(())
    }

    fn entries(&self, mut entries: sled::Iter, each: EachEntry<'_>) -> Result<(), StoreError> {
        while let Some((key, value)) = guarded(&self.dir, || entries.next().transpose())? {
            each(&key, &value)?;
        }
        Ok(())
    }
}

/// The names sort as the groups do, and within a group as its chunks.
fn group_trees(db: &Db) -> BTreeMap<GroupNumber, Vec<IVec>> {
    let mut names = db.tree_names();
    names.sort();
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for name in names {
        if let Ok([b'g', number @ ..]) = <[u8; 13]>::try_from(name.as_ref())
            && let Some(group) = number.first_chunk()
        {
            groups.entry(u64::from_be_bytes(*group)).or_default().push(name);
        }
    }
    groups
}

/// Does something with the database; sled panics where its files are damaged.
fn guarded<T>(dir: &Path, read: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let damaged = |detail| StoreError::Damaged { dir: dir.into(), detail };
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Err(sled::Error::Io(source))) if source.kind() != io::ErrorKind::InvalidData => {
            Err(StoreError::Io { doing: "read the database in", path: dir.into(), source })
        }
        Ok(outcome) => outcome.map_err(|error| damaged(error.to_string())),
        Err(panic) => Err(damaged(panic_text(panic.as_ref()))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".into())
}
