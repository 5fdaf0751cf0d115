//! The arguments of queues: one row each.
//!
//! The order is RabbitMQ's order of checking, and that of comparing a classic queue. Arguments that RabbitMQ
//! has for one type only work on both; those that have no effect on one node are checked, and taken for the
//! types for which RabbitMQ takes them.

use super::QueueType;
use super::QueueType::{Classic, Quorum};
use super::argument::Argument;
use super::delayed_retry::DelayedRetry;
use super::value::{boolean, duration_ms, integer, name, natural, short_text, size, text, timeout_ms};
use crate::Name;
use crate::queue::settings::{DeadLetterTo, Overflow, Priorities, Retry, Settings, SyncMode};
use crate::refusal::Flaw;

pub const QUEUE_TYPE: &str = "x-queue-type";
pub const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";

/// How often a message of a quorum queue may fail when nothing is said, as in RabbitMQ; but only where it
/// then becomes a dead letter. Without an exchange for these, RabbitMQ's default would lose messages.
const DELIVERY_LIMIT_DEFAULT: u32 = 20;

/// The highest level of a quorum queue.
const QUORUM_PRIORITY_MAX: u8 = 31;

/// The level of messages of a quorum queue that name none.
const QUORUM_PRIORITY_DEFAULT: u8 = 4;

/// What the arguments ask for, one by one.
#[derive(Default)]
pub struct Wanted {
    /// Where one argument is one setting.
    plain: Settings,
    dead_letter_exchange: Option<Name>,
    dead_letter_routing_key: Option<Box<[u8]>>,
    at_least_once: bool,
    max_priority: Option<u8>,
    delivery_limit: Option<i64>,
    delayed_retry: DelayedRetry,
}

/// Every argument that is known. A row may look at what the rows above it took.
pub const ARGUMENTS: [Argument<Wanted>; 31] = [
    Argument::of_all("x-expires", |value, wanted| {
        // Zero before negative, as in RabbitMQ; a queue that is gone at once is no queue.
        if integer(value)? == 0 {
            return Err(Flaw::Zero);
        }
        set(&mut wanted.plain.expires_ms, duration_ms(value))
    }),
    Argument::of_all("x-message-ttl", |value, wanted| {
        set(&mut wanted.plain.message_ttl_ms, duration_ms(value))
    }),
    Argument::of_all(DEAD_LETTER_EXCHANGE, |value, wanted| {
        set(&mut wanted.dead_letter_exchange, name(value).map(Name::from))
    }),
    Argument::of_all("x-dead-letter-routing-key", |value, wanted| {
        let key = short_text(value)?;
        if wanted.dead_letter_exchange.is_none() {
            return Err(Flaw::RoutingKeyWithoutExchange);
        }
        set(&mut wanted.dead_letter_routing_key, Ok(key.into()))
    }),
    Argument::of_all("x-dead-letter-strategy", |value, wanted| {
        wanted.at_least_once = match text(value)? {
            b"at-most-once" => false,
            b"at-least-once" => true,
            _ => return Err(Flaw::DeadLetterStrategy),
        };
        Ok(())
    }),
    Argument::of_all("x-max-length", |value, wanted| {
        set(&mut wanted.plain.limits.max_length, natural(value))
    }),
    Argument::of_all("x-max-length-bytes", |value, wanted| {
        set(&mut wanted.plain.limits.max_length_bytes, natural(value))
    }),
    // RabbitMQ keeps no messages of quorum queues in memory any more, and takes these still.
    Argument::only(Quorum, "x-max-in-memory-length", |value, _| natural(value).map(drop)),
    Argument::only(Quorum, "x-max-in-memory-bytes", |value, _| natural(value).map(drop)),
    Argument::of_all("x-max-priority", |value, wanted| {
        let max = natural(value)?;
        set(&mut wanted.max_priority, u8::try_from(max).map_err(|_| Flaw::MaxExceeded(max)))
    }),
    Argument::of_all("x-overflow", |value, wanted| {
        wanted.plain.limits.overflow = match text(value)? {
            b"drop-head" => Overflow::DropHead,
            b"reject-publish" => Overflow::RejectPublish,
            b"reject-publish-dlx" => Overflow::RejectPublishDlx,
            _ => return Err(Flaw::Overflow),
        };
        Ok(())
    }),
    // Lazy or not was a choice once. RabbitMQ does not look at the value either.
    Argument::only(Classic, "x-queue-mode", |_, _| Ok(())),
    Argument::only(Classic, "x-queue-version", |value, _| match natural(value)? {
        2 => Ok(()),
        version => Err(Flaw::UnsupportedQueueVersion(version)),
    }),
    Argument::of_all("x-single-active-consumer", |value, wanted| {
        wanted.plain.single_active_consumer = boolean(value)?;
        Ok(())
    }),
    Argument::of_all("x-consumer-timeout", |value, wanted| {
        wanted.plain.consumer_timeout_ms = timeout_ms(value)?;
        Ok(())
    }),
    // There is no other node that a consumer could be on.
    Argument::only(Quorum, "x-consumer-disconnected-timeout", |value, _| natural(value).map(drop)),
    // Looked at before all others; in the table to be compared.
    Argument::of_all(QUEUE_TYPE, |value, _| QueueType::parse(value).map(drop)),
    // On one node there is one place for a queue.
    Argument::only(Quorum, "x-quorum-initial-group-size", |value, _| size(value).map(drop)),
    Argument::only(Classic, "x-queue-master-locator", |value, _| match text(value)? {
        b"client-local" | b"min-masters" | b"random" => Ok(()),
        _ => Err(Flaw::QueueLocator),
    }),
    Argument::of_all("x-queue-leader-locator", |value, _| match text(value)? {
        b"client-local" | b"balanced" => Ok(()),
        _ => Err(Flaw::QueueLocator),
    }),
    // As in RabbitMQ, what is no integer counts as unsaid.
    Argument::of_all("x-delivery-limit", |value, wanted| {
        wanted.delivery_limit = integer(value).ok();
        Ok(())
    }),
    Argument::of_all("x-delayed-retry-min", |value, wanted| wanted.delayed_retry.take_min(value)),
    Argument::of_all("x-delayed-retry-max", |value, wanted| wanted.delayed_retry.take_max(value)),
    Argument::of_all("x-delayed-retry-multiplier", |value, wanted| {
        wanted.delayed_retry.take_multiplier(value)
    }),
    Argument::of_all("x-delayed-retry-levels", |value, wanted| wanted.delayed_retry.take_levels(value)),
    Argument::of_all("x-delayed-retry-type", |value, wanted| wanted.delayed_retry.take_type(value)),
    // Ours alone.
    Argument::of_all("x-sync-mode", |value, wanted| {
        wanted.plain.sync_mode = match text(value)? {
            b"sync" => SyncMode::Sync,
            b"relaxed" => SyncMode::Relaxed,
            _ => return Err(Flaw::SyncMode),
        };
        Ok(())
    }),
    Argument::of_streams("x-max-age"),
    Argument::of_streams("x-stream-max-segment-size-bytes"),
    Argument::of_streams("x-stream-filter-size-bytes"),
    Argument::of_streams("x-initial-cluster-size"),
];

fn set<T>(place: &mut Option<T>, value: Result<T, Flaw>) -> Result<(), Flaw> {
    *place = Some(value?);
    Ok(())
}

impl Wanted {
    /// Together, with what a queue of that type does when nothing is said.
    pub fn settings(self, queue_type: QueueType) -> Settings {
        let delivery_limit = self.delivery_limit(queue_type);
        let dead_letter = self.dead_letter_exchange.map(|exchange| DeadLetterTo {
            exchange,
            routing_key: self.dead_letter_routing_key,
            at_least_once: self.at_least_once,
        });
        let (delayed, schedule) = self.delayed_retry.schedule();
        Settings {
            dead_letter,
            priorities: priorities(queue_type, self.max_priority),
            retry: Retry { delivery_limit, delayed, schedule },
            ..self.plain
        }
    }

    /// A negative limit is none.
    fn delivery_limit(&self, queue_type: QueueType) -> Option<u32> {
        match self.delivery_limit {
            Some(limit) if limit < 0 => None,
            Some(limit) => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
            None => (queue_type == Quorum && self.dead_letter_exchange.is_some())
                .then_some(DELIVERY_LIMIT_DEFAULT),
        }
    }
}

/// A classic queue has the levels that it was declared with; a quorum queue has 32, or fewer if it says so.
fn priorities(queue_type: QueueType, max: Option<u8>) -> Priorities {
    match queue_type {
        Classic => Priorities { max: max.unwrap_or(0), default: 0 },
        Quorum => {
            let max = max.map_or(QUORUM_PRIORITY_MAX, |max| max.min(QUORUM_PRIORITY_MAX));
            Priorities { max, default: QUORUM_PRIORITY_DEFAULT.min(max) }
        }
    }
}
