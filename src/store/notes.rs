//! Notes about the targets of a segment: how often a message was delivered in one queue, and until when it
//! waits there.
//!
//! Few messages have one, but a million may wait for a retry at the same time. So a note is kept as the
//! 20 bytes that are written, in blocks of [`BLOCK`] bits, and only the blocks that changed are written:
//!
//! ```text
//! | bit within the block u16 | is due u16 | acquired u32 | failed u32 | due u64 |
//! ```
//!
//! A note goes with its target when that is settled. On disk it may stay in its block until the block is
//! written again; a recovery passes it by, as it does its target.
//!
//! Invariant: the entries of a block are in growing order of their bits, and none of them is settled.

use std::collections::BTreeMap;
use vhosts::Moment;

/// Units of a block: few, so that a note among many costs few bytes when it changes.
const BLOCK: u32 = 256;
const ENTRY_LEN: usize = 20;

/// What is remembered of a message in one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// How often it was handed to a consumer.
    pub acquired: u32,
    /// How often that failed.
    pub failed: u32,
    /// Until when it waits for a delayed retry, if it does.
    pub due: Option<Moment>,
}

type Entry = [u8; ENTRY_LEN];

#[derive(Debug, Default)]
struct Block {
    entries: Vec<Entry>,
    /// It must be written.
    changed: bool,
    /// A value of it is in the log.
    kept: bool,
}

/// The notes of a segment.
#[derive(Debug, Default)]
pub(super) struct Notes(BTreeMap<u32, Block>);

impl Notes {
    /// Takes a block as it was written; nothing if it is something else, and then it is removed later.
    pub(super) fn recover(&mut self, number: u32, value: &[u8]) -> Option<()> {
        let block = self.0.entry(number).or_default();
        (block.kept, block.changed) = (true, true);
        let (entries, odd) = value.as_chunks();
        let is_sorted = entries.is_sorted_by(|before, after| place(before) < place(after));
        let is_within = entries.last().is_none_or(|last| u32::from(place(last)) < BLOCK);
        if entries.is_empty() || !odd.is_empty() || !is_sorted || !is_within || number >= u32::MAX / BLOCK {
            return None;
        }
        block.entries = entries.to_vec();
        block.changed = false;
        Some(())
    }

    /// Remembers a note in the place of an older one.
    pub(super) fn set(&mut self, bit: u32, note: Note) {
        let block = self.0.entry(bit / BLOCK).or_default();
        let entry = encode(bit, note);
        match block.find(bit) {
            Ok(at) => block.entries[at] = entry,
            Err(at) => block.entries.insert(at, entry),
        }
        block.changed = true;
    }

    /// The note of a target; one of zeros if it has none.
    pub(super) fn note(&self, bit: u32) -> Note {
        let found = self.0.get(&(bit / BLOCK));
        let entry = found.and_then(|block| Some(&block.entries[block.find(bit).ok()?]));
        entry.map(decode).unwrap_or_default()
    }

    /// Forgets a note, if there is one.
    pub(super) fn remove(&mut self, bit: u32) {
        let Some(block) = self.0.get_mut(&(bit / BLOCK)) else { return };
        if let Ok(at) = block.find(bit) {
            block.entries.remove(at);
            block.give_back();
        }
    }

    /// Forgets all notes but those that `keep` is true for.
    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        for (number, block) in &mut self.0 {
            let before = block.entries.len();
            block.entries.retain(|entry| keep(number * BLOCK + u32::from(place(entry))));
            if block.entries.len() != before {
                block.give_back();
            }
        }
    }

    /// Shows the blocks that must be written, and those that must be removed.
    pub(super) fn changes(&self, mut show: impl FnMut(u32, Option<&[u8]>)) {
        for (number, block) in self.0.iter().filter(|(_, block)| block.changed) {
            let value = (!block.entries.is_empty()).then(|| block.entries.as_flattened());
            if value.is_some() || block.kept {
                show(*number, value);
            }
        }
    }

    /// Shows all blocks in which there is a note, as they are written.
    pub(super) fn all(&self, mut show: impl FnMut(u32, &[u8])) {
        for (number, block) in self.0.iter().filter(|(_, block)| !block.entries.is_empty()) {
            show(*number, block.entries.as_flattened());
        }
    }

    /// What changed was written.
    pub(super) fn saved(&mut self) {
        for block in self.0.values_mut().filter(|block| block.changed) {
            (block.kept, block.changed) = (!block.entries.is_empty(), false);
        }
        self.0.retain(|_, block| block.kept);
    }

    /// The blocks that are in the log.
    pub(super) fn kept(&self) -> impl Iterator<Item = u32> {
        self.0.iter().filter(|(_, block)| block.kept).map(|(number, _)| *number)
    }

    /// How many notes there are.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(|block| block.entries.len()).sum()
    }
}

impl Block {
    /// Where the bit is, or where it belongs.
    fn find(&self, bit: u32) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&bit.rem_euclid(BLOCK), |entry| place(entry).into())
    }

    /// Behind a removal: memory follows what is left, and nothing left is worth a write.
    fn give_back(&mut self) {
        self.changed |= self.entries.is_empty();
        if self.entries.len() <= self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }
}

fn place(entry: &Entry) -> u16 {
    u16::from_le_bytes([entry[0], entry[1]])
}

fn encode(bit: u32, note: Note) -> Entry {
    let mut entry = [0; ENTRY_LEN];
    entry[..2].copy_from_slice(&((bit % BLOCK) as u16).to_le_bytes());
    entry[2] = note.due.is_some().into();
    entry[4..8].copy_from_slice(&note.acquired.to_le_bytes());
    entry[8..12].copy_from_slice(&note.failed.to_le_bytes());
    entry[12..].copy_from_slice(&note.due.unwrap_or_default().0.to_le_bytes());
    entry
}

fn decode(entry: &Entry) -> Note {
    let (words, _) = entry.as_chunks::<4>();
    let [_, acquired, failed, low, high] = [0, 1, 2, 3, 4].map(|at| u32::from_le_bytes(words[at]));
    let due = Moment(u64::from(high) << 32 | u64::from(low));
    Note { acquired, failed, due: (entry[2] != 0).then_some(due) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note() -> impl Strategy<Value = Note> {
        let due = prop_oneof![Just(None), any::<u64>().prop_map(|ms| Some(Moment(ms)))];
        (any::<u32>(), any::<u32>(), due).prop_map(|(acquired, failed, due)| Note { acquired, failed, due })
    }

    #[derive(Clone, Debug)]
    enum Act {
        Set(u32, Note),
        Remove(u32),
        RetainOdd,
        Write,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let bit = || prop_oneof![0_u32..40, 250_u32..260, 1_000_u32..3_000];
        let act = prop_oneof![
            8 => (bit(), note()).prop_map(|(bit, note)| Act::Set(bit, note)),
            4 => bit().prop_map(Act::Remove),
            1 => Just(Act::RetainOdd),
            2 => Just(Act::Write),
        ];
        prop::collection::vec(act, 0..200)
    }

    fn write(notes: &mut Notes, disk: &mut BTreeMap<u32, Vec<u8>>) {
        notes.changes(|number, value| match value {
            Some(value) => _ = disk.insert(number, value.to_vec()),
            None => assert!(disk.remove(&number).is_some(), "nothing to remove"),
        });
        notes.saved();
    }

    proptest! {
        #[test]
        fn equals_a_naive_map(acts in acts()) {
            let (mut notes, mut naive, mut disk) = (Notes::default(), BTreeMap::new(), BTreeMap::new());
            for act in acts {
                match act {
                    Act::Set(bit, note) => {
                        notes.set(bit, note);
                        naive.insert(bit, note);
                    }
                    Act::Remove(bit) => {
                        notes.remove(bit);
                        naive.remove(&bit);
                    }
                    Act::RetainOdd => {
                        notes.retain(|bit| bit % 2 == 1);
                        naive.retain(|bit, _| bit % 2 == 1);
                    }
                    Act::Write => write(&mut notes, &mut disk),
                }
                prop_assert_eq!(notes.len(), naive.len());
                prop_assert!(notes.kept().eq(disk.keys().copied()));
            }
            write(&mut notes, &mut disk);
            let mut recovered = Notes::default();
            disk.iter().for_each(|(number, value)| recovered.recover(*number, value).unwrap());
            recovered.retain(|bit| naive.contains_key(&bit));
            for notes in [notes, recovered] {
                prop_assert_eq!(notes.len(), naive.len());
                prop_assert!(naive.iter().all(|(bit, note)| notes.note(*bit) == *note));
                prop_assert_eq!(notes.note(5_000), Note::default());
            }
        }

        #[test]
        fn any_bytes_are_notes_or_are_removed(number: u32, bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            let mut notes = Notes::default();
            let read = notes.recover(number, &bytes);
            prop_assert_eq!(notes.len() > 0, read.is_some());
            notes.retain(|_| false);
            notes.changes(|_, value| assert!(value.is_none()));
            notes.saved();
            prop_assert_eq!(notes.kept().count(), 0);
        }
    }

    #[test]
    fn a_million_notes_are_small() {
        let mut notes = Notes::default();
        (0..1 << 18).for_each(|bit| notes.set(bit, Note { acquired: 1, ..Note::default() }));
        let bytes: usize = notes.0.values().map(|block| block.entries.capacity() * ENTRY_LEN).sum();
        let blocks = notes.0.len() * size_of::<(u32, Block)>();
        assert!((bytes + blocks) >> 18 <= 24, "{bytes} and {blocks} bytes");
        (0..1 << 18).filter(|bit| bit % BLOCK != 0).for_each(|bit| notes.remove(bit));
        let left: usize = notes.0.values().map(|block| block.entries.capacity()).sum();
        assert!(left < 16 * notes.len(), "room for {left} is kept for {}", notes.len());
    }
}
