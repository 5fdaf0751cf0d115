//! Reads a log back: definitions, the messages that are not settled, and where sequence numbers go on.
//!
//! Nothing is written here but the format of an empty log. One group at a time is read, so besides the
//! messages that are returned there is one chunk, or one large record, in memory.
//!
//! What transactions settle is known when all groups are read, and only then taken out of what is returned.

use super::StoreError;
use super::chunk::{ChunkReader, Damage, ReadRecord};
use super::committer::Committer;
use super::group::{Group, KeptState};
use super::keys::{FORMAT, FORMAT_KEY, Key};
use super::log::{GroupNumber, Log};
use super::notes::{Note, Notes};
use super::queues::Queues;
use super::record::Targets;
use super::settled::Settled;
use super::slot::Slot;
use super::transaction::Place;
use foldhash::fast::RandomState;
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;
use vhosts::{Message, MessageBuilder, QueueId, Seq};

/// A message that is not settled everywhere.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// As it was published. Settle this one, not a copy of its parts: it knows where it lies in the log.
    pub message: Message,
    /// Where it is not settled. A queue that has no definition may be among them, if the broker ended between
    /// the two; forget it.
    pub targets: SmallVec<[RecoveredTarget; 1]>,
}

/// A message in one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredTarget {
    /// The queue.
    pub queue: QueueId,
    /// The number of the message in the queue.
    pub seq: Seq,
    /// The newest that was written of it; zeros if there was none.
    pub note: Note,
}

/// What a store held when it was opened.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Keys and values, in order of the keys.
    pub definitions: Vec<(Vec<u8>, Vec<u8>)>,
    /// In the order in which they were written; for each queue not always the order of its numbers.
    pub messages: Vec<Recovered>,
    /// For each queue that ever had a message here, the first number that it may give. Never lower than one
    /// that was given to a stored message; after a crash it may be a million higher.
    pub next_seqs: Vec<(QueueId, Seq)>,
    /// What was lost, if anything.
    pub torn: Option<Torn>,
    /// Groups of the log that were found.
    pub groups: u64,
    /// Messages that were read, the settled ones included.
    pub records: u64,
    /// How long it took.
    pub duration: Duration,
}

/// What could not be recovered. An unfinished write at the end is normal after a crash and was never
/// reported as safe; everything else is a fault of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Torn {
    /// Syncs that had succeeded, and whose data is not there any more.
    pub lost_syncs: u64,
    /// Settled sets and notes that could not be read; messages of their groups may be delivered again.
    pub lost_states: u64,
    /// Chunks and records that could not be read.
    pub damage: Damage,
}

impl fmt::Display for Torn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let damage = &self.damage;
        let parts = [
            (self.lost_syncs, "synced writes are missing at the end of the log"),
            (damage.damaged_chunks, "chunks are damaged"),
            (damage.missing_chunks, "chunks are missing"),
            (damage.damaged_records, "records are malformed"),
            (damage.unfinished_records, "records are unfinished"),
            (self.lost_states, "settlement states are unreadable"),
        ];
        let found = parts.iter().filter(|(count, _)| *count > 0);
        found.enumerate().try_for_each(|(at, (count, what))| {
            write!(out, "{}{count} {what}", if at == 0 { "" } else { ", " })
        })
    }
}

/// Reads `log` and returns the committer that goes on with it.
///
/// # Errors
/// When the log cannot be read, or has another format.
pub fn recover<L: Log>(mut log: L) -> Result<(Committer<L>, Recovery), StoreError> {
    let state = State::read(&log)?;
    check_format(&mut log, &state)?;
    let mut reading = Reading::default();
    reading.torn.lost_syncs = log.lost_syncs();
    reading.torn.lost_states = state.unreadable;
    let (groups, next_group) = reading.groups(&log, state.settled, state.notes)?;
    let mut queues = Queues::default();
    for (queue, ceiling) in &state.ceilings {
        let next = reading.nexts.entry(*queue).or_default();
        *next = (*next).max(*ceiling);
    }
    for (queue, next) in &reading.nexts {
        queues.recovered(*queue, *next, state.ceilings.get(queue).copied().unwrap_or_default());
    }
    let mut recovery = reading.recovery;
    recovery.definitions = state.definitions;
    recovery.next_seqs = reading.nexts.into_iter().map(|(queue, next)| (queue, Seq(next))).collect();
    recovery.torn = (reading.torn != Torn::default()).then_some(reading.torn);
    Ok((Committer::new(log, groups, queues, next_group), recovery))
}

fn check_format<L: Log>(log: &mut L, state: &State) -> Result<(), StoreError> {
    match state.format {
        None => log.put(FORMAT_KEY, &FORMAT.to_le_bytes()),
        Some(FORMAT) => Ok(()),
        Some(found) => Err(StoreError::OtherFormat { found, supported: FORMAT }),
    }
}

/// The state, sorted by what it is.
#[derive(Default)]
struct State {
    format: Option<u32>,
    definitions: Vec<(Vec<u8>, Vec<u8>)>,
    ceilings: BTreeMap<QueueId, u64>,
    settled: BTreeMap<GroupNumber, KeptState>,
    notes: BTreeMap<GroupNumber, Notes>,
    unreadable: u64,
}

impl State {
    fn read<L: Log>(log: &L) -> Result<State, StoreError> {
        let mut state = State::default();
        log.read_state(&mut |key, value| {
            if state.add(key, value).is_none() {
                state.unreadable += 1;
            }
        })?;
        Ok(state)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match Key::parse(key) {
            Key::Format => self.format = Some(u32::from_le_bytes(value.try_into().ok()?)),
            Key::Definition(key) => self.definitions.push((key.to_vec(), value.to_vec())),
            Key::Ceiling(queue) => {
                _ = self.ceilings.insert(queue, u64::from_le_bytes(value.try_into().ok()?))
            }
            Key::Settled(group) => _ = self.settled.insert(group, KeptState::decode(value)?),
            Key::Notes(group, block) => self.notes.entry(group).or_default().recover(block, value)?,
            Key::Other => return None,
        }
        Some(())
    }
}

#[derive(Default)]
struct Reading {
    recovery: Recovery,
    torn: Torn,
    nexts: BTreeMap<QueueId, u64>,
    /// What transactions settle.
    settles: Vec<Place>,
}

type Groups = HashMap<GroupNumber, Group, RandomState>;

impl Reading {
    /// Reads all groups. A group whose set is there without it was being dropped: it is dropped once more.
    fn groups<L: Log>(
        &mut self,
        log: &L,
        mut settled: BTreeMap<GroupNumber, KeptState>,
        mut notes: BTreeMap<GroupNumber, Notes>,
    ) -> Result<(Groups, GroupNumber), StoreError> {
        let (mut groups, mut last, mut builder) = (Groups::default(), 0, MessageBuilder::default());
        for number in log.groups()? {
            self.recovery.groups += 1;
            last = last.max(number);
            let notes = notes.remove(&number).unwrap_or_default();
            let group = match settled.remove(&number) {
                Some(KeptState::Complete) => Group::complete(notes),
                Some(KeptState::Partial(set)) => self.group(log, number, (set, notes), &mut builder)?,
                None => self.group(log, number, (Settled::default(), notes), &mut builder)?,
            };
            groups.insert(number, group);
        }
        let gone: Vec<_> = settled.into_keys().chain(notes.keys().copied()).collect();
        for number in gone {
            last = last.max(number);
            groups
                .entry(number)
                .or_insert_with(|| Group::complete(notes.remove(&number).unwrap_or_default()));
        }
        self.settle(&mut groups);
        for group in groups.values_mut() {
            group.dirty |= group.is_finished();
        }
        Ok((groups, last.saturating_add(1)))
    }

    fn group<L: Log>(
        &mut self,
        log: &L,
        number: GroupNumber,
        (settled, notes): (Settled, Notes),
        builder: &mut MessageBuilder,
    ) -> Result<Group, StoreError> {
        let mut group = Group::recovered(settled, notes);
        let mut reader = ChunkReader::new(number, builder);
        log.read_group(number, &mut |chunk| {
            reader.chunk(chunk, &mut |record| self.record(number, &mut group, record));
        })?;
        self.torn.damage.add(reader.finish());
        group.forget_stale_notes();
        Ok(group)
    }

    fn record(&mut self, number: GroupNumber, group: &mut Group, record: ReadRecord) {
        group.add_lost(record.ordinal);
        let Some(contents) = record.contents else {
            return group.add_lost(record.ordinal.saturating_add(record.targets));
        };
        for (message, targets) in contents.messages {
            self.message(number, group, message, &targets);
        }
        group.settles_others |= !contents.settles.is_empty();
        self.settles.extend(contents.settles);
    }

    fn message(&mut self, number: GroupNumber, group: &mut Group, message: Message, targets: &Targets) {
        self.recovery.records += 1;
        for (queue, seq) in targets {
            let next = self.nexts.entry(*queue).or_default();
            *next = (*next).max(seq.0.saturating_add(1));
        }
        let first = group.add_record(targets);
        Slot::Written { group: number, first, shared: targets.len() > 1 }.store(&message);
        let live = (first..).zip(targets).filter(|(ordinal, _)| !group.is_settled(*ordinal));
        let target = |(ordinal, (queue, seq)): (u32, &(QueueId, Seq))| RecoveredTarget {
            queue: *queue,
            seq: *seq,
            note: group.notes.note(ordinal),
        };
        let targets: SmallVec<_> = live.map(target).collect();
        if !targets.is_empty() {
            self.recovery.messages.push(Recovered { message, targets });
        }
    }

    /// Takes out what transactions settle and the settled sets did not say yet.
    fn settle(&mut self, groups: &mut Groups) {
        let mut is_changed = false;
        for place in std::mem::take(&mut self.settles) {
            let Some(group) = groups.get_mut(&place.group) else { continue };
            if group.settle(place.ordinal) {
                group.dirty = true;
                is_changed = true;
            }
        }
        if is_changed {
            let is_live = |message: &Message, queue| {
                let Slot::Written { group, first, shared } = Slot::load(message) else { return false };
                let Some(group) = groups.get(&group) else { return false };
                group.find(first, shared, queue).is_some_and(|ordinal| !group.is_settled(ordinal))
            };
            for Recovered { message, targets } in &mut self.recovery.messages {
                targets.retain(|target| is_live(message, target.queue));
            }
            self.recovery.messages.retain(|recovered| !recovered.targets.is_empty());
        }
    }
}
