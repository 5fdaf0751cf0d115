//! Reading messages where they are: nothing is handed out, moved or counted.

use super::ready::Entry;
use super::{ConsumerKey, History, Queue};
use crate::dead_letter::Reason;
use crate::{Message, Moment, Seq};

/// A message as it lies in the queue.
#[derive(Clone, Debug)]
pub struct Browsed {
    /// Its number in the queue.
    pub seq: Seq,
    /// Itself.
    pub message: Message,
    /// What happened to it before.
    pub history: History,
    /// Where it is.
    pub position: Position,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// It waits for a consumer; it expires then, if ever.
    Ready {
        /// When its time is up.
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
            Browse::Ready => page(self.ready.iter(), skip, count)
                .map(|entry| {
                    browsed(entry, Position::Ready { expires: self.expiry.deadline(&entry.message) })
                })
                .collect(),
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
}

fn browsed(entry: &Entry, position: Position) -> Browsed {
    Browsed { seq: entry.seq, message: entry.message.clone(), history: entry.history, position }
}
