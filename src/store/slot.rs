//! Where the store put a message, kept in the message itself: no map from messages to places is needed.
//!
//! Only the committer reads and writes the slot, so the order of memory accesses is of no interest; the
//! mutex of the inbox orders them when another thread steps the committer later.

use super::log::GroupNumber;
use std::sync::atomic::Ordering::Relaxed;
use vhosts::Message;

/// Bits of an ordinal; the bits above it are the group.
const ORDINAL_BITS: u32 = 26;
const TAG_BITS: u32 = 3;
/// Bits of a part of an operation; the bits above it are the operation.
const PART_BITS: u32 = 29;
/// A group is closed long before it has this many targets.
pub(super) const ORDINALS_MAX: u32 = 1 << ORDINAL_BITS;

/// What the committer knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Nothing yet.
    Unknown,
    /// It was settled somewhere before its append was seen; the set of early settlements says where.
    Early,
    /// Its append is this operation of the batch being committed, or this part of it if it is a transaction.
    Pending { op: usize, part: usize },
    /// It is in the log, its first target at this ordinal of the group; `shared` if it has several targets.
    Written { group: GroupNumber, first: u32, shared: bool },
    /// It was settled everywhere before it had to be written.
    Never,
}

impl Slot {
    pub(super) fn load(message: &Message) -> Slot {
        let number = message.store_slot().load(Relaxed);
        let value = number >> TAG_BITS;
        match number & ((1 << TAG_BITS) - 1) {
            0 => Slot::Unknown,
            1 => Slot::Early,
            2 => Slot::Pending {
                op: (value >> PART_BITS) as usize,
                part: value as usize & ((1 << PART_BITS) - 1),
            },
            3 => Slot::Never,
            tag => Slot::Written {
                group: value >> ORDINAL_BITS,
                first: value as u32 & (ORDINALS_MAX - 1),
                shared: tag == 5,
            },
        }
    }

    pub(super) fn store(self, message: &Message) {
        let (tag, value) = match self {
            Slot::Unknown => (0, 0),
            Slot::Early => (1, 0),
            Slot::Pending { op, part } => (2, (op as u64) << PART_BITS | part as u64),
            Slot::Never => (3, 0),
            Slot::Written { group, first, shared } => {
                (4 + u64::from(shared), group << ORDINAL_BITS | u64::from(first))
            }
        };
        message.store_slot().store(value << TAG_BITS | tag, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_comes_back() {
        let message = Message::new("", b"", &[0, 0], b"").unwrap();
        assert_eq!(Slot::load(&message), Slot::Unknown);
        for slot in [
            Slot::Early,
            Slot::Pending { op: 77, part: 0 },
            Slot::Pending { op: (1 << 32) - 1, part: (1 << PART_BITS) - 1 },
            Slot::Never,
            Slot::Written { group: 1, first: 0, shared: false },
            Slot::Written { group: (1 << 35) - 1, first: ORDINALS_MAX - 1, shared: true },
            Slot::Unknown,
        ] {
            slot.store(&message);
            assert_eq!(Slot::load(&message), slot);
        }
    }
}
