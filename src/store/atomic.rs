//! Records of which a crash leaves all or none: those of a transaction, and those that take the place of a sparse
//! segment. An atomic record comes first and says how many units the others fill behind it. When one of them
//! is missing, none is read.
//!
//! ```text
//! | units u32 | replaces u64 | settled: segment u64, unit u32, bit u32 … |
//! ```
//!
//! What a transaction settles is named by the places in the log, because these messages were written before it.
//! The settled sets of their segments say the same some 100 ms later; until then this record does.

use super::disk::SegmentNumber;
use super::record::Targets;
use vhosts::{Message, QueueId, Seq};

/// The most targets that the messages of a transaction have together.
pub const TRANSACTION_TARGETS_MAX: usize = 1 << 19;

/// Appends and settlements that take effect together.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// As in [`Op::Append`](super::Op::Append); synced whatever queues they go to.
    pub appends: Vec<(Message, Targets)>,
    /// As in [`Op::Settle`](super::Op::Settle).
    pub settles: Vec<(QueueId, Seq, Message)>,
}

/// A target in the log that is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settles {
    pub(super) segment: SegmentNumber,
    /// Where its record begins,
    pub(super) unit: u32,
    /// and which bit it has.
    pub(super) bit: u32,
}

/// What an atomic record says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// Units of the records behind it.
    pub(super) units: u32,
    /// The segment whose live records they are.
    pub(super) replaces: Option<SegmentNumber>,
    pub(super) settles: Vec<Settles>,
}

const SETTLES_LEN: usize = 16;
/// No segment has this number.
const NONE: SegmentNumber = 0;

impl Group {
    /// Bytes of its contents.
    pub(super) fn len(settles: usize) -> usize {
        12 + settles * SETTLES_LEN
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.units.to_le_bytes());
        out.extend_from_slice(&self.replaces.unwrap_or(NONE).to_le_bytes());
        for settled in &self.settles {
            out.extend_from_slice(&settled.segment.to_le_bytes());
            out.extend_from_slice(&settled.unit.to_le_bytes());
            out.extend_from_slice(&settled.bit.to_le_bytes());
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Group> {
        let (units, rest) = bytes.split_first_chunk()?;
        let (replaces, rest) = rest.split_first_chunk()?;
        let (settles, odd) = rest.as_chunks::<SETTLES_LEN>();
        let replaces = u64::from_le_bytes(*replaces);
        odd.is_empty().then(|| Group {
            units: u32::from_le_bytes(*units),
            replaces: (replaces != NONE).then_some(replaces),
            settles: settles.iter().map(settled).collect(),
        })
    }
}

fn settled(bytes: &[u8; SETTLES_LEN]) -> Settles {
    let (words, _) = bytes.as_chunks::<4>();
    let [low, high, unit, bit] = [0, 1, 2, 3].map(|at| u32::from_le_bytes(words[at]));
    Settles { segment: u64::from(high) << 32 | u64::from(low), unit, bit }
}
