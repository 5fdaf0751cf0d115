//! A crash behind every operation of the store's log, for each feature of a queue.
//!
//! Each scenario is told over the wire, in virtual time and on a store that is stepped by hand. It is lived
//! once to count the operations of the log, and then again and again, each time up to the next operation:
//! there the power goes, a broker starts on what is left, and is held against what was promised before:
//!
//! - what was confirmed is somewhere, unless a consumer took it: in its queue, or where its letters come to;
//! - what the log has as settled is nowhere, and nothing appears that was never published, or was refused;
//! - a transaction is there as a whole or not at all;
//! - messages know how often they came back, wait until they are due, and expire when their time is up;
//! - their order is the same, and no queue has too many of them;
//! - what is taken out after the restart stays out, also over another crash.
//!
//! What a failure prints says how to repeat it; see `crash_points/crash.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod crash_points {
    pub mod acts;
    pub mod aftermath;
    pub mod answers;
    pub mod conversation;
    pub mod crash;
    pub mod ledger;
    pub mod letters;
    pub mod plan;
    pub mod queues;
    #[path = "../simulation/setup.rs"]
    pub mod setup;
    #[path = "../simulation/wire.rs"]
    pub mod wire;
    pub mod world;
}

use crash_points::crash::at_every_operation;
use crash_points::{answers, letters, queues};

/// A test for each scenario, of the same name.
macro_rules! scenarios {
    ($($file:ident: $($name:ident)*;)*) => {
        $($(
            #[test]
            fn $name() {
                at_every_operation(stringify!($name), $file::$name);
            }
        )*)*
    };
}

scenarios! {
    letters: message_ttl rejected too_many refused delivery_limit two_hops insisting refused_as_letters
        expires_while_it_waits;
    answers: delayed_retry counts priorities one_of_several_acks commit roll_back reject_in_a_transaction
        copies_in_a_transaction letters_of_a_transaction stopped_and_started;
    queues: unused deleted_and_declared_again purged;
}
