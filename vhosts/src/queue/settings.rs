//! What a queue does besides keeping messages in order, as it was declared.
//!
//! Plain values, already checked: where they come from (arguments, policies) and how RabbitMQ spells them is
//! not known here. [`Settings::default`] is a queue that does nothing of all this.

use crate::Name;

/// What a queue does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Milliseconds that a message may wait (`x-message-ttl`).
    pub message_ttl_ms: Option<u64>,
    /// Milliseconds that the queue may be unused (`x-expires`).
    pub expires_ms: Option<u64>,
    /// Where messages go that die here (`x-dead-letter-exchange`); none: they are dropped.
    pub dead_letter: Option<DeadLetterTo>,
    /// How many messages may be ready, and what happens when there are more.
    pub limits: Limits,
    /// Which levels of priority there are.
    pub priorities: Priorities,
    /// Only one consumer at a time is served (`x-single-active-consumer`).
    pub single_active_consumer: bool,
    /// What happens to messages that come back.
    pub retry: Retry,
    /// Milliseconds that a consumer may keep a message unacked (`x-consumer-timeout`), unless it says itself.
    pub consumer_timeout_ms: Option<u64>,
    /// When a persistent message counts as safe (`x-sync-mode`).
    pub sync_mode: SyncMode,
}

/// When a publisher may be told that a persistent message is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// When it would survive a loss of power.
    #[default]
    Sync,
    /// When it would survive the end of the process; a loss of power may take what was published in the last
    /// moments.
    Relaxed,
}

/// Where dead messages go.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterTo {
    /// The exchange; it may be missing.
    pub exchange: Name,
    /// Their routing key from then on (`x-dead-letter-routing-key`); none: they keep their own.
    pub routing_key: Option<Box<[u8]>>,
    /// A message that finds no queue there waits until it does (`x-dead-letter-strategy`), instead of being
    /// dropped.
    pub at_least_once: bool,
}

/// How many ready messages there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Messages (`x-max-length`).
    pub max_length: Option<u64>,
    /// Bytes of their bodies (`x-max-length-bytes`).
    pub max_length_bytes: Option<u64>,
    /// What happens to what is too much (`x-overflow`).
    pub overflow: Overflow,
}

/// What happens to what is too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest message of the lowest priority goes, as a dead letter if there is an exchange for it.
    #[default]
    DropHead,
    /// The new message is refused.
    RejectPublish,
    /// The new message is refused, and goes as a dead letter.
    RejectPublishDlx,
}

/// Levels of priority. A message with a higher one than there is has the highest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Priorities {
    /// The highest level (`x-max-priority`); 0: there is only one.
    pub max: u8,
    /// The level of messages that name none.
    pub default: u8,
}

/// What happens to messages that come back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retry {
    /// A message dies when it failed more often than that (`x-delivery-limit`).
    pub delivery_limit: Option<u32>,
    /// Which of them wait before they are ready again (`x-delayed-retry-type`).
    pub delayed: Delayed,
    /// How long they wait.
    pub schedule: Schedule,
}

/// Which messages wait before they are ready again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delayed {
    /// None.
    #[default]
    Disabled,
    /// All that come back.
    All,
    /// Those that failed: `basic.reject`, and unacked messages of a channel that ended.
    Failed,
    /// Those that were given back: `basic.nack`, `basic.recover`, a consumer timeout.
    Returned,
}

/// How long a message waits. The attempt is how often it failed, or came back.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// `min_ms` × attempt, at most `max_ms`; as RabbitMQ 4.3, where the attempt counts failures only.
    Linear {
        /// The first wait (`x-delayed-retry-min`).
        min_ms: u64,
        /// The longest (`x-delayed-retry-max`).
        max_ms: u64,
    },
    /// `min_ms` × multiplier ^ (attempt - 1), at most `max_ms`; the attempt counts every return.
    Exponential {
        /// The first wait.
        min_ms: u64,
        /// How much longer each is than the one before (`x-delayed-retry-multiplier`); at least 1.
        multiplier: f64,
        /// The longest.
        max_ms: u64,
    },
    /// One after the other, the last again and again (`x-delayed-retry-levels`); never empty. The attempt
    /// counts every return.
    Levels(Box<[u64]>),
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule::Linear { min_ms: 0, max_ms: 0 }
    }
}
