//! The queue machine equals a naive model of a queue, in everything that it says and counts, after every
//! operation of a random sequence in virtual time.
//!
//! `QUEUE_MODEL_CASES` is the number of sequences. A failing one is made as short as possible and printed,
//! and its seed is kept in `vhosts/proptest-regressions/queue_model.txt`, from where it is tried first in
//! the next run.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod consumers;
mod late;
mod model;
mod pair;
mod said;
mod store;
mod strategy;

use pair::Pair;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const CASES: u32 = 10_000;

fn config() -> ProptestConfig {
    let cases = std::env::var("QUEUE_MODEL_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let kept = FileFailurePersistence::Direct("proptest-regressions/queue_model.txt");
    ProptestConfig { cases, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_queue_equals_its_model(
        settings in strategy::settings(),
        durable in any::<bool>(),
        recovered in prop::collection::vec(strategy::old(), 0..5),
        ops in prop::collection::vec(strategy::op(), 0..60),
    ) {
        let mut pair = Pair::new(settings, durable);
        pair.recover(&recovered)?;
        for op in &ops {
            pair.apply(op)?;
        }
        pair.clear()?;
    }

    /// Whenever the store answers.
    #[test]
    fn a_queue_waits_for_its_store(
        dead_letters in any::<bool>(),
        paged in strategy::paged(),
        ops in prop::collection::vec(late::op(), 0..200),
    ) {
        let mut late = late::Late::new(&late::settings(dead_letters), paged);
        for op in &ops {
            late.apply(op)?;
        }
        late.drain()?;
    }

    /// However little of it is in memory.
    #[test]
    fn a_paged_queue_equals_its_model(
        settings in strategy::settings(),
        durable in any::<bool>(),
        paged in strategy::paged(),
        recovered in prop::collection::vec(strategy::old(), 0..20),
        ops in prop::collection::vec(strategy::op(), 0..60),
    ) {
        let mut pair = Pair::paged(settings, durable, paged);
        pair.recover(&recovered)?;
        for op in &ops {
            pair.apply_paged(op)?;
        }
        pair.clear()?;
    }
}
