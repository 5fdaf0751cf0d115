//! How messages move between the parts of a queue. Every way from one part to another is here.

use super::consumers::Turn;
use super::effect::Effect;
use super::letters::Letter;
use super::ready::{Entry, Place};
use super::settings::Overflow;
use super::unacked::HandedOut;
use super::{ConsumerKey, Delivery, History, Queue};
use crate::dead_letter::Reason;
use crate::{DeliveryId, Message, Moment};

/// Messages that are moved in one go when their time has come, so that nobody waits long for the rest of them.
const PORTION: usize = 4096;

impl Queue {
    /// A new message gets its number.
    pub(super) fn enter(&mut self, message: Message, stored: bool) -> Entry {
        let seq = self.next_seq;
        self.next_seq.0 += 1;
        self.counters.published += 1;
        Entry::new(seq, stored, message, History::default())
    }

    /// Into the ready ones, behind the others.
    #[inline(always)]
    pub(super) fn push(&mut self, entry: Entry) {
        let deadline = self.expiry.deadline(&entry.message);
        let place = self.ready.push(entry);
        self.expiry.enter(place, deadline);
    }

    /// Out of the ready ones, the next that is to be handed out; those before it whose time is up die.
    #[inline(always)]
    pub(super) fn pop(&mut self, now: Moment, out: &mut Vec<Effect>) -> Option<(Place, Entry)> {
        loop {
            let (place, entry) = self.ready.pop()?;
            let deadline = self.expiry.leave(place, &entry.message);
            let is_overdue = self.expiry.is_behind && deadline.is_some_and(|at| at < now);
            if !is_overdue {
                return Some((place, entry));
            }
            self.die(entry, Reason::Expired, out);
        }
    }

    /// Back into the ready ones.
    pub(super) fn put_back(&mut self, place: Place, entry: Entry) {
        self.expiry.enter(place, self.expiry.deadline(&entry.message));
        self.ready.put_back(place, entry);
    }

    /// From the ready ones to consumers.
    pub(super) fn hand_out(&mut self, now: Moment, out: &mut Vec<Effect>) {
        while self.ready.has_next()
            && let Some(turn) = self.consumers.take_turn()
        {
            let Some((place, entry)) = self.pop(now, out) else {
                self.consumers.give_back(turn);
                break;
            };
            self.give(turn, place, entry, now, out);
        }
        self.read_ahead_of_consumers(out);
    }

    /// The turn of whoever takes a message that comes now, if it need not wait.
    pub(super) fn turn_without_waiting(&mut self) -> Option<Turn> {
        if self.ready.is_empty() { self.consumers.take_turn() } else { None }
    }

    /// To a consumer.
    #[inline(always)]
    pub(super) fn give(
        &mut self,
        turn: Turn,
        place: Place,
        entry: Entry,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        self.counters.delivered += 1;
        self.counters.delivered_no_ack += u64::from(turn.no_ack);
        let delivery = self.take(place, entry, Some(turn.key), turn.no_ack, now, out);
        out.push(Effect::Deliver { consumer: turn.key, delivery });
    }

    /// Into the unacked ones, or out of the queue; without a consumer by `basic.get`.
    #[inline(always)]
    pub(super) fn take(
        &mut self,
        place: Place,
        entry: Entry,
        consumer: Option<ConsumerKey>,
        no_ack: bool,
        now: Moment,
        out: &mut Vec<Effect>,
    ) -> Delivery {
        let (message, history) = (&entry.message, entry.history);
        if history.is_redelivered() {
            self.counters.redelivered += 1;
        } else {
            self.waits.count(now.0.saturating_sub(message.arrived().0));
        }
        if !no_ack {
            let message = message.clone();
            let timeout_ms = self.timeout_ms(consumer);
            let id = self.unacked.insert(HandedOut { entry, place, consumer, since: now }, timeout_ms);
            return Delivery { id: Some(id), message, history };
        }
        self.counters.settled += 1;
        if entry.is_stored() {
            out.push(Effect::Settled { seq: entry.seq(), message: message.clone() });
        }
        Delivery { id: None, message: entry.message, history }
    }

    /// Out of the unacked ones.
    pub(super) fn take_back(&mut self, id: DeliveryId) -> Option<HandedOut> {
        let handed_out = self.unacked.remove(id)?;
        if self.unacked.has_timeouts()
            && let Some(timeout_ms) = self.timeout_ms(handed_out.consumer)
        {
            self.unacked.forget_timeout(id, handed_out.since, timeout_ms);
        }
        if let Some(key) = handed_out.consumer {
            self.consumers.settled(key);
        }
        Some(handed_out)
    }

    /// From the unacked ones to where a message goes that came back.
    pub(super) fn come_back(
        &mut self,
        place: Place,
        mut entry: Entry,
        is_failure: bool,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        let history = if is_failure { entry.history.failed() } else { entry.history.returned() };
        entry.history = history;
        if self.retry.is_exhausted(history) {
            return self.die(entry, Reason::DeliveryLimit, out);
        }
        self.counters.returned += 1;
        let due = self.retry.delay_ms(is_failure, history).map(|delay_ms| now.after_ms(delay_ms));
        if self.keeps(&entry.message) {
            out.push(Effect::Noted { seq: entry.seq(), message: entry.message.clone(), history, due });
        }
        match due {
            Some(due) => self.wait(due, place, entry),
            None => self.put_back(place, entry),
        }
    }

    /// Into the waiting ones. A message whose time is up before goes to its place then, to expire there.
    pub(super) fn wait(&mut self, due: Moment, place: Place, entry: Entry) {
        let until = self.expiry.deadline(&entry.message).map_or(due, |deadline| due.min(deadline));
        self.waiting.insert(until, place, entry);
    }

    /// From the waiting ones to their places: those that are due, or a portion of them.
    pub(super) fn wake(&mut self, now: Moment) {
        for _ in 0..PORTION {
            let Some((place, entry)) = self.waiting.pop_due(now) else { return };
            self.put_back(place, entry);
        }
    }

    /// A consumer kept a message for too long.
    pub(super) fn time_out(&mut self, id: DeliveryId, now: Moment, out: &mut Vec<Effect>) {
        let timeout_ms = self.unacked.at(id).and_then(|handed_out| self.timeout_ms(handed_out.consumer));
        let Some(HandedOut { entry, place, consumer, .. }) = self.take_back(id) else { return };
        self.counters.timed_out += 1;
        self.come_back(place, entry, false, now, out);
        if let Some(consumer) = consumer.filter(|key| self.cancel(*key, now)) {
            out.push(Effect::TimedOut { consumer, timeout_ms: timeout_ms.unwrap_or_default() });
        }
    }

    /// How long a consumer, or `basic.get`, may keep a message.
    fn timeout_ms(&self, consumer: Option<ConsumerKey>) -> Option<u64> {
        consumer.and_then(|key| self.consumers.timeout_ms(key)).or(self.consumer_timeout_ms)
    }

    /// From the ready ones to the dead: those whose time is up, but not so many that others wait for it. What
    /// is left is due, and is not handed out.
    #[inline(always)]
    pub(super) fn expire(&mut self, now: Moment, out: &mut Vec<Effect>) {
        if !self.expiry.is_empty() {
            self.expire_due(now, out);
        }
    }

    fn expire_due(&mut self, now: Moment, out: &mut Vec<Effect>) {
        for _ in 0..PORTION {
            let Some(place) = self.expiry.pop_due(now) else {
                self.expiry.is_behind = false;
                return;
            };
            match self.ready.remove(place) {
                Some(entry) => self.die(entry, Reason::Expired, out),
                None => self.page_is_due(place, now, out),
            }
        }
        self.expiry.is_behind = true;
    }

    /// From the ready ones to the dead: what is too much.
    pub(super) fn drop_excess(&mut self, out: &mut Vec<Effect>) {
        while self.limits.overflow(&self.ready) {
            let Some((place, entry)) = self.ready.pop_least() else { return self.read_least(out) };
            self.expiry.leave(place, &entry.message);
            self.die(entry, Reason::MaxLength, out);
        }
    }

    /// Whether a new message would not wait at all, so that limits do not matter to it.
    pub(super) fn passes_through(&self) -> bool {
        self.ready.is_empty() && self.consumers.is_waiting()
    }

    /// A new message that is not taken in.
    pub(super) fn refuse(&mut self, message: Message, out: &mut Vec<Effect>) {
        self.counters.refused += 1;
        if self.limits.overflow == Overflow::RejectPublishDlx && self.dead_letters.is_some() {
            let entry = self.enter(message, false);
            self.send(Letter { entry, reason: Reason::MaxLength }, out);
        }
    }

    /// To the dead-letter exchange, or, if there is none, out of the queue.
    pub(super) fn die(&mut self, entry: Entry, reason: Reason, out: &mut Vec<Effect>) {
        if self.dead_letters.is_some() {
            return self.send(Letter { entry, reason }, out);
        }
        self.counters.dropped.count(reason);
        if reason == Reason::DeliveryLimit {
            out.push(Effect::Dropped { message: entry.message.clone(), history: entry.history });
        }
        self.settle(entry, out);
    }

    fn send(&mut self, letter: Letter, out: &mut Vec<Effect>) {
        let (message, reason) = (letter.entry.message.clone(), letter.reason);
        let letter = self.letters.insert(letter);
        out.push(Effect::Died { letter, message, reason });
    }

    /// Out of the queue, and, if the store has it, out of there.
    pub(super) fn settle(&mut self, entry: Entry, out: &mut Vec<Effect>) {
        self.counters.settled += 1;
        if entry.is_stored() {
            out.push(Effect::Settled { seq: entry.seq(), message: entry.message });
        }
    }

    /// Whether a message of this queue survives a restart.
    pub(super) fn keeps(&self, message: &Message) -> bool {
        self.durable && message.persistent()
    }
}
