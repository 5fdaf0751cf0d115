//! Messages that wait for a consumer: by priority, and within one priority oldest first.
//!
//! Each level of priority numbers its messages; the number is the message's place, which it keeps when it is
//! handed out and comes back. A queue without priorities has one level. What is taken out of the middle,
//! because its time is up, leaves no hole for long: see [`Window`](crate::window::Window).
//!
//! Messages of a [`Page`] are in the store alone. Nobody overtakes them: as long as the next message is one of
//! them, there is none to be taken.
//!
//! Invariants: a bit of `occupied` is set for each level that is not empty, and perhaps for some that are, until
//! somebody looks; `all` and `paged` are the sums over all levels.

use super::History;
use super::cut::{Amount, Cut};
use super::level::{Asked, Level, Member, Slot};
use super::level_set::LevelSet;
use super::page::{Facts, Page, PagedEntry};
use super::settings::Priorities;
use crate::{Message, Moment, Seq};
use std::sync::Arc;

/// A message in a queue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number in the queue, and in the lowest bit whether the store has it.
    seq: u64,
    /// What was published.
    pub message: Message,
    /// What happened to it before.
    pub history: History,
}

impl Entry {
    /// A message under its number; `stored` says whether the store has it, or will have it before it is told
    /// that it may forget it.
    #[must_use]
    pub fn new(seq: Seq, stored: bool, message: Message, history: History) -> Entry {
        Entry { seq: seq.0 << 1 | u64::from(stored), message, history }
    }

    /// Its number in the queue, the same for as long as it is there.
    #[must_use]
    pub fn seq(&self) -> Seq {
        Seq(self.seq >> 1)
    }

    /// Whether the store has it.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.seq & 1 != 0
    }

    /// The store has it from now on.
    pub fn mark_stored(&mut self) {
        self.seq |= 1;
    }
}

/// Where a message belongs among the waiting ones: its level, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u64);

impl Place {
    const NUMBER_BITS: u32 = 56;

    /// The place with that number in that level.
    pub fn new(level: u8, number: u64) -> Place {
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
    levels: Box<[Level]>,
    occupied: LevelSet,
    default: u8,
    all: Amount,
    /// Of these, those that are in the store alone.
    paged: Amount,
}

impl Ready {
    /// With these levels.
    #[must_use]
    pub fn new(priorities: Priorities) -> Ready {
        let levels = (0..=priorities.max).map(|_| Level::new()).collect();
        let default = priorities.default.min(priorities.max);
        let (all, paged) = (Amount::default(), Amount::default());
        Ready { levels, occupied: LevelSet::default(), default, all, paged }
    }

    /// Messages that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.messages as usize
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.messages == 0
    }

    /// Bytes of their bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.all.bytes
    }

    /// What waits in the store alone.
    #[must_use]
    #[inline]
    pub fn paged(&self) -> Amount {
        self.paged
    }

    /// What waits in memory.
    #[must_use]
    #[inline]
    pub fn resident(&self) -> Amount {
        self.all.without(self.paged)
    }

    /// Whether there is a next message, and it is in memory.
    #[must_use]
    #[inline]
    pub fn has_next(&self) -> bool {
        self.all.messages > 0 && (self.paged.messages == 0 || !self.is_stalled())
    }

    /// Whether the next message is in the store alone.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.next_page().is_some()
    }

    /// The page that the next message is in, if it is in the store alone.
    #[must_use]
    pub fn next_page(&self) -> Option<Arc<Page>> {
        let mut levels = self.occupied.descending().map(|level| self.level(level));
        let level = levels.find(|level| !level.is_empty()).filter(|level| level.is_stalled())?;
        level.first_page().cloned()
    }

    /// Adds a message behind all others of its level.
    pub fn push(&mut self, entry: Entry) -> Place {
        let level = self.level_of(|| entry.message.marks().priority);
        self.count(level, &entry);
        Place::new(level, self.level_mut(level).push(entry))
    }

    /// A place behind all others of its level for a message that will be put there later.
    pub fn reserve(&mut self, message: &Message) -> Place {
        let level = self.level_of(|| message.marks().priority);
        Place::new(level, self.level_mut(level).reserve())
    }

    /// Puts a message back to the place that it was taken from.
    pub fn put_back(&mut self, place: Place, entry: Entry) {
        self.count(place.level(), &entry);
        self.level_mut(place.level()).put_back(place.number(), entry);
    }

    /// Takes the message that is to be handed out next, if it is in memory.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<(Place, Entry)> {
        loop {
            let level = self.occupied.highest()?;
            let taken = self.pop_of(level);
            if taken.is_some() || self.occupied.has(level) {
                return taken;
            }
        }
    }

    /// Takes the oldest message of the lowest level, the one that is missed least, if it is in memory.
    pub fn pop_least(&mut self) -> Option<(Place, Entry)> {
        loop {
            let level = self.occupied.lowest()?;
            let taken = self.pop_of(level);
            if taken.is_some() || self.occupied.has(level) {
                return taken;
            }
        }
    }

    /// Takes the message at that place, if it is there and in memory.
    pub fn remove(&mut self, place: Place) -> Option<Entry> {
        let entry = self.level_mut(place.level()).remove(place.number())?;
        self.uncount(&entry);
        Some(entry)
    }

    /// The messages in the order in which they will be handed out.
    pub fn iter(&self) -> impl Iterator<Item = Member<'_>> {
        self.levels.iter().rev().flat_map(Level::iter)
    }

    /// When the oldest message of each level arrived that has one.
    pub fn oldest(&self) -> impl Iterator<Item = Moment> {
        self.levels.iter().filter_map(Level::oldest)
    }

    /// Takes the oldest message of a level; one that turns out to be empty is not looked at again.
    #[inline(always)]
    fn pop_of(&mut self, level: u8) -> Option<(Place, Entry)> {
        let Some((number, entry)) = self.level_mut(level).pop() else {
            if self.level(level).is_empty() {
                self.occupied.remove(level);
            }
            return None;
        };
        self.uncount(&entry);
        Some((Place::new(level, number), entry))
    }

    fn level(&self, level: u8) -> &Level {
        &self.levels[usize::from(level)]
    }

    fn level_mut(&mut self, level: u8) -> &mut Level {
        &mut self.levels[usize::from(level)]
    }

    #[inline]
    fn level_of(&self, priority: impl FnOnce() -> Option<u8>) -> u8 {
        match self.levels.len() {
            1 => 0,
            levels => priority().unwrap_or(self.default).min((levels - 1) as u8),
        }
    }

    fn count(&mut self, level: u8, entry: &Entry) {
        self.occupied.insert(level);
        self.all.messages += 1;
        self.all.bytes += entry.message.body_len();
    }

    fn uncount(&mut self, entry: &Entry) {
        self.all.messages -= 1;
        self.all.bytes -= entry.message.body_len();
    }
}

/// Pages.
impl Ready {
    /// Makes pages of what is not among the first `head` messages, level by level, until `enough` is left in
    /// memory. Whether there may be more to do: after so many pages it is enough for one go.
    pub fn page_out(&mut self, head: Amount, enough: Amount, pages: usize, cut: &mut Cut<'_>) -> bool {
        // Whatever its size, the next message stays: who had it read, reads it once.
        let next = self.occupied.descending().next().map(|level| self.level(level).next_amount());
        let (mut head, mut left) = (head.max(next.unwrap_or_default()), pages);
        for level in self.occupied.descending() {
            cut.level = level;
            let (kept, head_end) = self.level(level).head_within(head, cut.page);
            while !self.resident().is_within(enough) {
                if left == 0 {
                    return true;
                }
                let Some(slot) = self.levels[usize::from(level)].page_out(head_end, cut) else { break };
                self.paged = self.paged + slot.page.amount();
                cut.expiry.enter(Place::new(level, slot.page.first()), slot.due);
                left -= 1;
            }
            head = head.without(kept);
        }
        false
    }

    /// Adds a message that is in the store behind all others of its level. If that ends a page, says which.
    pub fn recover(&mut self, priority: Option<u8>, entry: PagedEntry, facts: Facts) -> Option<&Slot> {
        let level = self.level_of(|| priority);
        let amount = Amount { messages: 1, bytes: facts.body_len };
        (self.all, self.paged) = (self.all + amount, self.paged + amount);
        self.occupied.insert(level);
        self.level_mut(level).recover(level, entry, facts)
    }

    /// Ends pages of messages that were recovered, and says which.
    pub fn recovered(&mut self) -> impl Iterator<Item = &Slot> {
        self.levels.iter_mut().filter_map(Level::recovered)
    }

    /// The page whose first message has that place.
    pub fn page_at(&mut self, place: Place) -> Option<&mut Slot> {
        self.level_mut(place.level()).page_at(place.number())
    }

    /// That page, if it is still here.
    pub fn slot_of(&mut self, page: &Arc<Page>) -> Option<&mut Slot> {
        let slot = self.levels.get_mut(usize::from(page.level()))?.page_at(page.first())?;
        Arc::ptr_eq(&slot.page, page).then_some(slot)
    }

    /// Takes a page out, and puts one with a part of its messages in its place, if any are left.
    pub fn replace_page(&mut self, page: &Page, rest: Option<Slot>) -> Option<Slot> {
        let left = rest.as_ref().map(|rest| rest.page.amount()).unwrap_or_default();
        let old = self.level_mut(page.level()).replace_page(page.first(), rest)?;
        let gone = old.page.amount().without(left);
        (self.all, self.paged) = (self.all.without(gone), self.paged.without(gone));
        Some(old)
    }

    /// Takes all pages out.
    pub fn take_pages(&mut self) -> Vec<Arc<Page>> {
        let levels = self.occupied.descending();
        let slots = levels.flat_map(|level| self.levels[usize::from(level)].take_pages());
        let pages = slots.map(|slot| slot.page).collect();
        (self.all, self.paged) = (self.resident(), Amount::default());
        pages
    }

    /// The next pages that leave are asked for, at most so many, if there is less before the first of them than is in it.
    /// Says which were not asked for before.
    pub fn ask_ahead(&mut self, pages: usize, mut ask: impl FnMut(&Arc<Page>)) {
        let mut before = 0;
        for level in self.occupied.descending() {
            let level = &mut self.levels[usize::from(level)];
            before += level.head_len();
            let Some(first) = level.first_page() else { continue };
            if before < first.len() {
                // What was read out of turn is enough ahead.
                let pages = if level.has_between() { 1 } else { pages };
                level.pages_mut().take(pages).for_each(|slot| slot.ask(Asked::ToLeave, &mut ask));
            }
            return;
        }
    }

    /// The page is asked for that the message is in which is missed least, if it is in one.
    pub fn ask_least(&mut self, mut ask: impl FnMut(&Arc<Page>)) {
        let Some(level) = self.occupied.lowest() else { return };
        let level = self.level_mut(level);
        if level.is_stalled() {
            level.pages_mut().take(1).for_each(|slot| slot.ask(Asked::ToLeave, &mut ask));
        }
    }
}
