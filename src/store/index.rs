//! What a restart must know of the records of a segment, in some eight bytes for each.
//!
//! An index is written behind the last record when a segment is closed. What must be read besides, definitions
//! and atomic records, is listed first.
//!
//! ```text
//! | number of listed varint | their units, steps … | entries … |
//!
//! entry: | tag u8 | units varint | … |, and if it is a message
//! | … | number of targets, if several | queue step, seq step … | body varint | arrived step | expiration varint | priority u8 |
//! ```

use super::layout;
use super::record::{Kind, Targets};
use vhosts::varint;
use vhosts::{Message, Moment, QueueId, Seq};

const SPILLED: u8 = 1;
const CONTENTS: u8 = 1 << 1;
const SHARED: u8 = 1 << 2;
const EXPIRES: u8 = 1 << 3;
const PRIORITY: u8 = 1 << 4;

/// What is known of a message without reading its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) body_len: u64,
    pub(super) arrived: Moment,
    pub(super) expiration_ms: Option<u64>,
    pub(super) priority: Option<u8>,
}

impl Facts {
    pub(super) fn of(message: &Message) -> Facts {
        let marks = message.marks();
        Facts {
            body_len: message.body_len(),
            arrived: message.arrived(),
            expiration_ms: if marks.expires { message.properties().expiration_ms() } else { None },
            priority: marks.priority,
        }
    }
}

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Message {
        spilled: bool,
        targets: Targets,
        facts: Facts,
    },
    /// Definitions or an atomic record: it must be read.
    Contents,
}

/// A record of the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) unit: u32,
    pub(super) units: u32,
    pub(super) what: What,
}

/// Where steps begin.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    queue: u64,
    seq: u64,
    arrived: u64,
}

/// The index of a segment.
#[derive(Clone, Debug)]
pub(super) struct Index {
    listed: Vec<u32>,
    entries: Vec<u8>,
    before: Before,
    /// The unit behind the last record.
    end: u32,
}

impl Default for Index {
    fn default() -> Index {
        Index {
            listed: Vec::new(),
            entries: Vec::new(),
            before: Before::default(),
            end: layout::HEADER_UNITS,
        }
    }
}

impl Index {
    /// The unit behind the last record.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// The records that must be read.
    pub(super) fn listed(&self) -> &[u32] {
        &self.listed
    }

    /// Adds the next message.
    pub(super) fn add_message(&mut self, units: u32, kind: Kind, targets: &[(QueueId, Seq)], facts: Facts) {
        let Facts { body_len, arrived, expiration_ms, priority } = facts;
        let bit = |is_set, bit| if is_set { bit } else { 0 };
        self.entries.push(
            bit(kind == Kind::Spilled, SPILLED)
                | bit(targets.len() != 1, SHARED)
                | bit(expiration_ms.is_some(), EXPIRES)
                | bit(priority.is_some(), PRIORITY),
        );
        varint::push(&mut self.entries, units.into());
        if targets.len() != 1 {
            varint::push(&mut self.entries, targets.len() as u64);
        }
        for (queue, seq) in targets {
            varint::push_step(&mut self.entries, self.before.queue, queue.0);
            varint::push_step(&mut self.entries, self.before.seq, seq.0);
            (self.before.queue, self.before.seq) = (queue.0, seq.0);
        }
        varint::push(&mut self.entries, body_len);
        varint::push_step(&mut self.entries, self.before.arrived, arrived.0);
        self.before.arrived = arrived.0;
        if let Some(expiration_ms) = expiration_ms {
            varint::push(&mut self.entries, expiration_ms);
        }
        self.entries.extend(priority);
        self.end += units;
    }

    /// Adds the next record that is no message.
    pub(super) fn add_contents(&mut self, units: u32) {
        self.listed.push(self.end);
        self.entries.push(CONTENTS);
        varint::push(&mut self.entries, units.into());
        self.end += units;
    }

    /// Passes units by in which no record is; they count as one that is settled.
    pub(super) fn add_gap(&mut self, units: u32) {
        self.entries.push(SHARED);
        varint::push(&mut self.entries, units.into());
        [0, 0, 0].into_iter().for_each(|number| varint::push(&mut self.entries, number));
        self.end += units;
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        varint::push(out, self.listed.len() as u64);
        let mut before = 0;
        for unit in &self.listed {
            varint::push_step(out, before, (*unit).into());
            before = (*unit).into();
        }
        out.extend_from_slice(&self.entries);
    }

    /// Reads what was encoded; nothing if it is something else, or does not end at the unit `end`.
    pub(super) fn decode(mut bytes: &[u8], end: u32) -> Option<Index> {
        let count = varint::take(&mut bytes)?;
        let (mut listed, mut before) = (Vec::new(), 0);
        for _ in 0..count {
            before = varint::take_step(&mut bytes, before)?;
            listed.push(u32::try_from(before).ok()?);
        }
        Some(Index { listed, entries: bytes.to_vec(), before: Before::default(), end })
    }

    /// The records in their order; ends early where an entry is malformed.
    pub(super) fn iter(&self) -> Entries<'_> {
        Entries { rest: &self.entries, unit: layout::HEADER_UNITS, before: Before::default() }
    }
}

/// See [`Index::iter`].
#[derive(Debug)]
pub(super) struct Entries<'a> {
    rest: &'a [u8],
    unit: u32,
    before: Before,
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let (&tag, rest) = self.rest.split_first()?;
        self.rest = rest;
        let units = u32::try_from(varint::take(&mut self.rest)?).ok()?;
        let what = if tag & CONTENTS != 0 { What::Contents } else { self.message(tag)? };
        let unit = self.unit;
        self.unit = unit.checked_add(units)?;
        Some(Entry { unit, units, what })
    }
}

impl Entries<'_> {
    fn message(&mut self, tag: u8) -> Option<What> {
        let count = if tag & SHARED != 0 { varint::take(&mut self.rest)? } else { 1 };
        let mut targets = Targets::new();
        for _ in 0..count {
            self.before.queue = varint::take_step(&mut self.rest, self.before.queue)?;
            self.before.seq = varint::take_step(&mut self.rest, self.before.seq)?;
            targets.push((QueueId(self.before.queue), Seq(self.before.seq)));
        }
        let body_len = varint::take(&mut self.rest)?;
        self.before.arrived = varint::take_step(&mut self.rest, self.before.arrived)?;
        let expiration_ms = if tag & EXPIRES != 0 { Some(varint::take(&mut self.rest)?) } else { None };
        let priority = if tag & PRIORITY != 0 {
            let (&priority, rest) = self.rest.split_first()?;
            self.rest = rest;
            Some(priority)
        } else {
            None
        };
        let facts = Facts { body_len, arrived: Moment(self.before.arrived), expiration_ms, priority };
        Some(What::Message { spilled: tag & SPILLED != 0, targets, facts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn what() -> impl Strategy<Value = What> {
        let targets = prop::collection::vec((any::<u64>(), any::<u64>()), 1..4);
        let facts = (any::<u64>(), any::<u64>(), any::<Option<u64>>(), any::<Option<u8>>());
        let message = (any::<bool>(), targets, facts).prop_map(|(spilled, targets, facts)| {
            let (body_len, arrived, expiration_ms, priority) = facts;
            let targets = targets.into_iter().map(|(queue, seq)| (QueueId(queue), Seq(seq))).collect();
            let facts = Facts { body_len, arrived: Moment(arrived), expiration_ms, priority };
            What::Message { spilled, targets, facts }
        });
        prop_oneof![4 => message, 1 => Just(What::Contents)]
    }

    proptest! {
        #[test]
        fn entries_come_back(records in prop::collection::vec((1..5000_u32, what()), 0..30)) {
            let mut index = Index::default();
            for (units, what) in &records {
                match what {
                    What::Contents => index.add_contents(*units),
                    What::Message { spilled, targets, facts } => {
                        let kind = if *spilled { Kind::Spilled } else { Kind::Message };
                        index.add_message(*units, kind, targets, *facts);
                    }
                }
            }
            let mut bytes = Vec::new();
            index.encode(&mut bytes);
            let read = Index::decode(&bytes, index.end()).unwrap();
            prop_assert_eq!(read.listed(), index.listed());
            let mut unit = layout::HEADER_UNITS;
            let mut listed = Vec::new();
            let mut entries = read.iter();
            for (units, what) in records {
                if what == What::Contents {
                    listed.push(unit);
                }
                prop_assert_eq!(entries.next(), Some(Entry { unit, units, what }));
                unit += units;
            }
            prop_assert_eq!(entries.next(), None);
            prop_assert_eq!(read.listed(), listed);
        }

        #[test]
        fn any_bytes_are_an_index_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(index) = Index::decode(&bytes, 2) {
                index.iter().for_each(drop);
            }
        }
    }

    #[test]
    fn a_message_takes_few_bytes() {
        let mut index = Index::default();
        for seq in 0..1000 {
            let facts =
                Facts { body_len: 100, arrived: Moment(1_700_000_000_000 + seq / 100), ..Facts::default() };
            index.add_message(11, Kind::Message, &[(QueueId(7), Seq(1_000_000 + seq))], facts);
        }
        assert!(index.entries.len() < 6_100, "{}", index.entries.len());
    }
}
