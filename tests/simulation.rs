//! Many clients, queues and a failing store, in one thread and in virtual time, from one number.
//!
//! The broker is driven as it is: peers write AMQP frames, which are handed over in random pieces; deliveries
//! are answered, refused and left alone; connections go without a word, the store fails, the power goes. All
//! the while an oracle holds what the broker writes against what was published:
//!
//! - what was confirmed is delivered after any crash, unharmed, unless it was acked, purged or deleted;
//! - ready + unacked + settled = published, for every queue;
//! - no consumer and no channel has more unacked messages than its limit;
//! - messages of a publisher come in their order, what was requeued before what is newer;
//! - nothing is delivered that was not published, or that is settled, or that another consumer has; tags are
//!   consecutive, and `redelivered` is true exactly for what was handed out before;
//! - when everything has arrived, no message waits that a consumer has room for.
//!
//! `SIMULATION_SEED=7 cargo test --test simulation` runs one seed again; `SIMULATION_SEEDS=1000` runs that
//! many.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod simulation {
    pub mod life;
    pub mod listen;
    pub mod models;
    pub mod oracle;
    pub mod peer;
    pub mod script;
    pub mod setup;
    pub mod wire;
    pub mod world;
}

use simulation::models::Tally;
use simulation::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// As many as take less than a minute in a debug build.
const SEEDS: u64 = 250;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn run(seed: u64) -> Tally {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed);
        world.run();
        world.oracle.tally
    }));
    outcome.unwrap_or_else(|panic| {
        eprintln!("seed {seed} failed; again: SIMULATION_SEED={seed} cargo test --test simulation");
        resume_unwind(panic)
    })
}

#[test]
fn the_promises_hold() {
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let several = seeds.end - seeds.start >= SEEDS;
    let mut all = Tally::default();
    for tally in seeds.map(run) {
        all.add(tally);
    }
    println!("{all:?}");
    // A simulation in which nothing happens holds every promise.
    assert!(!several || all.is_eventful(), "{all:?}");
}
