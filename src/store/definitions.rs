//! Where in the log the newest change of each definition is. A record of definitions is live as long as one of
//! its changes is needed.
//!
//! A record is a list of changes: the key, and its value or nothing. Replaying all records that are there in their
//! order gives the definitions, whatever the state says of them. So a removal is needed too, until no older
//! change of its key is there in another segment: what is in one goes together.

use super::disk::{Assignment, SegmentNumber};
use std::collections::BTreeMap;
use std::sync::Arc;
use vhosts::varint;

/// A record of definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) segment: SegmentNumber,
    pub(super) unit: u32,
    pub(super) units: u32,
}

/// Where a record begins.
type At = (SegmentNumber, u32);

#[derive(Debug, Default)]
pub(super) struct Definitions {
    keys: BTreeMap<Arc<[u8]>, Changes>,
    /// All that are there, also those that are settled.
    records: BTreeMap<At, Record>,
}

/// The changes of a key.
#[derive(Debug)]
struct Changes {
    newest: At,
    /// The newest is no removal.
    has_value: bool,
    older: Vec<At>,
}

impl Changes {
    fn is_needed(&self) -> bool {
        self.has_value || self.older.iter().any(|(segment, _)| *segment != self.newest.0)
    }
}

#[derive(Debug)]
struct Record {
    keys: Vec<Arc<[u8]>>,
    units: u32,
    /// How many of its changes are needed.
    live: u32,
}

impl Definitions {
    /// A record with these changes was written. Shows the records that are settled by that.
    pub(super) fn written(&mut self, home: Home, changes: &[Assignment], settled: &mut Vec<Home>) {
        let at = (home.segment, home.unit);
        // The last change of a key counts.
        let last: BTreeMap<&[u8], bool> =
            changes.iter().map(|(key, value)| (&key[..], value.is_some())).collect();
        self.records.insert(at, Record { keys: Vec::with_capacity(last.len()), units: home.units, live: 1 });
        for (key, has_value) in last {
            let key = self.change(key, at, has_value, settled);
            if let Some(record) = self.records.get_mut(&at) {
                record.keys.extend(key);
            }
        }
        self.release(at, settled);
    }

    /// A key has a newer change; returns the key if that is needed.
    fn change(&mut self, key: &[u8], at: At, has_value: bool, settled: &mut Vec<Home>) -> Option<Arc<[u8]>> {
        let key = match self.keys.get_key_value(key) {
            Some((key, _)) => Arc::clone(key),
            None if has_value => Arc::from(key),
            None => return None,
        };
        let older = self.keys.remove(&key).map_or_else(Vec::new, |mut changes| {
            self.release(changes.newest, settled);
            changes.older.push(changes.newest);
            changes.older
        });
        let changes = Changes { newest: at, has_value, older };
        if !changes.is_needed() {
            return None;
        }
        self.keys.insert(Arc::clone(&key), changes);
        if let Some(record) = self.records.get_mut(&at) {
            record.live += 1;
        }
        Some(key)
    }

    /// A segment is gone. Shows the records elsewhere that are settled by that.
    pub(super) fn removed(&mut self, segment: SegmentNumber, settled: &mut Vec<Home>) {
        let mut left = self.records.split_off(&(segment, 0));
        let mut behind = left.split_off(&(segment + 1, 0));
        self.records.append(&mut behind);
        for (at, key) in left.iter().flat_map(|(at, record)| record.keys.iter().map(move |key| (at, key))) {
            let Some(changes) = self.keys.get_mut(key) else { continue };
            changes.older.retain(|older| older != at);
            let newest = changes.newest;
            if newest == *at || !changes.is_needed() {
                self.keys.remove(key);
                self.release(newest, settled);
            }
        }
    }

    /// One of the changes of a record is not needed any more.
    fn release(&mut self, at: At, settled: &mut Vec<Home>) {
        let Some(record) = self.records.get_mut(&at) else { return };
        record.live = record.live.saturating_sub(1);
        if record.live == 0 {
            settled.push(Home { segment: at.0, unit: at.1, units: record.units });
        }
    }

    /// Whether the change of the key in that record is the newest, and is needed.
    pub(super) fn is_newest(&self, key: &[u8], segment: SegmentNumber, unit: u32) -> bool {
        self.keys.get(key).is_some_and(|changes| changes.newest == (segment, unit))
    }
}

/// Bytes of changes at most: each has two lengths, of ten octets at most.
pub(super) fn len(changes: &[Assignment]) -> u64 {
    let len = |(key, value): &Assignment| 20 + key.len() + value.as_ref().map_or(0, Vec::len);
    changes.iter().map(len).sum::<usize>() as u64
}

pub(super) fn encode(changes: &[Assignment], out: &mut Vec<u8>) {
    for (key, value) in changes {
        varint::push(out, key.len() as u64);
        out.extend_from_slice(key);
        varint::push(out, value.as_ref().map_or(0, |value| 1 + value.len() as u64));
        out.extend_from_slice(value.as_deref().unwrap_or_default());
    }
}

/// The changes of a record; nothing if they are malformed.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<Assignment>> {
    let mut changes = Vec::new();
    while !bytes.is_empty() {
        let len = usize::try_from(varint::take(&mut bytes)?).ok()?;
        let (key, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        let value = match varint::take(&mut bytes)? {
            0 => None,
            len => {
                let (value, rest) = bytes.split_at_checked(usize::try_from(len - 1).ok()?)?;
                bytes = rest;
                Some(value.to_vec())
            }
        };
        changes.push((key.to_vec(), value));
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn replay<'a>(records: impl Iterator<Item = &'a Vec<Assignment>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut values = BTreeMap::new();
        for (key, value) in records.flatten() {
            match value {
                Some(value) => _ = values.insert(key.clone(), value.clone()),
                None => _ = values.remove(key),
            }
        }
        values
    }

    proptest! {
        #[test]
        fn what_is_left_says_the_same(
            records in prop::collection::vec(prop::collection::vec((0..4_u8, any::<Option<u8>>()), 0..4), 1..40),
            removals in prop::collection::vec(any::<prop::sample::Index>(), 40),
        ) {
            let (mut definitions, mut all, mut there) = (Definitions::default(), Vec::new(), BTreeMap::new());
            let mut live = BTreeSet::new();
            for (segment, (changes, which)) in (1..).zip(records.into_iter().zip(removals)) {
                let changes: Vec<Assignment> =
                    changes.into_iter().map(|(key, value)| (vec![key], value.map(|value| vec![value]))).collect();
                let mut settled = Vec::new();
                live.insert(segment);
                there.insert(segment, changes.clone());
                definitions.written(Home { segment, unit: 2, units: 1 }, &changes, &mut settled);
                all.push(changes);
                settled.iter().for_each(|home| settle(&mut live, home.segment));
                // One of those that are settled is removed.
                let finished: Vec<u64> = there.keys().copied().filter(|segment| !live.contains(segment)).collect();
                if !finished.is_empty() && which.index(3) > 0 {
                    let gone = finished[which.index(finished.len())];
                    there.remove(&gone);
                    let mut settled = Vec::new();
                    definitions.removed(gone, &mut settled);
                    settled.iter().for_each(|home| settle(&mut live, home.segment));
                }
                prop_assert_eq!(replay(there.values()), replay(all.iter()));
            }
            // In the end only values are left.
            while let Some(gone) = there.keys().copied().find(|segment| !live.contains(segment)) {
                there.remove(&gone);
                let mut settled = Vec::new();
                definitions.removed(gone, &mut settled);
                settled.iter().for_each(|home| settle(&mut live, home.segment));
            }
            let values = replay(all.iter());
            prop_assert_eq!(replay(there.values()), values.clone());
            prop_assert_eq!(values.is_empty(), there.is_empty());
        }
    }

    fn settle(live: &mut BTreeSet<u64>, segment: u64) {
        assert!(live.remove(&segment), "{segment} was settled twice");
    }
}
