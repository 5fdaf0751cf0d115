//! How messages in memory become pages.
//!
//! A message can be left to the store when it is there. One that never was, because it is transient, is given to
//! the store first ([`Effect::Spill`]), and becomes a part of a page in one of the next tries.

use super::effect::Effect;
use super::expiry::Expiry;
use super::page::{Facts, PAGE_BYTES, PAGE_MESSAGES, Page, PageBuilder, PagedEntry};
use super::ready::{Entry, Place};
use crate::Message;
use std::ops::{Add, Div, Mul};

/// Messages, and bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl Amount {
    /// A whole page.
    pub const PAGE: Amount = Amount { messages: PAGE_MESSAGES as u64, bytes: PAGE_BYTES };

    /// Whether it is at most that much, in both.
    #[must_use]
    #[inline]
    pub fn is_within(self, most: Amount) -> bool {
        self.messages <= most.messages && self.bytes <= most.bytes
    }

    /// The smaller of each.
    #[must_use]
    pub fn min(self, other: Amount) -> Amount {
        Amount { messages: self.messages.min(other.messages), bytes: self.bytes.min(other.bytes) }
    }

    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Amount) -> Amount {
        Amount { messages: self.messages.max(other.messages), bytes: self.bytes.max(other.bytes) }
    }

    /// What is left when that much is gone.
    #[must_use]
    pub fn without(self, less: Amount) -> Amount {
        let messages = self.messages.saturating_sub(less.messages);
        Amount { messages, bytes: self.bytes.saturating_sub(less.bytes) }
    }
}

impl Add for Amount {
    type Output = Amount;

    fn add(self, more: Amount) -> Amount {
        let bytes = self.bytes.saturating_add(more.bytes);
        Amount { messages: self.messages.saturating_add(more.messages), bytes }
    }
}

impl Mul<u64> for Amount {
    type Output = Amount;

    fn mul(self, times: u64) -> Amount {
        let bytes = self.bytes.saturating_mul(times);
        Amount { messages: self.messages.saturating_mul(times), bytes }
    }
}

impl Div<u64> for Amount {
    type Output = Amount;

    fn div(self, parts: u64) -> Amount {
        Amount { messages: self.messages / parts, bytes: self.bytes / parts }
    }
}

/// One go at making pages of messages of one level after the other.
pub struct Cut<'a> {
    /// The level.
    pub level: u8,
    /// A page is at most that much.
    pub page: Amount,
    /// Says where the store has a message.
    pub place: &'a mut dyn FnMut(&Message) -> Option<crate::Place>,
    /// When messages expire.
    pub expiry: &'a mut Expiry,
    /// What the shell must do.
    pub out: &'a mut Vec<Effect>,
}

impl Cut<'_> {
    /// Pages with a smaller part than that of the messages of a whole one, and of its bytes, are not worth it.
    const LEAST_PART: u64 = 16;

    /// Gives those of the first messages to the store that it does not have, as many as are in a page.
    pub fn spill<'e>(&mut self, entries: impl Iterator<Item = &'e mut Entry>) {
        let first = entries.take(self.page.messages as usize);
        for entry in first.filter(|entry| !entry.is_stored()) {
            // Other queues that have the message may give it to the store too, each for itself.
            entry.message = entry.message.detached();
            entry.mark_stored();
            self.out.push(Effect::Spill { seq: entry.seq(), message: entry.message.clone() });
        }
    }

    /// A page of the first messages, up to one that is not in the store yet; none if that is too little.
    pub fn page<'e>(&mut self, entries: impl Iterator<Item = (u64, &'e Entry)>) -> Option<Page> {
        let mut builder = PageBuilder::new(self.level);
        for (number, entry) in entries {
            let message = &entry.message;
            if builder.is_full_for(message.body_len(), self.page) {
                break;
            }
            let Some(place) = (self.place)(message) else { break };
            let (arrived, deadline) = (message.arrived(), self.expiry.deadline(message));
            let facts = Facts { body_len: message.body_len(), arrived, deadline };
            builder.push(PagedEntry { seq: entry.seq(), number, place, history: entry.history }, facts);
        }
        let Amount { messages, bytes } = self.page / Cut::LEAST_PART;
        let is_worth_it = builder.amount().messages >= messages || builder.amount().bytes >= bytes;
        if is_worth_it { builder.finish() } else { None }
    }

    /// The number of the last of these messages, of which the newest comes first, that would fit in a page.
    pub fn last_page<'e>(&self, entries: impl Iterator<Item = (u64, &'e Entry)>) -> Option<u64> {
        let (mut amount, mut first) = (Amount::default(), None);
        for (number, entry) in entries {
            amount = amount + Amount { messages: 1, bytes: entry.message.body_len() };
            if first.is_some() && !amount.is_within(self.page) {
                break;
            }
            first = Some(number);
        }
        first
    }

    /// The expiry watches the page from now on, not these messages.
    pub fn forget<'e>(&mut self, entries: impl Iterator<Item = (u64, &'e Entry)>) {
        for (number, entry) in entries {
            self.expiry.leave(Place::new(self.level, number), &entry.message);
        }
    }
}
