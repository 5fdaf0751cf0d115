//! Publisher confirms of all channels of a connection (RabbitMQ, "Consumer Acknowledgements and Publisher
//! Confirms").
//!
//! Publishes are numbered per channel. What one batch published becomes one entry: up to this number, once
//! the log is safe up to that position. Positions grow, so entries are confirmed from the front, many
//! messages with one `basic.ack multiple`.
//!
//! Invariant: positions in `waiting` never fall; a number is confirmed once, and not before its position.

use super::command::LogPosition;
use std::collections::VecDeque;

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
}

/// A confirm to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// The channel.
    pub channel: u16,
    /// The last confirmed publish.
    pub tag: u64,
    /// Whether it confirms more than one.
    pub multiple: bool,
    /// How many it confirms.
    pub count: u64,
}

impl Confirms {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The publishes `tags` of a channel will be safe when the log is safe up to `position`; `None` when they
    /// need no log. They stay behind what waits already: a multiple ack must not run ahead.
    pub fn push(&mut self, channel: u16, tags: (u64, u64), position: Option<LogPosition>) {
        let last = self.waiting.back().map(|waiting| waiting.position).unwrap_or_default();
        let position = position.unwrap_or_default().max(last);
        match self.waiting.back_mut() {
            Some(back) if back.channel == channel && back.position == position => back.tags.1 = tags.1,
            _ => self.waiting.push_back(Waiting { position, channel, tags }),
        }
    }

    /// The next confirm, now that the log is safe up to `position`.
    pub fn pop(&mut self, position: LogPosition) -> Option<Confirm> {
        let safe = |waiting: &mut Waiting| waiting.position <= position;
        let Waiting { channel, mut tags, .. } = self.waiting.pop_front_if(safe)?;
        while let Some(next) = self.waiting.pop_front_if(|next| next.channel == channel && safe(next)) {
            tags.1 = next.tags.1;
        }
        let count = tags.1 - tags.0 + 1;
        Some(Confirm { channel, tag: tags.1, multiple: count > 1, count })
    }

    /// The channel is gone; nobody waits for its confirms any more.
    pub fn forget(&mut self, channel: u16) {
        self.waiting.retain(|waiting| waiting.channel != channel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ack_for_what_is_safe() {
        let mut confirms = Confirms::default();
        confirms.push(1, (1, 3), Some(LogPosition(5)));
        confirms.push(1, (4, 4), Some(LogPosition(6)));
        confirms.push(1, (5, 9), Some(LogPosition(7)));
        assert_eq!(confirms.pop(LogPosition(4)), None);
        assert_eq!(
            confirms.pop(LogPosition(6)),
            Some(Confirm { channel: 1, tag: 4, multiple: true, count: 4 })
        );
        assert_eq!(confirms.pop(LogPosition(6)), None);
        assert_eq!(
            confirms.pop(LogPosition(7)),
            Some(Confirm { channel: 1, tag: 9, multiple: true, count: 5 })
        );
    }

    #[test]
    fn what_needs_no_log_waits_behind_what_does() {
        let mut confirms = Confirms::default();
        confirms.push(1, (1, 1), None);
        assert_eq!(
            confirms.pop(LogPosition(0)),
            Some(Confirm { channel: 1, tag: 1, multiple: false, count: 1 })
        );
        confirms.push(1, (2, 2), Some(LogPosition(3)));
        confirms.push(1, (3, 3), None);
        assert_eq!(confirms.pop(LogPosition(2)), None);
        confirms.forget(1);
        assert!(confirms.is_empty());
    }
}
