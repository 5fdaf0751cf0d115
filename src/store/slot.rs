//! Where the store put a message, kept in the message itself: no map from messages to places is needed.
//!
//! The committer writes the slot. Queues read it to put a place in the stead of a message; what they find
//! counts only once the log was written that far, which orders the memory accesses ([`Shelf`]).
//!
//! [`Shelf`]: super::shelf::Shelf

use std::sync::atomic::Ordering::Relaxed;
use vhosts::{Message, Place};

const TAG_BITS: u32 = 3;
const UNITS_BITS: u32 = 8;
pub(super) const UNIT_BITS: u32 = 24;
/// Records begin below this unit: an atomic group may be larger than a segment otherwise is, and has less than
/// 256 MiB.
pub(super) const UNIT_MAX: u32 = 1 << UNIT_BITS;

/// What the committer knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Nothing yet.
    Unknown,
    /// It was settled somewhere before its append was seen; the set of early settlements says where.
    Early,
    /// Its append waits to be written as this operation, and as this part of it if it is a transaction. Whether it
    /// came with several targets.
    Pending { op: usize, part: usize, shared: bool },
    /// It is in the log.
    Written(Place),
    /// It was settled everywhere before it had to be written.
    Never,
}

/// Bits of a part of an operation; above it are a bit that says whether it is shared, and the operation.
const PART_BITS: u32 = 28;

impl Slot {
    pub(super) fn load(message: &Message) -> Slot {
        let number = message.store_slot().load(Relaxed);
        let value = number >> TAG_BITS;
        match number & ((1 << TAG_BITS) - 1) {
            0 => Slot::Unknown,
            1 => Slot::Early,
            2 => Slot::Pending {
                op: (value >> (PART_BITS + 1)) as usize,
                part: value as usize & ((1 << PART_BITS) - 1),
                shared: value >> PART_BITS & 1 == 1,
            },
            3 => Slot::Never,
            tag => Slot::Written(Place {
                segment: value >> (UNIT_BITS + UNITS_BITS),
                unit: (value >> UNITS_BITS) as u32 & (UNIT_MAX - 1),
                units: value as u8,
                shared: tag == 5,
            }),
        }
    }

    pub(super) fn store(self, message: &Message) {
        let (tag, value) = match self {
            Slot::Unknown => (0, 0),
            Slot::Early => (1, 0),
            Slot::Pending { op, part, shared } => {
                (2, ((op as u64) << 1 | u64::from(shared)) << PART_BITS | part as u64)
            }
            Slot::Never => (3, 0),
            Slot::Written(Place { segment, unit, units, shared }) => {
                let place = segment << UNIT_BITS | u64::from(unit);
                (4 + u64::from(shared), place << UNITS_BITS | u64::from(units))
            }
        };
        message.store_slot().store(value << TAG_BITS | tag, Relaxed);
    }
}

/// The place of a record; its size is kept when it is small.
pub(super) fn place(segment: u64, unit: u32, units: u32, shared: bool) -> Place {
    Place { segment, unit, units: u8::try_from(units).unwrap_or_default(), shared }
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
            Slot::Pending { op: 77, part: 0, shared: true },
            Slot::Pending { op: (1 << 32) - 1, part: (1 << PART_BITS) - 1, shared: false },
            Slot::Never,
            Slot::Written(place(1, 2, 3, false)),
            Slot::Written(place((1 << 29) - 1, UNIT_MAX - 1, 255, true)),
            Slot::Unknown,
        ] {
            slot.store(&message);
            assert_eq!(Slot::load(&message), slot);
        }
        assert_eq!(place(1, 2, 256, false).units, 0);
    }
}
