//! Publisher confirms of all channels of a connection (RabbitMQ, "Consumer Acknowledgements and Publisher
//! Confirms").
//!
//! Publishes are numbered per channel. What one batch published becomes one entry, cut where a queue refused
//! a publish: up to this number, once the log is safe up to that position. Positions grow, so entries are
//! answered from the front, many messages with one `basic.ack multiple` or `basic.nack multiple`.
//!
//! Invariants:
//! - positions in `waiting` never fall; a number is answered once, and not before its position;
//! - the numbers of a channel are answered in their order, so that `multiple` speaks of no other publish than
//!   those of its entry. A client that takes it for "all up to here" is right.

use super::command::LogPosition;
use std::collections::VecDeque;

/// Numbers of publishes on a confirm channel.
#[derive(Debug, Default)]
pub struct Tags {
    /// Publishes that came in.
    published: u64,
    /// Of those, the ones that were handed to the broker.
    handed: u64,
    /// Of those that were not, the ones that a queue refused.
    rejected: Vec<u64>,
}

impl Tags {
    /// Counts a publish and says its number.
    pub fn publish(&mut self) -> u64 {
        self.published += 1;
        self.published
    }

    /// Whether everything was handed to the broker.
    #[must_use]
    pub fn all_handed(&self) -> bool {
        self.published == self.handed
    }

    /// A queue refused a publish. It counts unless it was handed over before.
    pub fn reject(&mut self, tag: u64) {
        if (self.handed + 1..=self.published).contains(&tag) {
            self.rejected.push(tag);
        }
    }

    /// Everything was handed over. Gives `run` the numbers since last time, first and last, cut where the
    /// answer changes.
    pub fn hand_over(&mut self, mut run: impl FnMut((u64, u64), Verdict)) {
        let mut next = self.handed + 1;
        // Several queues may refuse one publish.
        self.rejected.sort_unstable();
        self.rejected.dedup();
        for tag in self.rejected.drain(..) {
            if next < tag {
                run((next, tag - 1), Verdict::Accepted);
            }
            run((tag, tag), Verdict::Rejected);
            next = tag + 1;
        }
        if next <= self.published {
            run((next, self.published), Verdict::Accepted);
        }
        self.handed = self.published;
    }
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken (`basic.ack`).
    Accepted,
    /// A queue refused it (`basic.nack`).
    Rejected,
}

/// What waits to be confirmed.
#[derive(Debug, Default)]
pub struct Confirms {
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    position: LogPosition,
    channel: u16,
    /// The first and last publish of it.
    tags: (u64, u64),
    verdict: Verdict,
}

/// A confirm to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// The channel.
    pub channel: u16,
    /// The last publish that it speaks of.
    pub tag: u64,
    /// Whether it speaks of more than one.
    pub multiple: bool,
    /// Of how many it speaks.
    pub count: u64,
    /// What became of them.
    pub verdict: Verdict,
}

impl Confirms {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The publishes `tags` of a channel will be safe when the log is safe up to `position`; `None` when they
    /// need no log. They stay behind what waits already: a multiple ack must not run ahead.
    pub fn push(&mut self, channel: u16, tags: (u64, u64), verdict: Verdict, position: Option<LogPosition>) {
        let last = self.waiting.back().map(|waiting| waiting.position).unwrap_or_default();
        let position = position.unwrap_or_default().max(last);
        match self.waiting.back_mut() {
            Some(back) if back.position == position && back.is_continued(channel, verdict) => {
                back.tags.1 = tags.1;
            }
            _ => self.waiting.push_back(Waiting { position, channel, tags, verdict }),
        }
    }

    /// The next confirm, now that the log is safe up to `position`.
    pub fn pop(&mut self, position: LogPosition) -> Option<Confirm> {
        let safe = |waiting: &mut Waiting| waiting.position <= position;
        let Waiting { channel, mut tags, verdict, .. } = self.waiting.pop_front_if(safe)?;
        while let Some(next) =
            self.waiting.pop_front_if(|next| next.is_continued(channel, verdict) && safe(next))
        {
            tags.1 = next.tags.1;
        }
        let count = tags.1 - tags.0 + 1;
        Some(Confirm { channel, tag: tags.1, multiple: count > 1, count, verdict })
    }

    /// The channel is gone; nobody waits for its confirms any more.
    pub fn forget(&mut self, channel: u16) {
        self.waiting.retain(|waiting| waiting.channel != channel);
    }
}

impl Waiting {
    /// Whether one confirm can speak of this and of its neighbour.
    fn is_continued(&self, channel: u16, verdict: Verdict) -> bool {
        self.channel == channel && self.verdict == verdict
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Accepted, Rejected};
    use super::*;
    use proptest::prelude::*;

    fn ack(tag: u64, count: u64) -> Option<Confirm> {
        Some(Confirm { channel: 1, tag, multiple: count > 1, count, verdict: Accepted })
    }

    #[test]
    fn one_ack_for_what_is_safe() {
        let mut confirms = Confirms::default();
        confirms.push(1, (1, 3), Accepted, Some(LogPosition(5)));
        confirms.push(1, (4, 4), Accepted, Some(LogPosition(6)));
        confirms.push(1, (5, 9), Accepted, Some(LogPosition(7)));
        assert_eq!(confirms.pop(LogPosition(4)), None);
        assert_eq!(confirms.pop(LogPosition(6)), ack(4, 4));
        assert_eq!(confirms.pop(LogPosition(6)), None);
        assert_eq!(confirms.pop(LogPosition(7)), ack(9, 5));
    }

    #[test]
    fn what_needs_no_log_waits_behind_what_does() {
        let mut confirms = Confirms::default();
        confirms.push(1, (1, 1), Accepted, None);
        assert_eq!(confirms.pop(LogPosition(0)), ack(1, 1));
        confirms.push(1, (2, 2), Accepted, Some(LogPosition(3)));
        confirms.push(1, (3, 3), Rejected, None);
        assert_eq!(confirms.pop(LogPosition(2)), None);
        confirms.forget(1);
        assert!(confirms.is_empty());
    }

    proptest! {
        /// However batches fall and whenever the log is safe: a client that answers all up to a tag when it is
        /// told `multiple` ends up with what became of each publish.
        #[test]
        fn each_publish_gets_its_own_verdict(
            batches in prop::collection::vec((prop::collection::vec(any::<bool>(), 0..6), 0..4u64, any::<bool>()), 0..20),
        ) {
            let (mut tags, mut confirms) = (Tags::default(), Confirms::default());
            let (mut expected, mut told, mut log) = (Vec::new(), Vec::new(), 0);
            let mut counted = 0;
            for (publishes, safe, stored) in batches {
                log += 1;
                for rejected in publishes {
                    let tag = tags.publish();
                    expected.push(if rejected { Rejected } else { Accepted });
                    (0..u8::from(rejected) * 2).for_each(|_| tags.reject(tag));
                    tags.reject(tag + 1);
                }
                tags.hand_over(|run, verdict| confirms.push(1, run, verdict, stored.then_some(LogPosition(log))));
                while let Some(confirm) = confirms.pop(LogPosition(log.saturating_sub(safe))) {
                    let outstanding = confirm.tag as usize - told.len();
                    prop_assert!(confirm.multiple || outstanding == 1);
                    told.extend(std::iter::repeat_n(confirm.verdict, outstanding));
                    counted += confirm.count;
                }
                prop_assert!(expected.starts_with(&told));
            }
            while let Some(confirm) = confirms.pop(LogPosition(log)) {
                told.resize(confirm.tag as usize, confirm.verdict);
                counted += confirm.count;
            }
            prop_assert_eq!(told, expected);
            prop_assert_eq!(counted, tags.published);
        }
    }
}
