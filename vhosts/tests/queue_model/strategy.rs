//! Random settings and operations. Numbers are small, so that limits are met and moments coincide.

use crate::said::Published;
use proptest::prelude::*;
use proptest::sample::Index;
use vhosts::Name;
use vhosts::queue::settings::{DeadLetterTo, Delayed, Limits, Overflow, Priorities, Retry, Schedule};
use vhosts::queue::{Browse, Carried, ConsumerSpec, History, Outcome, Residency, Settings};

/// What can happen to a queue.
#[derive(Clone, Debug)]
pub enum Op {
    Publish {
        what: Published,
        /// How long ago it arrived.
        lag_ms: u64,
    },
    Consume(ConsumerSpec),
    Deliver,
    Cancel(Index),
    Get {
        no_ack: bool,
    },
    Answer(Index, Outcome),
    /// To a delivery that is not unacked.
    AnswerUnknown(u8),
    Grant(Index, u8),
    Carried(Index, Carried),
    Purge,
    Touch,
    /// Time goes by, and nobody looks.
    Wait(u64),
    /// The deadline comes, some milliseconds ago.
    Deadline {
        late_ms: u64,
    },
    /// Time goes by, then the queue is ticked.
    Tick(u64),
    Browse(Browse, usize, usize),
}

/// A message from before a restart.
#[derive(Clone, Debug)]
pub struct Old {
    pub what: Published,
    pub age_ms: u64,
    pub history: History,
    pub due_in_ms: Option<u64>,
}

/// How a queue is paged.
#[derive(Clone, Debug)]
pub struct Paged {
    /// What may be in memory.
    pub keep: Residency,
    /// How many operations it takes until the store has a message; again and again.
    pub delays: Vec<u64>,
    /// Whether what was stored before a restart is not read at once.
    pub stored: bool,
}

pub fn paged() -> impl Strategy<Value = Paged> {
    let keep = (1_u64..10, prop_oneof![2 => Just(1000_u64), 1 => 1_u64..60]);
    let keep = keep.prop_map(|(messages, bytes)| Residency { messages, bytes });
    let delays = prop::collection::vec(prop_oneof![3 => Just(0_u64), 1 => 1_u64..6], 1..6);
    (keep, delays, any::<bool>()).prop_map(|(keep, delays, stored)| Paged { keep, delays, stored })
}

fn sometimes<T: Strategy + 'static>(probability: f64, value: T) -> impl Strategy<Value = Option<T::Value>>
where
    T::Value: Clone,
{
    prop::option::weighted(probability, value)
}

pub fn settings() -> impl Strategy<Value = Settings> {
    let dead_letter = any::<bool>().prop_map(|at_least_once| DeadLetterTo {
        exchange: Name::from("dead"),
        routing_key: None,
        at_least_once,
    });
    let times = (sometimes(0.3, 0_u64..30), sometimes(0.2, 1_u64..100), sometimes(0.3, 0_u64..30));
    let rest = (sometimes(0.5, dead_letter), limits(), priorities(), prop::bool::weighted(0.3), retry());
    (times, rest).prop_map(|(times, (dead_letter, limits, priorities, single_active_consumer, retry))| {
        let (message_ttl_ms, expires_ms, consumer_timeout_ms) = times;
        Settings {
            message_ttl_ms,
            expires_ms,
            dead_letter,
            limits,
            priorities,
            single_active_consumer,
            retry,
            sync_mode: Default::default(),
            consumer_timeout_ms,
        }
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let overflow = prop_oneof![
        2 => Just(Overflow::DropHead), 1 => Just(Overflow::RejectPublish), 1 => Just(Overflow::RejectPublishDlx)
    ];
    (sometimes(0.3, 0_u64..6), sometimes(0.2, 0_u64..40), overflow).prop_map(
        |(max_length, max_length_bytes, overflow)| Limits { max_length, max_length_bytes, overflow },
    )
}

fn priorities() -> impl Strategy<Value = Priorities> {
    let levels = prop_oneof![4 => Just(0_u8), 3 => 1_u8..6, 1 => Just(255)];
    (levels, 0_u8..8).prop_map(|(max, default)| Priorities { max, default })
}

fn retry() -> impl Strategy<Value = Retry> {
    let delayed = prop_oneof![
        3 => Just(Delayed::Disabled), 1 => Just(Delayed::All), 1 => Just(Delayed::Failed), 1 => Just(Delayed::Returned)
    ];
    let multiplier = prop_oneof![Just(1.0), Just(1.5), Just(2.0)];
    let schedule = prop_oneof![
        (0_u64..10, 0_u64..20).prop_map(|(min_ms, max_ms)| Schedule::Linear { min_ms, max_ms }),
        (0_u64..10, multiplier, 0_u64..40).prop_map(|(min_ms, multiplier, max_ms)| {
            Schedule::Exponential { min_ms, multiplier, max_ms }
        }),
        prop::collection::vec(0_u64..20, 1..4).prop_map(|levels| Schedule::Levels(levels.into())),
    ];
    (sometimes(0.4, 0_u32..3), delayed, schedule).prop_map(|(delivery_limit, delayed, schedule)| Retry {
        delivery_limit,
        delayed,
        schedule,
    })
}

fn published() -> impl Strategy<Value = Published> {
    (any::<bool>(), sometimes(0.6, 0_u8..8), sometimes(0.25, 0_u64..20), 0_u8..12).prop_map(
        |(persistent, priority, expiration_ms, len)| Published { persistent, priority, expiration_ms, len },
    )
}

pub fn old() -> impl Strategy<Value = Old> {
    (published(), 0_u64..20, 0_u32..4, 0_u32..4, sometimes(0.3, 0_u64..20)).prop_map(
        |(what, age_ms, failed, more, due_in_ms)| {
            let history = History { acquired: failed + more, failed, uncertain: false };
            Old { what: Published { persistent: true, ..what }, age_ms, history, due_in_ms }
        },
    )
}

fn spec() -> impl Strategy<Value = ConsumerSpec> {
    let flags = (prop::bool::weighted(0.3), prop::bool::weighted(0.05));
    (flags, 0_u16..4, 0_u32..6, -1_i32..=1, sometimes(0.2, 0_u64..20)).prop_map(
        |((no_ack, exclusive), prefetch, credit, priority, timeout_ms)| ConsumerSpec {
            no_ack,
            exclusive,
            prefetch,
            credit,
            priority,
            timeout_ms,
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Settle),
        1 => Just(Outcome::Reject),
        2 => Just(Outcome::Return),
        2 => Just(Outcome::Fail),
        1 => Just(Outcome::Undelivered),
    ]
}

fn browse() -> impl Strategy<Value = Op> {
    let which = prop_oneof![
        Just(Browse::Ready),
        Just(Browse::Unacked),
        Just(Browse::Delayed),
        Just(Browse::DeadLettered)
    ];
    (which, 0_usize..5, 0_usize..5).prop_map(|(which, skip, count)| Op::Browse(which, skip, count))
}

pub fn op() -> impl Strategy<Value = Op> {
    let at = any::<Index>;
    let carried = prop_oneof![Just(Carried::Arrived), Just(Carried::Stranded), Just(Carried::Cycle)];
    let lag_ms = prop_oneof![4 => Just(0), 1 => 0_u64..5];
    prop_oneof![
        14 => (published(), lag_ms).prop_map(|(what, lag_ms)| Op::Publish { what, lag_ms }),
        4 => spec().prop_map(Op::Consume),
        4 => Just(Op::Deliver),
        1 => at().prop_map(Op::Cancel),
        2 => any::<bool>().prop_map(|no_ack| Op::Get { no_ack }),
        10 => (at(), outcome()).prop_map(|(at, outcome)| Op::Answer(at, outcome)),
        1 => any::<u8>().prop_map(Op::AnswerUnknown),
        3 => (at(), 0_u8..4).prop_map(|(at, credit)| Op::Grant(at, credit)),
        3 => (at(), carried).prop_map(|(at, carried)| Op::Carried(at, carried)),
        1 => Just(Op::Purge),
        1 => Just(Op::Touch),
        3 => (0_u64..6).prop_map(Op::Wait),
        4 => prop_oneof![2 => Just(0), 1 => 0_u64..5].prop_map(|late_ms| Op::Deadline { late_ms }),
        2 => prop_oneof![4 => 0_u64..10, 1 => Just(6_000)].prop_map(Op::Tick),
        1 => browse(),
    ]
}
