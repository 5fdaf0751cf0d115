//! The state, sorted by what it is.

use super::super::disk::{Disk, SegmentNumber};
use super::super::error::{StoreError, failed};
use super::super::keys::Key;
use super::super::notes::Notes;
use super::super::record::Salt;
use super::super::settled::Settled;
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) format: Option<u32>,
    pub(super) salt: Option<Salt>,
    pub(super) closed: bool,
    settled: HashMap<SegmentNumber, Settled>,
    notes: HashMap<SegmentNumber, Notes>,
    /// All keys that belong to a segment.
    keys: Vec<(SegmentNumber, Vec<u8>)>,
    /// Values that are malformed.
    pub(super) unreadable: u64,
}

impl State {
    pub(super) fn read(disk: &dyn Disk) -> Result<State, StoreError> {
        let mut state = State::default();
        let read = disk.read_state(&mut |key, value| {
            if state.add(key, value).is_none() {
                state.unreadable += 1;
            }
        });
        read.map_err(failed("read the state of the store"))?;
        Ok(state)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match Key::parse(key) {
            Key::Format => self.format = Some(u32::from_le_bytes(value.try_into().ok()?)),
            Key::Salt => self.salt = Some(Salt(u32::from_le_bytes(value.try_into().ok()?))),
            Key::Closed => self.closed = true,
            Key::Settled(segment, block) => {
                self.keys.push((segment, key.to_vec()));
                self.settled.entry(segment).or_default().recover(block, value)?;
            }
            Key::Notes(segment, block) => {
                self.keys.push((segment, key.to_vec()));
                self.notes.entry(segment).or_default().recover(block, value)?;
            }
            Key::Other => return None,
        }
        Some(())
    }

    /// The highest number of a segment that it knows of.
    pub(super) fn highest(&self) -> SegmentNumber {
        self.keys.iter().map(|(segment, _)| *segment).max().unwrap_or_default()
    }

    /// What it knows of a segment.
    pub(super) fn take(&mut self, segment: SegmentNumber) -> (Settled, Notes) {
        let settled = self.settled.remove(&segment).unwrap_or_default();
        (settled, self.notes.remove(&segment).unwrap_or_default())
    }

    /// The keys of segments that are not there.
    pub(super) fn stale_keys(self, is_there: impl Fn(SegmentNumber) -> bool) -> Vec<Vec<u8>> {
        let stale = self.keys.into_iter().filter(|(segment, _)| !is_there(*segment));
        stale.map(|(_, key)| key).collect()
    }
}
