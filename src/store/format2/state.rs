//! What is kept of a group beside its chunks: settled sets and notes. And how many syncs there were.
//!
//! ```text
//! settled set   | 0 u8 | full words u32 | words u64 … |      or 1, when everything is settled
//! notes         | ordinal within the block u16 | is due u16 | acquired u32 | failed u32 | due u64 | …
//! watermark     | crc32 u32 | syncs u64 | twice, the higher one counts
//! ```
//!
//! The set has a bit for each target of the group, the lowest first, its first words left out when they are
//! full. A block of notes is for [`BLOCK`] ordinals. Numbers are little-endian, but in keys, and in the number
//! of the last sync.

use super::record::Fields;
use super::{GroupNumber, Note, StoreError};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use vhosts::Moment;

/// The value of a settled set of which nothing is left.
pub(super) const ALL_SETTLED: &[u8] = &[1];
/// More words than a group can have.
const WORDS_MAX: usize = 1 << 20;
/// Ordinals of a block of notes.
const BLOCK: u32 = 256;
const NOTE_LEN: usize = 20;

/// The key of a settled set, or what the keys of all blocks of notes of a group begin with.
pub(super) fn key(kind: u8, group: GroupNumber) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&group.to_be_bytes());
    key
}

/// A set of ordinals.
#[derive(Debug, Default)]
pub(super) struct Settled(Vec<u64>);

impl Settled {
    /// Nothing if the bytes are no set.
    pub(super) fn decode(bytes: &[u8]) -> Option<Settled> {
        let (full, rest) = bytes.strip_prefix(&[0])?.split_first_chunk()?;
        let full = u32::from_le_bytes(*full) as usize;
        let (words, odd) = rest.as_chunks();
        if !odd.is_empty() || full + words.len() > WORDS_MAX {
            return None;
        }
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        Some(Settled(std::iter::repeat_n(u64::MAX, full).chain(words).collect()))
    }

    /// Adds an ordinal, if a group can have it.
    pub(super) fn insert(&mut self, ordinal: u32) {
        let word = ordinal as usize / 64;
        if word < WORDS_MAX {
            self.0.resize(self.0.len().max(word + 1), 0);
            self.0[word] |= 1 << (ordinal % 64);
        }
    }

    pub(super) fn contains(&self, ordinal: u32) -> bool {
        self.0.get(ordinal as usize / 64).is_some_and(|word| word & (1 << (ordinal % 64)) != 0)
    }
}

/// Adds the notes of a block by their ordinals; nothing if it is none, and then none are added.
pub(super) fn notes(key: &[u8], block: &[u8], notes: &mut HashMap<u32, Note>) -> Option<()> {
    let number = u32::from_be_bytes(key.get(9..)?.try_into().ok()?);
    let first = number.checked_mul(BLOCK)?;
    let (entries, odd) = block.as_chunks::<NOTE_LEN>();
    let read: Option<Vec<_>> = entries.iter().map(|entry| note(first, Fields(entry))).collect();
    notes.extend(read.filter(|_| odd.is_empty())?);
    Some(())
}

fn note(first: u32, mut entry: Fields<'_>) -> Option<(u32, Note)> {
    let (place, is_due) = (u32::from(entry.u16()?), entry.u16()? != 0);
    let (acquired, failed, due) = (entry.u32()?, entry.u32()?, Moment(entry.u64()?));
    (place < BLOCK).then_some((first + place, Note { acquired, failed, due: is_due.then_some(due) }))
}

/// How many syncs succeeded, as the file beside the database says; 0 if it does not.
pub(super) fn promised_syncs(data_dir: &Path) -> Result<u64, StoreError> {
    let path = data_dir.join("watermark");
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(24).read_to_end(&mut bytes)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Io { doing: "read", path, source })
        }
        _ => Ok(bytes.as_chunks().0.iter().filter_map(promise).max().unwrap_or_default()),
    }
}

fn promise(slot: &[u8; 12]) -> Option<u64> {
    let (checksum, number) = slot.split_first_chunk()?;
    (crc32fast::hash(number) == u32::from_le_bytes(*checksum)).then(|| Fields(number).u64())?
}
