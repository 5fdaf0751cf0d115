//! The keys of the state: one letter for the kind, then what it belongs to.

use super::disk::SegmentNumber;

/// The format that this version writes.
pub(super) const FORMAT: u32 = 3;
/// Holds the format, a little-endian u32.
pub(super) const FORMAT_KEY: &[u8] = b"format";

/// Holds the salt of the log, a little-endian u32.
pub(super) const SALT_KEY: &[u8] = b"salt";
/// Is there as long as the store was closed in order.
pub(super) const CLOSED_KEY: &[u8] = b"closed";

const SETTLED: u8 = b's';
const NOTES: u8 = b'n';

/// Holds a block of the settled units of a segment.
pub(super) fn settled(segment: SegmentNumber, block: u32) -> Vec<u8> {
    numbered(SETTLED, segment, block)
}

/// Holds the notes of a block of units of a segment.
pub(super) fn notes(segment: SegmentNumber, block: u32) -> Vec<u8> {
    numbered(NOTES, segment, block)
}

fn numbered(kind: u8, segment: SegmentNumber, block: u32) -> Vec<u8> {
    [&[kind][..], &segment.to_be_bytes(), &block.to_be_bytes()].concat()
}

/// A key, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    Format,
    Salt,
    Closed,
    Settled(SegmentNumber, u32),
    Notes(SegmentNumber, u32),
    /// Of no kind that this format has.
    Other,
}

impl Key {
    pub(super) fn parse(key: &[u8]) -> Key {
        if key == FORMAT_KEY {
            return Key::Format;
        }
        if key == SALT_KEY {
            return Key::Salt;
        }
        if key == CLOSED_KEY {
            return Key::Closed;
        }
        let numbers = |rest: &[u8]| {
            let (segment, block) = rest.split_first_chunk()?;
            Some((u64::from_be_bytes(*segment), u32::from_be_bytes(block.try_into().ok()?)))
        };
        match key.split_first() {
            Some((&SETTLED, rest)) => {
                numbers(rest).map_or(Key::Other, |(segment, block)| Key::Settled(segment, block))
            }
            Some((&NOTES, rest)) => {
                numbers(rest).map_or(Key::Other, |(segment, block)| Key::Notes(segment, block))
            }
            _ => Key::Other,
        }
    }
}
