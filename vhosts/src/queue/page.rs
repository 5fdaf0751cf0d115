//! Messages of a queue that are in the store alone: a page says where a run of them is.
//!
//! Messages mostly lie in the store as they came, one behind the other; so an entry is written as its
//! difference from what the one before it lets expect:
//!
//! ```text
//! 0x00..=0x7F         as expected, but its record takes so many units
//! 0x80 varint         so many entries that are all as expected
//! 0x80 + what, ...    what differs, and then the differences in the order of the bits
//! ```
//!
//! A page knows nothing of queues, of time or of the store.
//!
//! Invariants: a page has at least one entry; the numbers of its entries grow; it never changes.

use super::History;
use super::cut::Amount;
use crate::{Moment, Place, Seq, varint};

/// Messages of a page, at most.
pub const PAGE_MESSAGES: usize = 4096;
/// Bytes of the bodies of a page, at most, unless it has one message.
pub const PAGE_BYTES: u64 = 1 << 20;

/// Consecutive ready messages of one level of a queue.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    level: u8,
    first: u64,
    last: u64,
    len: usize,
    bytes: u64,
    earliest: Option<Moment>,
    latest: Option<Moment>,
    arrived: Moment,
    encoded: Box<[u8]>,
}

/// A message of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PagedEntry {
    /// Its number in the queue.
    pub seq: Seq,
    /// Its number in its level.
    pub number: u64,
    /// Where the store has it.
    pub place: Place,
    /// What happened to it before.
    pub history: History,
}

/// What is known of a message besides its entry while its page is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of its body.
    pub body_len: u64,
    /// When it came.
    pub arrived: Moment,
    /// When its time is up, if ever.
    pub deadline: Option<Moment>,
}

impl Page {
    /// The level of priority.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.level
    }

    /// The number of its first message in the level.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The number of its last message in the level.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many messages; at least one.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a page is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of their bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many, and bytes of their bodies.
    #[must_use]
    pub fn amount(&self) -> Amount {
        Amount { messages: self.len as u64, bytes: self.bytes }
    }

    /// When the time of the first of them is up, if it ever is.
    #[must_use]
    pub fn earliest(&self) -> Option<Moment> {
        self.earliest
    }

    /// When the time of all of them is up; none if one lives for ever.
    #[must_use]
    pub fn latest(&self) -> Option<Moment> {
        self.latest
    }

    /// When its first message arrived.
    #[must_use]
    pub fn arrived(&self) -> Moment {
        self.arrived
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn cost(&self) -> usize {
        size_of::<Page>() + self.encoded.len()
    }

    /// Where its messages are, or those that are named by their order in the page.
    #[must_use]
    pub fn places(&self, which: Option<&[u32]>) -> Vec<Place> {
        let places = self.entries().map(|entry| entry.place);
        match which {
            None => places.collect(),
            Some(which) => {
                let is_named = |index: &u32| which.binary_search(index).is_ok();
                (0..).zip(places).filter(|(index, _)| is_named(index)).map(|(_, place)| place).collect()
            }
        }
    }

    /// Its messages, in order.
    #[must_use]
    pub fn entries(&self) -> Entries<'_> {
        Entries { bytes: &self.encoded, left: self.len, run: 0, last: PagedEntry::default() }
    }
}

/// A page that is being made.
#[derive(Debug)]
pub struct PageBuilder {
    page: Page,
    encoded: Vec<u8>,
    /// Entries as expected that are not written yet.
    run: u64,
    last: PagedEntry,
}

impl PageBuilder {
    /// Nothing yet of that level.
    #[must_use]
    pub fn new(level: u8) -> PageBuilder {
        let page = Page {
            level,
            first: 0,
            last: 0,
            len: 0,
            bytes: 0,
            earliest: None,
            latest: None,
            arrived: Moment(0),
            encoded: Box::default(),
        };
        PageBuilder { page, encoded: Vec::new(), run: 0, last: PagedEntry::default() }
    }

    /// How much there is.
    #[must_use]
    pub fn amount(&self) -> Amount {
        Amount { messages: self.page.len as u64, bytes: self.page.bytes }
    }

    /// Whether a message of that many bytes is too much for a page that has at most `most`, or one message.
    #[must_use]
    pub fn is_full_for(&self, body_len: u64, most: Amount) -> bool {
        let more = Amount { messages: 1 + self.page.len as u64, bytes: self.page.bytes + body_len };
        self.page.len > 0 && !more.is_within(most)
    }

    /// Adds a message with a higher number than those before.
    pub fn push(&mut self, entry: PagedEntry, facts: Facts) {
        let page = &mut self.page;
        if page.len == 0 {
            (page.first, page.arrived, page.latest) = (entry.number, facts.arrived, facts.deadline);
        }
        page.last = entry.number;
        page.len += 1;
        page.bytes += facts.body_len;
        page.earliest = page.earliest.into_iter().chain(facts.deadline).min();
        page.latest = page.latest.zip(facts.deadline).map(|(one, other)| one.max(other));
        if entry == expected(self.last) {
            self.run += 1;
        } else {
            self.end_run();
            write(&mut self.encoded, self.last, entry);
        }
        self.last = entry;
    }

    /// The page; none if nothing was added.
    #[must_use]
    pub fn finish(mut self) -> Option<Page> {
        self.end_run();
        (self.page.len > 0).then(|| Page { encoded: self.encoded.into_boxed_slice(), ..self.page })
    }

    fn end_run(&mut self) {
        if self.run > 0 {
            self.encoded.push(RUN);
            varint::push(&mut self.encoded, self.run);
            self.run = 0;
        }
    }
}

/// The entries of a page.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    left: usize,
    /// Entries as expected that come now.
    run: u64,
    last: PagedEntry,
}

impl Iterator for Entries<'_> {
    type Item = PagedEntry;

    fn next(&mut self) -> Option<PagedEntry> {
        self.left = self.left.checked_sub(1)?;
        if self.run == 0 {
            self.last = self.read()?;
        } else {
            self.run -= 1;
            self.last = expected(self.last);
        }
        Some(self.last)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Entries<'_> {}

const RUN: u8 = 0x80;
const NUMBER: u8 = 1;
const SEQ: u8 = 1 << 1;
const UNIT: u8 = 1 << 2;
const SEGMENT: u8 = 1 << 3;
const UNITS: u8 = 1 << 4;
const HISTORY: u8 = 1 << 5;
const SHARED: u8 = 1 << 6;

/// An entry like `last`, right behind it.
fn expected(last: PagedEntry) -> PagedEntry {
    follower(last, last.number.wrapping_add(1))
}

/// An entry like `last`, right behind it in the store, with that number: those between went together.
fn follower(last: PagedEntry, number: u64) -> PagedEntry {
    let seq = Seq(last.seq.0.wrapping_add(number.wrapping_sub(last.number)));
    PagedEntry { seq, number, place: last.place.next().unwrap_or(last.place), history: last.history }
}

fn write(bytes: &mut Vec<u8>, last: PagedEntry, entry: PagedEntry) {
    let next = expected(last);
    let units = entry.place.units;
    if units < RUN && entry == (PagedEntry { place: Place { units, ..next.place }, ..next }) {
        return bytes.push(units);
    }
    let next = follower(last, entry.number);
    let differences = [
        (NUMBER, entry.number != last.number.wrapping_add(1)),
        (SEQ, entry.seq != next.seq),
        (UNIT, entry.place.unit != next.place.unit),
        (SEGMENT, entry.place.segment != next.place.segment),
        (UNITS, units != next.place.units),
        (HISTORY, entry.history != next.history),
        (SHARED, entry.place.shared != next.place.shared),
    ];
    let what: u8 = differences.iter().map(|(what, differs)| u8::from(*differs) * what).sum();
    bytes.push(RUN | what);
    let mut write_if = |bit, value| {
        if what & bit != 0 {
            varint::push(bytes, value);
        }
    };
    write_if(NUMBER, entry.number.wrapping_sub(last.number));
    write_if(SEQ, varint::step(next.seq.0, entry.seq.0));
    write_if(UNIT, varint::step(next.place.unit.into(), entry.place.unit.into()));
    write_if(SEGMENT, varint::step(next.place.segment, entry.place.segment));
    write_if(UNITS, units.into());
    write_if(HISTORY, u64::from(entry.history.acquired) << 1 | u64::from(entry.history.uncertain));
    write_if(HISTORY, entry.history.failed.into());
}

impl Entries<'_> {
    /// The next entry, or the first of a run.
    fn read(&mut self) -> Option<PagedEntry> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        if first < RUN {
            let next = expected(self.last);
            return Some(PagedEntry { place: Place { units: first, ..next.place }, ..next });
        }
        if first == RUN {
            self.run = self.varint()?.checked_sub(1)?;
            return Some(expected(self.last));
        }
        self.read_differences(first)
    }

    fn read_differences(&mut self, what: u8) -> Option<PagedEntry> {
        let step = if what & NUMBER != 0 { self.varint()? } else { 1 };
        let mut entry = follower(self.last, self.last.number.wrapping_add(step));
        if what & SEQ != 0 {
            entry.seq.0 = varint::stepped(entry.seq.0, self.varint()?);
        }
        if what & UNIT != 0 {
            entry.place.unit = varint::stepped(entry.place.unit.into(), self.varint()?) as u32;
        }
        if what & SEGMENT != 0 {
            entry.place.segment = varint::stepped(entry.place.segment, self.varint()?);
        }
        if what & UNITS != 0 {
            entry.place.units = self.varint()? as u8;
        }
        if what & HISTORY != 0 {
            let (acquired, failed) = (self.varint()?, self.varint()? as u32);
            let uncertain = acquired & 1 != 0;
            entry.history = History { acquired: (acquired >> 1) as u32, failed, uncertain };
        }
        entry.place.shared ^= what & SHARED != 0;
        Some(entry)
    }

    fn varint(&mut self) -> Option<u64> {
        varint::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(entries: &[PagedEntry]) -> Page {
        let mut builder = PageBuilder::new(3);
        entries.iter().for_each(|entry| builder.push(*entry, Facts::default()));
        builder.finish().unwrap()
    }

    fn entry(number: u64, unit: u32, units: u8) -> PagedEntry {
        let place = Place { segment: 7, unit, units, shared: false };
        PagedEntry { seq: Seq(number + 1_000_000), number, place, history: History::default() }
    }

    /// By how much something differs from what is expected: mostly not at all.
    fn step() -> impl Strategy<Value = u64> {
        prop_oneof![6 => Just(0_u64), 2 => 0..300_u64, 1 => any::<u64>()]
    }

    fn entries() -> impl Strategy<Value = Vec<PagedEntry>> {
        let history = prop_oneof![6 => Just(None), 1 => any::<(u32, u32)>().prop_map(Some)];
        let units = prop_oneof![4 => Just(None), 1 => any::<u8>().prop_map(Some)];
        let steps = ((1..1_u64 << 40, step(), step(), step()), units, history, prop::bool::weighted(0.1));
        prop::collection::vec((any::<bool>(), steps), 1..200).prop_map(|steps| {
            let mut last = PagedEntry::default();
            let next = |(is_as_expected, ((number, seq, unit, segment), units, history, shared))| {
                let is_as_expected: bool = is_as_expected;
                let mut entry = expected(last);
                if !is_as_expected {
                    entry.number += number - 1;
                    entry.seq.0 = entry.seq.0.wrapping_add(seq);
                    entry.place.unit = entry.place.unit.wrapping_sub(unit as u32);
                    entry.place.segment = entry.place.segment.wrapping_sub(segment);
                    entry.place.units = Option::unwrap_or(units, entry.place.units);
                    entry.place.shared ^= shared;
                }
                if let Some((acquired, failed)) = history {
                    entry.history = History { acquired, failed, uncertain: acquired > failed };
                }
                last = entry;
                entry
            };
            steps.into_iter().map(next).collect()
        })
    }

    proptest! {
        #[test]
        fn a_page_has_what_was_put_into_it(entries in entries()) {
            let page = page(&entries);
            prop_assert!(page.entries().eq(entries.iter().copied()));
            prop_assert_eq!(page.entries().len(), entries.len());
            prop_assert_eq!((page.level(), page.len()), (3, entries.len()));
            prop_assert_eq!((page.first(), page.last()), (entries[0].number, entries.last().unwrap().number));
        }

        #[test]
        fn a_page_knows_the_sums(facts in prop::collection::vec((0..100_u64, prop::option::weighted(0.9, 0..100_u64)), 1..20)) {
            let mut builder = PageBuilder::new(0);
            for (number, (body_len, deadline)) in (1..).zip(&facts) {
                let facts = Facts { body_len: *body_len, arrived: Moment(number), deadline: deadline.map(Moment) };
                builder.push(entry(number, 0, 0), facts);
            }
            let page = builder.finish().unwrap();
            let deadlines: Vec<_> = facts.iter().filter_map(|(_, deadline)| deadline.map(Moment)).collect();
            let all_die = deadlines.len() == facts.len();
            prop_assert_eq!(page.earliest(), deadlines.iter().copied().min());
            prop_assert_eq!(page.latest(), deadlines.into_iter().max().filter(|_| all_die));
            prop_assert_eq!(page.bytes(), facts.iter().map(|(body_len, _)| body_len).sum::<u64>());
            prop_assert_eq!(page.arrived(), Moment(1));
        }
    }

    /// Bytes for each message of a full page.
    fn cost(entry: impl Fn(u64) -> PagedEntry) -> f64 {
        let entries: Vec<_> = (1..=PAGE_MESSAGES as u64).map(entry).collect();
        page(&entries).cost() as f64 / PAGE_MESSAGES as f64
    }

    #[test]
    fn messages_that_lie_side_by_side_cost_next_to_nothing() {
        let same_sizes = cost(|number| entry(number, 4 * number as u32, 4));
        assert!(same_sizes < 0.1, "{same_sizes}");
        // Of other sizes each: 2, 3 or 4 units.
        let unit = |number: u64| 3 * number as u32 - [0, 1, 0][number as usize % 3];
        let other_sizes = cost(|number| entry(number, unit(number), (unit(number + 1) - unit(number)) as u8));
        assert!((1.0..1.1).contains(&other_sizes), "{other_sizes}");
    }

    #[test]
    fn messages_that_lie_scattered_cost_some_bytes() {
        let scattered = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44;
        let apart =
            cost(|number| entry(1000 * number, scattered(number) as u32, scattered(number) as u8 % 64));
        assert!(apart <= 8.0, "{apart}");
        let near = cost(|number| entry(3 * number, 50 * number as u32, 4));
        assert!(near <= 6.0, "{near}");
    }

    #[test]
    fn a_page_is_full_by_messages_and_by_bytes_but_takes_one_message() {
        let mut builder = PageBuilder::new(0);
        let most = Amount { messages: 2, bytes: 10 };
        assert!(!builder.is_full_for(100, most));
        builder.push(entry(1, 0, 1), Facts { body_len: 6, ..Facts::default() });
        assert!(!builder.is_full_for(4, most) && builder.is_full_for(5, most));
        builder.push(entry(2, 1, 1), Facts::default());
        assert!(builder.is_full_for(0, most));
    }
}
