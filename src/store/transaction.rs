//! Several messages and settlements of which a crash leaves all or nothing, and how they lie on disk: as one
//! record, because a record of which a part is missing is not read.
//!
//! ```text
//! | targets u32 | kind u8 | settled u32 | bytes of messages u64 | … |
//! |                       the head                              |
//!
//! | … | records of messages … | what it settles: group u64, ordinal u32 … |
//! ```
//!
//! What it settles is named by the places in the log, because these messages were written before it. The
//! settled sets of their groups say the same some 100 ms later; until then this record does.

use super::log::GroupNumber;
use super::record::{self, Contents, MessageHead, TARGET_LEN, TRANSACTION, Targets};
use vhosts::{Message, MessageBuilder, QueueId, Seq};

/// The most targets that the messages of a transaction have together. More are stored too, but the settled
/// set of their group may grow to a size that no sync covers.
pub const TRANSACTION_TARGETS_MAX: usize = 1 << 19;

/// Appends and settlements that take effect together.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// As in [`Op::Append`](super::Op::Append).
    pub appends: Vec<(Message, Targets)>,
    /// As in [`Op::Settle`](super::Op::Settle).
    pub settles: Vec<(QueueId, Seq, Message)>,
}

/// A target in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) group: GroupNumber,
    pub(super) ordinal: u32,
}

const HEAD_LEN: usize = 17;
const PLACE_LEN: usize = 12;

/// Bytes of a record.
pub(super) fn len(appends: &[(Message, Targets)], settles: &[Place]) -> u64 {
    (HEAD_LEN + settles.len() * PLACE_LEN) as u64 + messages_len(appends)
}

fn messages_len(appends: &[(Message, Targets)]) -> u64 {
    appends.iter().map(|(message, targets)| record::len(message, targets)).sum()
}

/// How many targets the messages have together.
pub(super) fn targets(appends: &[(Message, Targets)]) -> usize {
    appends.iter().map(|(_, targets)| targets.len()).sum()
}

/// Hands the bytes of a record to `put`, piece by piece.
pub(super) fn encode<E>(
    appends: &[(Message, Targets)],
    settles: &[Place],
    mut put: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut head = [0; HEAD_LEN];
    head[..4].copy_from_slice(&(targets(appends) as u32).to_le_bytes());
    head[4] = TRANSACTION;
    head[5..9].copy_from_slice(&(settles.len() as u32).to_le_bytes());
    head[9..].copy_from_slice(&messages_len(appends).to_le_bytes());
    put(&head)?;
    for (message, targets) in appends {
        record::encode(message, targets, &mut put)?;
    }
    for place in settles {
        let mut bytes = [0; PLACE_LEN];
        bytes[..8].copy_from_slice(&place.group.to_le_bytes());
        bytes[8..].copy_from_slice(&place.ordinal.to_le_bytes());
        put(&bytes)?;
    }
    Ok(())
}

/// The beginning of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) targets: u32,
    settles: u32,
    messages_len: u64,
}

impl Head {
    /// The head at the beginning of `bytes`; nothing if there are too few.
    pub(super) fn parse(bytes: &[u8]) -> Option<Head> {
        let (targets, rest) = bytes.split_first_chunk()?;
        let (settles, rest) = rest.get(1..)?.split_first_chunk()?;
        let (messages_len, _) = rest.split_first_chunk()?;
        let messages_len = u64::from_le_bytes(*messages_len);
        // More do not fit, and no malformed record may take more ordinals than it has bytes for.
        let targets_max = u32::try_from(messages_len / TARGET_LEN as u64).unwrap_or(u32::MAX);
        Some(Head {
            targets: u32::from_le_bytes(*targets).min(targets_max),
            settles: u32::from_le_bytes(*settles),
            messages_len,
        })
    }

    /// Bytes of the whole record; saturates for a length that no record has.
    pub(super) fn record_len(&self) -> u64 {
        (HEAD_LEN as u64 + u64::from(self.settles) * PLACE_LEN as u64).saturating_add(self.messages_len)
    }

    /// What is in a whole record; nothing if anything in it is malformed.
    pub(super) fn decode(&self, record: &[u8], builder: &mut MessageBuilder) -> Option<Contents> {
        let body = record.get(HEAD_LEN..)?;
        let (mut messages, places) = body.split_at_checked(usize::try_from(self.messages_len).ok()?)?;
        let mut contents = Contents::default();
        while !messages.is_empty() {
            let head = MessageHead::parse(messages)?;
            let (message, rest) = messages.split_at_checked(usize::try_from(head.record_len()).ok()?)?;
            contents.messages.push(head.decode(message, builder)?);
            messages = rest;
        }
        contents.settles = places.as_chunks().0.iter().map(place).collect();
        (targets(&contents.messages) == self.targets as usize).then_some(contents)
    }
}

fn place(bytes: &[u8; PLACE_LEN]) -> Place {
    let (words, _) = bytes.as_chunks::<4>();
    let [low, high, ordinal] = [0, 1, 2].map(|at| u32::from_le_bytes(words[at]));
    Place { group: u64::from(high) << 32 | u64::from(low), ordinal }
}
