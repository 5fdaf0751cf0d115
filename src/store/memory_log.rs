//! A log in memory that behaves like a disk: a crash leaves what was synced, and as much of the rest as the
//! test says. For tests and the simulation; a broker without a data directory uses [`NoLog`](super::no_log::NoLog).

use super::StoreError;
use super::log::{GroupNumber, Log};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The disk below a [`MemoryLog`]; a clone is the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Platters>>);

#[derive(Debug, Default)]
struct Platters {
    synced: Image,
    /// What was written, the unsynced edits included.
    written: Image,
    unsynced: Vec<Edit>,
}

#[derive(Clone, Debug, Default)]
struct Image {
    state: BTreeMap<Vec<u8>, Bytes>,
    groups: BTreeMap<GroupNumber, BTreeMap<u32, Bytes>>,
}

#[derive(Clone, Debug)]
enum Edit {
    Put(Vec<u8>, Bytes),
    Remove(Vec<u8>),
    Chunk(GroupNumber, u32, Bytes),
    DropGroup(GroupNumber),
}

impl Image {
    fn apply(&mut self, edit: Edit) {
        match edit {
            Edit::Put(key, value) => _ = self.state.insert(key, value),
            Edit::Remove(key) => _ = self.state.remove(&key),
            Edit::Chunk(group, index, chunk) => {
                _ = self.groups.entry(group).or_default().insert(index, chunk)
            }
            Edit::DropGroup(group) => _ = self.groups.remove(&group),
        }
    }
}

impl Disk {
    /// A log on what the disk holds. The one before it must not be used any more.
    #[must_use]
    pub fn log(&self) -> MemoryLog {
        MemoryLog(self.clone())
    }

    /// Writes that were not synced.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.platters().unsynced.len()
    }

    /// How many groups there are.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.platters().written.groups.len()
    }

    /// Loses the power: of the writes that were not synced, the first `kept` survive. With `torn` the next one
    /// survives in part: half of a chunk, or of a group that was being dropped.
    pub fn crash(&self, kept: usize, torn: bool) {
        let mut platters = self.platters();
        let mut lost = std::mem::take(&mut platters.unsynced);
        let rest = lost.split_off(kept.min(lost.len()));
        lost.into_iter().for_each(|edit| platters.synced.apply(edit));
        if let Some(edit) = rest.into_iter().next().filter(|_| torn) {
            platters.synced.tear(edit);
        }
        platters.written = platters.synced.clone();
    }

    /// Flips one bit of a chunk, counted over all groups; false if there are not that many.
    pub fn flip_bit(&self, chunk: usize, bit: usize) -> bool {
        let mut platters = self.platters();
        let Some(found) = platters.written.groups.values_mut().flat_map(BTreeMap::values_mut).nth(chunk)
        else {
            return false;
        };
        let mut bytes = found.to_vec();
        let at = bit / 8 % bytes.len();
        bytes[at] ^= 1 << (bit % 8);
        *found = bytes.into();
        platters.synced = platters.written.clone();
        true
    }

    fn platters(&self) -> MutexGuard<'_, Platters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn edit(&self, edit: Edit) {
        let mut platters = self.platters();
        platters.written.apply(edit.clone());
        platters.unsynced.push(edit);
    }
}

impl Image {
    fn tear(&mut self, edit: Edit) {
        match edit {
            Edit::Chunk(group, index, chunk) => {
                self.apply(Edit::Chunk(group, index, chunk.slice(..chunk.len() / 2)));
            }
            Edit::DropGroup(group) => {
                let Some(chunks) = self.groups.get_mut(&group) else { return };
                let kept = chunks.len() as u32 / 2;
                chunks.retain(|index, _| *index < kept);
            }
            Edit::Put(..) | Edit::Remove(..) => {}
        }
    }
}

/// A log on a [`Disk`].
#[derive(Debug)]
pub struct MemoryLog(Disk);

impl Log for MemoryLog {
    fn write_chunk(&mut self, group: GroupNumber, index: u32, chunk: &[u8]) -> Result<(), StoreError> {
        self.0.edit(Edit::Chunk(group, index, Bytes::copy_from_slice(chunk)));
        Ok(())
    }

    fn close_group(&mut self, _: GroupNumber) -> Result<(), StoreError> {
        Ok(())
    }

    fn drop_group(&mut self, group: GroupNumber) -> Result<(), StoreError> {
        self.0.edit(Edit::DropGroup(group));
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.0.edit(Edit::Put(key.to_vec(), Bytes::copy_from_slice(value)));
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.0.edit(Edit::Remove(key.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let mut platters = self.0.platters();
        let edits = std::mem::take(&mut platters.unsynced);
        edits.into_iter().for_each(|edit| platters.synced.apply(edit));
        Ok(())
    }

    fn groups(&self) -> Result<Vec<GroupNumber>, StoreError> {
        Ok(self.0.platters().written.groups.keys().copied().collect())
    }

    fn read_group(&self, group: GroupNumber, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let chunks = self.0.platters().written.groups.get(&group).cloned().unwrap_or_default();
        chunks.values().for_each(|chunk| each(chunk));
        Ok(())
    }

    fn read_state(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let state = self.0.platters().written.state.clone();
        state.iter().for_each(|(key, value)| each(key, value));
        Ok(())
    }
}
