//! Messages that wait for a consumer: by priority, and within one priority oldest first.
//!
//! Each level of priority numbers its messages; the number is the message's place, which it keeps when it is
//! handed out and comes back. A queue without priorities has one level. What is taken out of the middle,
//! because its time is up, leaves no hole for long: see [`Window`].
//!
//! Invariants: a bit of `occupied` is set for each level that is not empty, and perhaps for some that are, until
//! somebody looks; `len` and `bytes` are the sums over all levels.

use super::History;
use super::settings::Priorities;
use crate::window::Window;
use crate::{Message, Seq};

/// A message in a queue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number in the queue, the same for as long as it is there.
    pub seq: Seq,
    /// What was published.
    pub message: Message,
    /// What happened to it before.
    pub history: History,
}

/// Where a message belongs among the waiting ones: its level, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u64);

impl Place {
    const NUMBER_BITS: u32 = 56;

    fn new(level: u8, number: u64) -> Place {
        Place(u64::from(level) << Place::NUMBER_BITS | number)
    }

    fn level(self) -> u8 {
        (self.0 >> Place::NUMBER_BITS) as u8
    }

    fn number(self) -> u64 {
        self.0 & ((1 << Place::NUMBER_BITS) - 1)
    }
}

/// The waiting messages of one queue.
#[derive(Debug)]
pub struct Ready {
    levels: Box<[Window<Entry>]>,
    occupied: Levels,
    default: u8,
    len: usize,
    bytes: u64,
}

impl Ready {
    /// With these levels.
    #[must_use]
    pub fn new(priorities: Priorities) -> Ready {
        let levels = (0..=priorities.max).map(|_| Window::starting_at(1)).collect();
        let default = priorities.default.min(priorities.max);
        Ready { levels, occupied: Levels::default(), default, len: 0, bytes: 0 }
    }

    /// Messages that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of their bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a message behind all others of its level.
    pub fn push(&mut self, entry: Entry) -> Place {
        let level = self.level_of(&entry.message);
        self.count(level, &entry);
        Place::new(level, self.levels[usize::from(level)].push(entry))
    }

    /// A place behind all others of its level for a message that will be put there later.
    pub fn reserve(&mut self, message: &Message) -> Place {
        let level = self.level_of(message);
        Place::new(level, self.levels[usize::from(level)].skip())
    }

    /// Puts a message back to the place that it was taken from.
    pub fn put_back(&mut self, place: Place, entry: Entry) {
        self.count(place.level(), &entry);
        self.levels[usize::from(place.level())].put_back(place.number(), entry);
    }

    /// Takes the message that is to be handed out next.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<(Place, Entry)> {
        loop {
            let level = self.occupied.highest()?;
            if let Some(taken) = self.pop_of(level) {
                return Some(taken);
            }
        }
    }

    /// Takes the oldest message of the lowest level: the one that is missed least.
    pub fn pop_least(&mut self) -> Option<(Place, Entry)> {
        loop {
            let level = self.occupied.lowest()?;
            if let Some(taken) = self.pop_of(level) {
                return Some(taken);
            }
        }
    }

    /// Takes the message at that place, if it is there.
    pub fn remove(&mut self, place: Place) -> Option<Entry> {
        let entry = self.levels[usize::from(place.level())].remove(place.number())?;
        self.uncount(&entry);
        Some(entry)
    }

    /// The messages in the order in which they will be handed out.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.levels.iter().rev().flat_map(|level| level.iter().map(|(_, entry)| entry))
    }

    /// The oldest message of each level that has one.
    pub fn oldest(&self) -> impl Iterator<Item = &Entry> {
        self.levels.iter().filter_map(|level| Some(level.iter().next()?.1))
    }

    /// Takes the oldest message of a level; one that turns out to be empty is not looked at again.
    #[inline(always)]
    fn pop_of(&mut self, level: u8) -> Option<(Place, Entry)> {
        let Some((number, entry)) = self.levels[usize::from(level)].pop() else {
            self.occupied.remove(level);
            return None;
        };
        self.uncount(&entry);
        Some((Place::new(level, number), entry))
    }

    fn level_of(&self, message: &Message) -> u8 {
        match self.levels.len() {
            1 => 0,
            levels => message.marks().priority.unwrap_or(self.default).min((levels - 1) as u8),
        }
    }

    fn count(&mut self, level: u8, entry: &Entry) {
        self.occupied.insert(level);
        self.len += 1;
        self.bytes += entry.message.body_len();
    }

    fn uncount(&mut self, entry: &Entry) {
        self.len -= 1;
        self.bytes -= entry.message.body_len();
    }
}

/// A set of levels; its ends are found in a few instructions, however many there are.
#[derive(Clone, Copy, Debug, Default)]
struct Levels([u64; 4]);

impl Levels {
    fn insert(&mut self, level: u8) {
        self.0[usize::from(level / 64)] |= 1 << (level % 64);
    }

    fn remove(&mut self, level: u8) {
        self.0[usize::from(level / 64)] &= !(1 << (level % 64));
    }

    fn highest(self) -> Option<u8> {
        let word = self.0.iter().rposition(|word| *word != 0)?;
        Some(word as u8 * 64 + 63 - self.0[word].leading_zeros() as u8)
    }

    fn lowest(self) -> Option<u8> {
        let word = self.0.iter().position(|word| *word != 0)?;
        Some(word as u8 * 64 + self.0[word].trailing_zeros() as u8)
    }
}
