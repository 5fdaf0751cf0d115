//! Reading messages where they are: nothing is handed out, moved or counted.

use super::level::Member;
use super::page::PagedEntry;
use super::ready::Entry;
use super::{ConsumerKey, History, Queue};
use crate::dead_letter::Reason;
use crate::{Message, Moment, Place, Seq};

/// A message as it lies in the queue.
#[derive(Clone, Debug)]
pub struct Browsed {
    /// Its number in the queue.
    pub seq: Seq,
    /// Itself, or where it is.
    pub message: Where,
    /// What happened to it before.
    pub history: History,
    /// What it waits for.
    pub position: Position,
}

/// A message, or what to read it from.
#[derive(Clone, Debug)]
pub enum Where {
    /// It is in memory.
    Here(Message),
    /// It is in the store alone.
    Stored(Place),
}

impl Where {
    /// The message, if it is in memory.
    #[must_use]
    pub fn here(&self) -> Option<&Message> {
        match self {
            Where::Here(message) => Some(message),
            Where::Stored(_) => None,
        }
    }
}

/// What a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// It waits for a consumer; it expires then, if ever.
    Ready {
        /// When its time is up; not known of one that is in the store alone, see [`Queue::expires`].
        expires: Option<Moment>,
    },
    /// It was handed out.
    Unacked {
        /// To whom; none: it was taken by `basic.get`.
        consumer: Option<ConsumerKey>,
        /// When.
        since: Moment,
    },
    /// It waits to become ready again.
    Delayed {
        /// When it will.
        due: Moment,
    },
    /// It died, and is on its way to the dead-letter exchange.
    DeadLettered {
        /// Why it died.
        reason: Reason,
    },
}

/// Which messages to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browse {
    /// Those that wait for a consumer, in the order in which they will be handed out.
    Ready,
    /// Those that were handed out, in that order.
    Unacked,
    /// Those that wait to become ready again, the next one first.
    Delayed,
    /// Those on their way to the dead-letter exchange, in the order of their deaths.
    DeadLettered,
}

impl Queue {
    /// At most `count` messages, without the first `skip`. Takes time for those that are skipped, too.
    #[must_use]
    pub fn browse(&self, which: Browse, skip: usize, count: usize) -> Vec<Browsed> {
        fn page<T>(all: impl Iterator<Item = T>, skip: usize, count: usize) -> impl Iterator<Item = T> {
            all.skip(skip).take(count)
        }
        match which {
            Browse::Ready => {
                page(self.ready.iter(), skip, count).map(|member| self.browsed_ready(member)).collect()
            }
            Browse::Unacked => page(self.unacked.iter(), skip, count)
                .map(|out| {
                    browsed(&out.entry, Position::Unacked { consumer: out.consumer, since: out.since })
                })
                .collect(),
            Browse::Delayed => self
                .waiting
                .page(skip, count)
                .into_iter()
                .map(|(due, entry)| browsed(entry, Position::Delayed { due }))
                .collect(),
            Browse::DeadLettered => page(self.letters.iter(), skip, count)
                .map(|letter| browsed(&letter.entry, Position::DeadLettered { reason: letter.reason }))
                .collect(),
        }
    }

    /// When the time of a message is up if it waits in this queue.
    #[must_use]
    pub fn expires(&self, message: &Message) -> Option<Moment> {
        self.expiry.deadline(message)
    }

    fn browsed_ready(&self, member: Member<'_>) -> Browsed {
        match member {
            Member::Here(entry) => browsed(entry, Position::Ready { expires: self.expires(&entry.message) }),
            Member::Stored(PagedEntry { seq, place, history, .. }) => {
                let position = Position::Ready { expires: None };
                Browsed { seq, message: Where::Stored(place), history, position }
            }
        }
    }
}

fn browsed(entry: &Entry, position: Position) -> Browsed {
    let message = Where::Here(entry.message.clone());
    Browsed { seq: entry.seq(), message, history: entry.history, position }
}
