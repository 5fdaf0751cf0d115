//! The state of a simulated disk: what is seen of it, and what a loss of power may leave instead.

use super::super::Assignment;
use super::random::Random;
use std::collections::BTreeMap;
use std::mem;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    seen: Map,
    /// After a write that failed: what may be on the medium.
    other: Option<Map>,
}

impl State {
    pub(super) fn each(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.seen.iter().for_each(|(key, value)| each(key, value));
    }

    pub(super) fn bytes(&self) -> u64 {
        self.seen.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }

    pub(super) fn write(&mut self, changes: &[Assignment]) {
        apply(&mut self.seen, changes);
        self.other = None;
    }

    /// All of it was written or nothing, and either is seen.
    pub(super) fn write_failed(&mut self, changes: &[Assignment], random: &mut Random) {
        let mut new = self.seen.clone();
        apply(&mut new, changes);
        match random.up_to(3) {
            0 => {}
            1 => self.other = Some(new),
            2 => self.other = Some(mem::replace(&mut self.seen, new)),
            _ => *self = State { seen: new, other: None },
        }
    }

    pub(super) fn after_power_loss(&self, random: &mut Random) -> State {
        let other = self.other.as_ref().filter(|_| random.coin());
        State { seen: other.unwrap_or(&self.seen).clone(), other: None }
    }
}

fn apply(map: &mut Map, changes: &[Assignment]) {
    for (key, value) in changes {
        match value {
            Some(value) => _ = map.insert(key.clone(), value.clone()),
            None => _ = map.remove(key),
        }
    }
}

/// What it takes to write them down.
pub(super) fn bytes_of(changes: &[Assignment]) -> u64 {
    changes.iter().map(|(key, value)| (key.len() + value.as_ref().map_or(0, Vec::len)) as u64).sum()
}
