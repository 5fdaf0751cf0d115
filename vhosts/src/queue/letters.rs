//! Dead messages on their way to the dead-letter exchange.
//!
//! A message stays here, and in the store, until the shell says that its targets have it; so whatever happens
//! in between, it is in one place or the other. Where the queue demands it (`x-dead-letter-strategy`), one
//! that found no queue stays, and is tried again after [`RETRY_MS`].
//!
//! Invariant: a letter is in `letters` from its death to the answer that ends it.

use super::deadlines::Deadlines;
use super::ready::Entry;
use crate::Moment;
use crate::dead_letter::Reason;
use crate::window::Window;

/// Milliseconds until a letter that nobody took is tried again.
pub const RETRY_MS: u64 = 5_000;

/// Names a dead message of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub u64);

/// A dead message.
#[derive(Debug)]
pub struct Letter {
    /// The message, as it was in the queue.
    pub entry: Entry,
    /// Why it died.
    pub reason: Reason,
}

/// The letters of one queue.
#[derive(Debug)]
pub struct Letters {
    letters: Window<Letter>,
    retries: Deadlines<LetterId>,
}

impl Letters {
    /// None yet.
    #[must_use]
    pub fn new() -> Letters {
        Letters { letters: Window::starting_at(1), retries: Deadlines::default() }
    }

    /// Letters on their way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    /// A message died.
    pub fn insert(&mut self, letter: Letter) -> LetterId {
        LetterId(self.letters.push(letter))
    }

    /// The letter has arrived, or is given up.
    pub fn remove(&mut self, id: LetterId) -> Option<Letter> {
        self.letters.remove(id.0)
    }

    /// The letter is to be tried again later.
    pub fn postpone(&mut self, id: LetterId, now: Moment) {
        if self.letters.at(id.0).is_some() {
            self.retries.insert(now.after_ms(RETRY_MS), id);
        }
    }

    /// When the first letter is to be tried again.
    #[must_use]
    pub fn first_retry(&self) -> Option<Moment> {
        self.retries.first()
    }

    /// A letter that is to be tried again now.
    pub fn pop_due(&mut self, now: Moment) -> Option<(LetterId, &Letter)> {
        let id = self.retries.pop_due(now)?;
        Some((id, self.letters.at(id.0)?))
    }

    /// Takes out the oldest letter.
    pub fn pop(&mut self) -> Option<Letter> {
        self.retries.clear();
        self.letters.pop().map(|(_, letter)| letter)
    }

    /// The letters, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Letter> {
        self.letters.iter().map(|(_, letter)| letter)
    }
}
