//! The keys of the state: one letter for the kind, then what it belongs to.

use super::log::GroupNumber;
use vhosts::QueueId;

/// The format that this version writes, and the only one that it reads.
pub(super) const FORMAT: u32 = 2;
/// Holds the format, a little-endian u32.
pub(super) const FORMAT_KEY: &[u8] = b"format";

const DEFINITION: u8 = b'd';
const CEILING: u8 = b'q';
const SETTLED: u8 = b's';
const NOTES: u8 = b'n';

pub(super) fn definition(key: &[u8]) -> Vec<u8> {
    [&[DEFINITION], key].concat()
}

/// Holds the sequence number at which a queue goes on, a little-endian u64.
pub(super) fn ceiling(queue: QueueId) -> [u8; 9] {
    numbered(CEILING, queue.0)
}

/// Holds which targets of a group are settled.
pub(super) fn settled(group: GroupNumber) -> [u8; 9] {
    numbered(SETTLED, group)
}

/// Holds the notes of a block of the targets of a group.
pub(super) fn notes(group: GroupNumber, block: u32) -> [u8; 13] {
    let mut key = [0; 13];
    key[..9].copy_from_slice(&numbered(NOTES, group));
    key[9..].copy_from_slice(&block.to_be_bytes());
    key
}

fn numbered(kind: u8, number: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// A key, taken apart.
pub(super) enum Key<'a> {
    Format,
    Definition(&'a [u8]),
    Ceiling(QueueId),
    Settled(GroupNumber),
    Notes(GroupNumber, u32),
    /// Of no kind that this format has.
    Other,
}

impl Key<'_> {
    pub(super) fn parse(key: &[u8]) -> Key<'_> {
        if key == FORMAT_KEY {
            return Key::Format;
        }
        match key.split_first() {
            Some((&DEFINITION, key)) => Key::Definition(key),
            Some((&CEILING, id)) => number(id).map_or(Key::Other, |id| Key::Ceiling(QueueId(id))),
            Some((&SETTLED, group)) => number(group).map_or(Key::Other, Key::Settled),
            Some((&NOTES, numbers)) => {
                block(numbers).map_or(Key::Other, |(group, block)| Key::Notes(group, block))
            }
            _ => Key::Other,
        }
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn block(bytes: &[u8]) -> Option<(GroupNumber, u32)> {
    let (group, block) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*group), u32::from_be_bytes(block.try_into().ok()?)))
}
