//! The waiting messages of one priority, in the order of their numbers, when not all of them are in memory.
//!
//! ```text
//!   head          pages                       tail
//!   ██████████    ▒▒▒▒▒▒ ▒▒▒▒▒▒ ▒▒▒▒▒▒        ██████████
//!   in memory     in the store                in memory
//!                   between: ██   █
//! ```
//!
//! A level without pages is its head, and costs no more than that. New messages join the tail. What comes
//! back with a number behind the first page waits `between` the pages for those before it.
//!
//! Invariants, where there is anything but a head:
//! - all numbers in the head are lower than those of the first page, and than `tail_from`;
//! - all numbers of pages, and those between, are lower than `tail_from`; those in the tail are not;
//! - without pages there is nothing between;
//! - the tail gives out the numbers of the level.

use super::cut::{Amount, Cut};
use super::page::{Facts, Page, PageBuilder, PagedEntry};
use super::ready::Entry;
use crate::Moment;
use crate::window::Window;
use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;

/// Pages that may be in memory at the head because they were read ahead of the consumers.
const AHEAD: u64 = 3;

/// The waiting messages of one priority.
#[derive(Debug)]
pub struct Level {
    head: Window<Entry>,
    paged: Option<Box<Paged>>,
}

#[derive(Debug)]
struct Paged {
    pages: VecDeque<Slot>,
    between: Window<Entry>,
    tail: Window<Entry>,
    tail_from: u64,
    /// A page of messages that are recovered.
    open: Option<PageBuilder>,
}

/// A page, and what is known of it.
#[derive(Debug)]
pub struct Slot {
    /// The page.
    pub page: Arc<Page>,
    /// Whether its messages were asked for, and what for.
    pub asked: Asked,
    /// When the expiry looks at it.
    pub due: Option<Moment>,
}

/// Why the messages of a page were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// They were not.
    No,
    /// The time of some of them is up; the others may go on as a page.
    ToExpire,
    /// They are the next to leave.
    ToLeave,
}

/// A message of a level.
#[derive(Clone, Copy, Debug)]
pub enum Member<'a> {
    /// A message in memory.
    Here(&'a Entry),
    /// A message in the store.
    Stored(PagedEntry),
}

impl Slot {
    /// A page that nobody asked for.
    #[must_use]
    pub fn new(page: Page) -> Slot {
        let due = page.earliest();
        Slot { page: Arc::new(page), asked: Asked::No, due }
    }

    /// The page is asked for, unless it was before; then, what it was asked for may be more now.
    pub fn ask(&mut self, why: Asked, ask: impl FnOnce(&Arc<Page>)) {
        if self.asked == Asked::No {
            ask(&self.page);
        }
        self.asked = self.asked.max(why);
    }
}

impl Level {
    /// Without messages.
    #[must_use]
    pub fn new() -> Level {
        Level { head: Window::starting_at(1), paged: None }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.paged.as_ref().is_none_or(|paged| paged.is_empty())
    }

    /// Whether the next message is in the store.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.head.is_empty() && self.has_pages()
    }

    /// Whether messages are in the store.
    #[must_use]
    pub fn has_pages(&self) -> bool {
        self.paged.as_ref().is_some_and(|paged| !paged.pages.is_empty())
    }

    /// Messages that leave before the first page does.
    #[must_use]
    pub fn head_len(&self) -> usize {
        self.head.len()
    }

    /// Adds a message behind all others, and says which number it has.
    #[inline(always)]
    pub fn push(&mut self, entry: Entry) -> u64 {
        self.newest().push(entry)
    }

    /// A number behind all others.
    #[inline]
    pub fn reserve(&mut self) -> u64 {
        self.newest().skip()
    }

    /// Puts a message back under its number.
    pub fn put_back(&mut self, number: u64, entry: Entry) {
        self.home(number).insert(number, entry);
    }

    /// Takes the message with that number, if it is in memory.
    pub fn remove(&mut self, number: u64) -> Option<Entry> {
        self.home(number).remove(number)
    }

    /// Takes the oldest message, if it is in memory.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<(u64, Entry)> {
        self.head.pop().or_else(|| self.pop_after_head())
    }

    /// When the oldest message arrived.
    #[must_use]
    pub fn oldest(&self) -> Option<Moment> {
        let first = |window: &Window<Entry>| Some(window.iter().next()?.1.message.arrived());
        let paged = self.paged.as_ref();
        let page = paged.and_then(|paged| paged.pages.front()).map(|slot| slot.page.arrived());
        first(&self.head).or(page).or_else(|| first(&paged?.tail))
    }

    /// What waits, in order.
    pub fn iter(&self) -> impl Iterator<Item = Member<'_>> {
        let head = self.head.iter().map(|(_, entry)| Member::Here(entry));
        let rest = self
            .paged
            .iter()
            .flat_map(|paged| paged.middle().chain(paged.tail.iter().map(|(_, entry)| Member::Here(entry))));
        head.chain(rest)
    }

    /// Whether messages in memory wait for pages before them.
    #[must_use]
    pub fn has_between(&self) -> bool {
        self.paged.as_ref().is_some_and(|paged| !paged.between.is_empty())
    }

    /// The first page.
    #[must_use]
    pub fn first_page(&self) -> Option<&Arc<Page>> {
        Some(&self.paged.as_ref()?.pages.front()?.page)
    }

    /// The pages, the first one first.
    pub fn pages_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.paged.iter_mut().flat_map(|paged| &mut paged.pages)
    }

    /// The page whose first message has that number.
    pub fn page_at(&mut self, first: u64) -> Option<&mut Slot> {
        let pages = &mut self.paged.as_mut()?.pages;
        let at = pages.binary_search_by_key(&first, |slot| slot.page.first()).ok()?;
        pages.get_mut(at)
    }

    /// Takes a page out, and puts one with a part of its messages in its place, if any are left.
    pub fn replace_page(&mut self, first: u64, rest: Option<Slot>) -> Option<Slot> {
        let pages = &mut self.paged.as_mut()?.pages;
        let at = pages.binary_search_by_key(&first, |slot| slot.page.first()).ok()?;
        let old = match rest {
            Some(rest) => Some(std::mem::replace(pages.get_mut(at)?, rest)),
            None => pages.remove(at),
        };
        self.close_up();
        old
    }

    /// How much the next message is; nothing if it is not in memory.
    #[must_use]
    pub fn next_amount(&self) -> Amount {
        let next = self.head.iter().next();
        next.map_or_else(Amount::default, |(_, entry)| Amount {
            messages: 1,
            bytes: entry.message.body_len(),
        })
    }

    /// The messages that stay at the head, which are about `amount`: how much they are, and the number from which
    /// on they are too many. A level that has pages keeps what was read ahead, too.
    #[must_use]
    pub fn head_within(&self, amount: Amount, page: Amount) -> (Amount, Option<u64>) {
        let ahead = if self.paged.is_some() { AHEAD } else { 0 };
        let most = amount + page * ahead;
        let mut head = Amount::default();
        for (number, entry) in self.head.iter() {
            let more = head + Amount { messages: 1, bytes: entry.message.body_len() };
            if !more.is_within(most) {
                return (head, Some(number));
            }
            head = more;
        }
        (head, None)
    }

    /// Makes a page of the oldest messages behind the head, or of the last ones of a head that should end before
    /// `head_end`; none if there are not enough that are in the store.
    pub fn page_out(&mut self, head_end: Option<u64>, cut: &mut Cut<'_>) -> Option<&Slot> {
        if let (None, Some(from)) = (&self.paged, head_end) {
            self.paged = Some(Box::new(Paged::behind(self.head.split_off(from), from)));
        }
        if self.paged.as_mut()?.page_tail(cut) {
            return self.paged.as_ref()?.pages.back();
        }
        let page = self.page_head(head_end?, cut)?;
        let pages = &mut self.paged.as_mut()?.pages;
        pages.push_front(Slot::new(page));
        pages.front()
    }

    /// Adds a message that is in the store behind all others. If that ends a page, says which.
    pub fn recover(&mut self, level: u8, entry: PagedEntry, facts: Facts) -> Option<&Slot> {
        let next = self.newest().next();
        let head = &mut self.head;
        let paged = self.paged.get_or_insert_with(|| Box::new(Paged::behind(head.split_off(next), next)));
        let is_full = paged.open.as_ref().is_some_and(|open| open.is_full_for(facts.body_len, Amount::PAGE));
        let ends = (is_full || !paged.tail.is_empty()) && paged.seal();
        let tail = std::mem::replace(&mut paged.tail, Window::starting_at(next + 1));
        paged.tail_from = next + 1;
        if !tail.is_empty() {
            self.take_in(tail);
        }
        let paged = self.paged.as_mut()?;
        let open = paged.open.get_or_insert_with(|| PageBuilder::new(level));
        open.push(PagedEntry { number: next, ..entry }, facts);
        if ends { paged.pages.back() } else { None }
    }

    /// Ends the last page of messages that were recovered, if it has not ended.
    pub fn recovered(&mut self) -> Option<&Slot> {
        let paged = self.paged.as_mut()?;
        if paged.seal() { paged.pages.back() } else { None }
    }

    /// Takes all pages out.
    pub fn take_pages(&mut self) -> VecDeque<Slot> {
        let pages = self.paged.as_mut().map(|paged| std::mem::take(&mut paged.pages));
        self.close_up();
        pages.unwrap_or_default()
    }

    /// A page of the last messages in the head, none of them before `end`.
    fn page_head(&mut self, end: u64, cut: &mut Cut<'_>) -> Option<Page> {
        let first = cut.last_page(self.head.iter().rev().take_while(|(number, _)| *number >= end))?;
        let mut part = self.head.split_off(first);
        cut.spill(part.iter_mut());
        match cut.page(part.iter()).filter(|page| page.len() == part.len()) {
            Some(page) => {
                cut.forget(part.iter());
                Some(page)
            }
            None => {
                self.take_in(part);
                None
            }
        }
    }

    /// Puts messages back under their numbers.
    fn take_in(&mut self, mut messages: Window<Entry>) {
        while let Some((number, entry)) = messages.pop() {
            self.put_back(number, entry);
        }
    }

    /// Where new messages go.
    #[inline(always)]
    fn newest(&mut self) -> &mut Window<Entry> {
        match &mut self.paged {
            None => &mut self.head,
            Some(paged) => &mut paged.tail,
        }
    }

    /// Where a message with that number belongs, if it is in memory.
    fn home(&mut self, number: u64) -> &mut Window<Entry> {
        match &mut self.paged {
            Some(paged) if number >= paged.begin() => paged.home(number),
            _ => &mut self.head,
        }
    }

    #[cold]
    fn pop_after_head(&mut self) -> Option<(u64, Entry)> {
        let paged = self.paged.take_if(|paged| paged.pages.is_empty() && paged.open.is_none())?;
        self.head = paged.tail;
        self.head.pop()
    }

    /// After pages went: what waited for them between joins the head.
    fn close_up(&mut self) {
        let Some(paged) = &mut self.paged else { return };
        let begin = paged.begin();
        while let Some((number, entry)) = paged.between.pop_until(begin - 1) {
            self.head.insert(number, entry);
        }
    }
}

impl Paged {
    /// No pages, before a tail with numbers from `from` on.
    fn behind(tail: Window<Entry>, from: u64) -> Paged {
        let between = Window::starting_at(1);
        Paged { pages: VecDeque::new(), between, tail, tail_from: from, open: None }
    }

    /// Where a message behind the head belongs.
    fn home(&mut self, number: u64) -> &mut Window<Entry> {
        if number >= self.tail_from { &mut self.tail } else { &mut self.between }
    }

    /// Makes a page of the oldest messages of the tail, if enough are in the store.
    fn page_tail(&mut self, cut: &mut Cut<'_>) -> bool {
        cut.spill(self.tail.iter_mut());
        let Some(page) = cut.page(self.tail.iter()) else { return false };
        cut.forget(self.tail.iter().take(page.len()));
        (0..page.len()).for_each(|_| drop(self.tail.pop()));
        self.tail_from = page.last() + 1;
        self.pages.push_back(Slot::new(page));
        true
    }

    /// Ends the page of messages that are recovered; true if there was one.
    fn seal(&mut self) -> bool {
        let Some(page) = self.open.take().and_then(PageBuilder::finish) else { return false };
        self.pages.push_back(Slot::new(page));
        true
    }

    fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.tail.is_empty() && self.open.is_none()
    }

    /// The number that all in the head are below.
    fn begin(&self) -> u64 {
        self.pages.front().map_or(self.tail_from, |slot| slot.page.first())
    }

    /// The pages and what is between them, in order.
    fn middle(&self) -> impl Iterator<Item = Member<'_>> {
        let mut stored = self.pages.iter().flat_map(|slot| slot.page.entries()).peekable();
        let mut here = self.between.iter().peekable();
        iter::from_fn(move || {
            let next = here.peek().map(|(number, _)| *number);
            match stored.next_if(|entry| next.is_none_or(|next| entry.number < next)) {
                Some(entry) => Some(Member::Stored(entry)),
                None => here.next().map(|(_, entry)| Member::Here(entry)),
            }
        })
    }
}
