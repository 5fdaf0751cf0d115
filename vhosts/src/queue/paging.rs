//! A queue whose middle is in the store alone.
//!
//! A deep queue keeps its first and its newest messages in memory. Of those between, it keeps pages: where in the
//! store they are. The shell says when there is too much ([`Queue::wants_paging`], [`Queue::page_out`]); the
//! queue asks for a page when it needs its messages ([`Effect::Fetch`]), ahead of its consumers while it has
//! some, and the shell answers with [`Queue::fetched`], sooner or later and in any order.
//!
//! Invariants: a page that was asked for is not asked for again until that is answered; a page is watched by
//! the expiry as its first place, and none of its messages is.

use super::cut::{Amount, Cut};
use super::effect::Effect;
use super::level::Member;
use super::level::{Asked, Slot};
use super::page::{Facts, Page, PageBuilder, PagedEntry};
use super::ready::{Entry, Place};
use super::{History, Queue};
use crate::dead_letter::Reason;
use crate::{Message, Moment, Seq};
use std::iter;
use std::sync::Arc;

/// Milliseconds until a page that could not be read is asked for again.
pub const REREAD_MS: u64 = 1_000;
/// A message that has no more milliseconds to live stays in memory when its page was read for the sake of
/// others, so that a page is not read for each of its messages.
const SOON_MS: u64 = 10_000;
/// Pages that are made in one go.
const PAGES: usize = 4;
/// Pages that are read ahead of the consumers.
const AHEAD: usize = 2;
/// Messages that come until it is looked again whether the store has those that it did not have.
const LOOK_AGAIN: u64 = 1024;

/// How much of a queue may be in memory. It should be room for several pages.
pub type Residency = Amount;

/// A message that is in the store since before a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Its number in the queue.
    pub seq: Seq,
    /// Where the store has it.
    pub place: crate::Place,
    /// Bytes of its body.
    pub body_len: u64,
    /// When it came.
    pub arrived: Moment,
    /// Its own time to live (`expiration`), in milliseconds.
    pub expiration_ms: Option<u64>,
    /// Its `priority`.
    pub priority: Option<u8>,
    /// What happened to it before.
    pub history: History,
}

/// What a queue remembers of its tries to become smaller, and of the store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paging {
    /// As soon as so many messages came, or so many bytes are in memory, another try is worth it.
    next_try: Amount,
    /// The store could not read a page: it is not asked until then.
    rests_until: Option<Moment>,
}

impl Paging {
    /// When the store is asked again.
    #[must_use]
    pub fn rests_until(&self) -> Option<Moment> {
        self.rests_until
    }
}

impl Queue {
    /// Whether so much more than `keep` is ready in memory that it is worth it to [`page_out`](Self::page_out).
    #[must_use]
    #[inline]
    pub fn wants_paging(&self, keep: Residency) -> bool {
        let resident = self.ready.resident();
        let Amount { messages, bytes } = self.paging.next_try;
        !resident.is_within(keep) && (self.came() >= messages || resident.bytes >= bytes)
    }

    /// Whether the first ready message is in memory alone, so that to page it out costs writing it.
    #[must_use]
    pub fn starts_unstored(&self) -> bool {
        let first = self.ready.iter().next();
        first.is_some_and(|first| matches!(first, Member::Here(entry) if !entry.is_stored()))
    }

    /// Leaves ready messages to the store, except for about the first quarter of `keep`, until half of it is in
    /// memory or a portion is done. `place` says where the store has a message, if it has it already.
    pub fn page_out(
        &mut self,
        keep: Residency,
        place: &mut dyn FnMut(&Message) -> Option<crate::Place>,
        out: &mut Vec<Effect>,
    ) {
        let page = (keep / 4).min(Amount::PAGE);
        let page = Amount { messages: page.messages.max(1), bytes: page.bytes };
        let mut cut = Cut { level: 0, page, place, expiry: &mut self.expiry, out };
        let goes_on = self.ready.page_out(keep / 4, keep / 2, PAGES, &mut cut);
        self.paging.next_try = if goes_on { Amount::default() } else { self.later(keep) };
    }

    /// Another try is worth it when some more is in memory.
    fn later(&self, keep: Residency) -> Amount {
        let some = (keep / 8).min(Amount { messages: LOOK_AGAIN, ..keep });
        let now = Amount { messages: self.came(), bytes: self.ready.resident().bytes };
        now + Amount { messages: some.messages.max(1), bytes: some.bytes.max(1) }
    }

    /// Messages that became ready, at some time.
    #[inline]
    fn came(&self) -> u64 {
        self.counters.published + self.counters.returned
    }

    /// Takes back a message that was stored before a restart and is not read, behind those that came back
    /// before. After the last one follows [`recovered`](Self::recovered).
    pub fn recover_stored(&mut self, stored: Stored) {
        let Stored { seq, place, body_len, arrived, expiration_ms, priority, history } = stored;
        self.next_seq = self.next_seq.max(Seq(seq.0 + 1));
        self.counters.published += 1;
        let deadline = self.expiry.deadline_of(arrived, expiration_ms);
        let entry = PagedEntry { seq, number: 0, place, history };
        let page = self.ready.recover(priority, entry, Facts { body_len, arrived, deadline });
        if let Some(slot) = page {
            self.expiry.enter(place_of(&slot.page), slot.due);
        }
    }

    /// All messages came back that were stored before a restart. To be called before anything else is done.
    pub fn recovered(&mut self) {
        for slot in self.ready.recovered() {
            self.expiry.enter(place_of(&slot.page), slot.due);
        }
    }

    /// The messages of a page, in the order of its [entries](Page::entries); none: it can not be read, and is
    /// given up. A page that is not in the queue any more is ignored.
    pub fn fetched(
        &mut self,
        page: &Arc<Page>,
        messages: Vec<Option<Message>>,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        let Some(asked) = self.ready.slot_of(page).map(|slot| slot.asked) else { return };
        let (mut unreadable, mut here, mut rest) = (Vec::new(), Vec::new(), PageBuilder::new(page.level()));
        let messages = messages.into_iter().chain(iter::repeat_with(|| None));
        for (index, (paged, message)) in (0..).zip(page.entries().zip(messages)) {
            let Some(message) = message else {
                unreadable.push(index);
                continue;
            };
            let deadline = self.expiry.deadline(&message);
            let is_due_by = |then: Moment| deadline.is_some_and(|at| at <= then);
            if asked == Asked::ToLeave || is_due_by(now.after_ms(SOON_MS)) {
                let entry = Entry::new(paged.seq, true, message, paged.history);
                here.push((Place::new(page.level(), paged.number), entry, is_due_by(now)));
            } else {
                let (body_len, arrived) = (message.body_len(), message.arrived());
                rest.push(paged, Facts { body_len, arrived, deadline });
            }
        }
        self.replace_page(page, rest);
        self.give_up(page, unreadable, out);
        for (place, entry, is_overdue) in here {
            if is_overdue {
                self.die(entry, Reason::Expired, out);
            } else {
                self.put_back(place, entry);
            }
        }
        self.deliver(now, out);
    }

    /// A page can not be read for now. It is asked for again later, if it is still needed then.
    pub fn fetch_failed(&mut self, page: &Arc<Page>, now: Moment) {
        let Some(slot) = self.ready.slot_of(page) else { return };
        let then = now.after_ms(REREAD_MS);
        slot.asked = Asked::No;
        if slot.due.is_none() && page.earliest().is_some() {
            slot.due = Some(then);
            self.expiry.enter(place_of(page), Some(then));
        }
        self.paging.rests_until = Some(then);
    }

    /// Whether the next message is in the store alone. Then [`get`](Self::get) has asked for it, and can be
    /// called again when it is fetched.
    #[must_use]
    pub fn is_next_paged(&self) -> bool {
        self.ready.is_stalled()
    }

    /// The page that the next message is in, if it is in the store alone. Whoever asks reads it, also while the
    /// store is left alone otherwise.
    #[must_use]
    pub fn next_page(&mut self) -> Option<Arc<Page>> {
        let page = self.ready.next_page()?;
        if let Some(slot) = self.ready.slot_of(&page) {
            slot.ask(Asked::ToLeave, |_| {});
        }
        Some(page)
    }

    /// Ready messages that are in the store alone.
    #[must_use]
    pub fn paged(&self) -> Amount {
        self.ready.paged()
    }

    /// Ready messages that are in memory.
    #[must_use]
    pub fn resident(&self) -> Amount {
        self.ready.resident()
    }

    /// The store is asked again if it rested for long enough.
    pub(super) fn end_rest(&mut self, now: Moment) {
        self.paging.rests_until.take_if(|until| *until <= now);
    }

    /// The next pages that leave are asked for, at most so many.
    pub(super) fn read_ahead(&mut self, pages: usize, out: &mut Vec<Effect>) {
        if self.paging.rests_until.is_none() {
            self.ready.ask_ahead(pages, |page| out.push(Effect::Fetch { page: page.clone() }));
        }
    }

    /// While there are consumers, the pages that they need next are asked for.
    #[inline]
    pub(super) fn read_ahead_of_consumers(&mut self, out: &mut Vec<Effect>) {
        if self.ready.paged().messages > 0 && !self.consumers.is_empty() {
            self.read_ahead(AHEAD, out);
        }
    }

    /// The message that is too much is asked for.
    pub(super) fn read_least(&mut self, out: &mut Vec<Effect>) {
        if self.paging.rests_until.is_none() {
            self.ready.ask_least(|page| out.push(Effect::Fetch { page: page.clone() }));
        }
    }

    /// The time of the first message of a page is up: the page is read, unless all of its messages can be dropped.
    pub(super) fn page_is_due(&mut self, place: Place, now: Moment, out: &mut Vec<Effect>) {
        let Some(slot) = self.ready.page_at(place) else { return };
        slot.due = None;
        let all_are_overdue = slot.page.latest().is_some_and(|at| at <= now);
        if self.dead_letters.is_some() || !all_are_overdue {
            return slot.ask(Asked::ToExpire, |page| out.push(Effect::Fetch { page: page.clone() }));
        }
        let page = slot.page.clone();
        self.ready.replace_page(&page, None);
        self.counters.dropped.expired += page.len() as u64;
        self.settle_page(page, out);
    }

    /// All pages leave the queue.
    pub(super) fn purge_pages(&mut self, out: &mut Vec<Effect>) {
        for page in self.ready.take_pages() {
            self.settle_page(page, out);
        }
    }

    fn settle_page(&mut self, page: Arc<Page>, out: &mut Vec<Effect>) {
        self.counters.settled += page.len() as u64;
        out.push(Effect::SettledPaged { page, which: None });
    }

    /// Some messages of a page, named by their order in it, are not to be had any more.
    fn give_up(&mut self, page: &Arc<Page>, which: Vec<u32>, out: &mut Vec<Effect>) {
        if !which.is_empty() {
            self.counters.unreadable += which.len() as u64;
            self.counters.settled += which.len() as u64;
            out.push(Effect::SettledPaged { page: page.clone(), which: Some(which.into()) });
        }
    }

    /// What is left of a page takes its place, if anything is.
    fn replace_page(&mut self, page: &Page, rest: PageBuilder) {
        let rest = rest.finish().map(Slot::new);
        let enters = rest.as_ref().map(|rest| (place_of(&rest.page), rest.due));
        if let Some(due) = self.ready.replace_page(page, rest).and_then(|old| old.due) {
            self.expiry.forget(place_of(page), due);
        }
        if let Some((place, due)) = enters {
            self.expiry.enter(place, due);
        }
    }
}

fn place_of(page: &Page) -> Place {
    Place::new(page.level(), page.first())
}
