//! Reads a log back: definitions, which messages are not settled, and where sequence numbers go on.
//!
//! Of segments that were closed only their indexes are read, twice: the records that are listed there decide
//! which segments and settlements count ([`log`]), and only then the messages are looked at. What is known of
//! messages is kept in some eight bytes for each until their queues have it ([`runs`]).

mod log;
mod runs;
mod state;

pub use runs::{Recovered, RecoveredQueue};

use super::committer::{Committer, Found};
use super::disk::{Disk, SegmentNumber};
use super::error::{StoreError, failed};
use super::keys::{CLOSED_KEY, FORMAT, FORMAT_KEY, SALT_KEY};
use super::layout::SEGMENT_BYTES;
use super::record::Salt;
use super::shelf::Shelf;
use log::FoundLog;
use runs::Runs;
use state::State;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use vhosts::{QueueId, Seq};

/// What a store held when it was opened.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Keys and values, in order of the keys.
    pub definitions: Vec<(Vec<u8>, Vec<u8>)>,
    /// The queues that ever had a message that is still in the log, in order of their ids. One that has no
    /// definition may be among them, if the broker ended between the two; what it has is to be purged.
    pub queues: Vec<RecoveredQueue>,
    /// What was lost, if anything.
    pub torn: Option<Torn>,
    /// Whether the store was closed in order. If it was not, messages may have been handed out without a note of
    /// it.
    pub closed: bool,
    /// Segments of the log that were found.
    pub segments: u64,
    /// Messages that are not settled; one that is in several queues counts for each.
    pub messages: u64,
    /// How long it took.
    pub duration: Duration,
}

/// What could not be recovered. An unfinished write at the end is normal after a crash, was never reported as
/// safe, and is not counted; what is here is a fault of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Torn {
    /// Parts of the log that could not be read.
    pub damaged: Vec<Damaged>,
    /// Values of the state that could not be read; messages of their segments may be delivered again.
    pub lost_states: u64,
    /// What was put aside as a whole.
    pub put_aside: Option<String>,
}

/// A part of the log that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damaged {
    /// In this segment,
    pub segment: SegmentNumber,
    /// from this offset on,
    pub offset: u64,
    /// so many bytes.
    pub bytes: u64,
    /// The last message before it, and one of its queues.
    pub after: Option<(QueueId, Seq)>,
    /// The first message behind it, and one of its queues.
    pub before: Option<(QueueId, Seq)>,
}

/// Reads what is on `disk` and returns the committer that goes on with it.
///
/// # Errors
/// When the disk cannot be read, or has another format.
pub fn recover(disk: Box<dyn Disk>) -> Result<(Committer, Recovery), StoreError> {
    recover_with(disk, SEGMENT_BYTES)
}

/// Like [`recover`], with segments of another size: small ones fill up in a short test.
///
/// # Errors
/// See [`recover`].
pub fn recover_with(
    mut disk: Box<dyn Disk>,
    segment_bytes: u64,
) -> Result<(Committer, Recovery), StoreError> {
    let mut state = State::read(&*disk)?;
    if let Some(found) = state.format.filter(|found| *found != FORMAT) {
        return Err(StoreError::OtherFormat { found, supported: FORMAT });
    }
    let mut torn = Torn {
        put_aside: disk.put_aside().map(str::to_owned),
        lost_states: state.unreadable,
        ..Torn::default()
    };
    let (mut log, salt) = FoundLog::open(&*disk, state.salt, &mut torn)?;
    let salt = salt.unwrap_or_else(|| Salt(disk.random()));
    if state.format.is_none() || state.salt.is_none() {
        let begun = [(FORMAT_KEY, FORMAT), (SALT_KEY, salt.0)];
        let begun = begun.map(|(key, value)| (key.to_vec(), Some(value.to_le_bytes().to_vec())));
        disk.write_state(&begun).map_err(failed("write the format of the store"))?;
    }
    let definitions = log.read_listed(&mut torn);
    let (ragged, replaced) = log.take_left();
    let (shelf, mut runs) = (Arc::new(Shelf::new(salt)), Runs::default());
    let (before, next) = (log.last(), log.highest().max(state.highest()) + 1);
    let (segments, definition_homes) = log.read_messages(&mut state, &mut runs, &shelf, &mut torn);
    let (queues, messages) = runs.finish();
    let unreadable: HashSet<_> =
        torn.damaged.iter().filter(|damaged| damaged.bytes == 0).map(|damaged| damaged.segment).collect();
    let recovery = Recovery {
        definitions,
        queues,
        segments: segments.len() as u64,
        messages,
        duration: Duration::ZERO,
        torn: (torn != Torn::default()).then_some(torn),
        closed: state.closed,
    };
    // One that cannot be read is left where it is, with what the state has of it.
    let is_kept = |segment| segments.contains_key(&segment) || unreadable.contains(&segment);
    let mut stale = state.stale_keys(is_kept);
    // From now on it is open. On a full disk it is said when there is room.
    if recovery.closed && disk.write_state(&[(CLOSED_KEY.to_vec(), None)]).is_err() {
        stale.push(CLOSED_KEY.to_vec());
    }
    let found = Found {
        salt,
        segments,
        definitions: definition_homes,
        before,
        next,
        segment_bytes,
        stale,
        ragged,
        replaced,
    };
    Ok((Committer::new(disk, shelf, found), recovery))
}
