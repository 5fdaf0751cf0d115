//! What happens to messages that come back: how often they may fail, and how long they wait before they are
//! ready again (RabbitMQ, "Quorum Queues", delivery limit and delayed retry).
//!
//! Invariant: `bytes` is the sum of the bodies of the waiting messages.

use super::History;
use super::radix_heap::RadixHeap;
use super::ready::{Entry, Place};
use super::settings::{Delayed, Retry, Schedule};
use crate::Moment;

impl Retry {
    /// Whether a message failed too often to be tried again.
    #[must_use]
    pub(super) fn is_exhausted(&self, history: History) -> bool {
        self.delivery_limit.is_some_and(|limit| history.failed > limit)
    }

    /// Milliseconds until a message that came back, by a failure or not, is ready again; none: at once.
    #[must_use]
    pub(super) fn delay_ms(&self, is_failure: bool, history: History) -> Option<u64> {
        let delays = match self.delayed {
            Delayed::Disabled => false,
            Delayed::All => true,
            Delayed::Failed => is_failure,
            Delayed::Returned => !is_failure,
        };
        delays.then(|| self.schedule.delay_ms(history)).filter(|delay_ms| *delay_ms > 0)
    }
}

impl Schedule {
    fn delay_ms(&self, history: History) -> u64 {
        match self {
            Schedule::Linear { min_ms, max_ms } => {
                min_ms.saturating_mul(history.failed.max(1).into()).min(*max_ms)
            }
            Schedule::Exponential { min_ms, multiplier, max_ms } => {
                let grown = *min_ms as f64 * multiplier.powf(f64::from(history.acquired.max(1) - 1));
                // A conversion from a float saturates.
                (grown as u64).min(*max_ms)
            }
            Schedule::Levels(levels) => {
                let attempt = history.acquired.max(1) as usize;
                levels.get(attempt - 1).or(levels.last()).copied().unwrap_or_default()
            }
        }
    }
}

/// Messages that wait to become ready again.
#[derive(Debug, Default)]
pub struct Waiting {
    messages: RadixHeap<Place, Entry>,
    bytes: u64,
}

impl Waiting {
    /// Messages that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Bytes of their bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the first of them is due.
    #[must_use]
    pub fn first(&self) -> Option<Moment> {
        self.messages.first().map(Moment)
    }

    /// A message waits until it is due; then it goes to its place.
    pub fn insert(&mut self, due: Moment, place: Place, entry: Entry) {
        self.bytes += entry.message.body_len();
        self.messages.push(due.0, place, entry);
    }

    /// Takes out a message that is due.
    pub fn pop_due(&mut self, now: Moment) -> Option<(Place, Entry)> {
        let (_, place, entry) = self.messages.pop_due(now.0)?;
        self.bytes -= entry.message.body_len();
        Some((place, entry))
    }

    /// Takes out all messages, whether they are due or not.
    pub fn drain(&mut self) -> impl Iterator<Item = Entry> + use<> {
        self.bytes = 0;
        self.messages.drain()
    }

    /// At most `count` messages by the time that they are due, without the first `skip`.
    #[must_use]
    pub fn page(&self, skip: usize, count: usize) -> Vec<(Moment, &Entry)> {
        self.messages.page(skip, count).into_iter().map(|(due, entry)| (Moment(due), entry)).collect()
    }
}
