//! Random runs of the store in one thread, beside a naive model that knows what must, may and must not be
//! recovered.

use super::super::testing::MemoryDisk;
use super::broker::{Broker, acts};
use super::check::End;
use super::{opened, targets};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn a_clean_stop_keeps_exactly_what_is_ready(acts in acts(200), seed: u64) {
        let disk = MemoryDisk::new(seed);
        let mut broker = Broker::open(&disk);
        acts.iter().for_each(|act| broker.act(act));
        broker.close();
        let (_, recovery) = opened(&disk.power_loss(seed));
        let facts = &broker.submitted;
        let expected = facts.appended.difference(&facts.settled);
        let expected: Vec<_> = expected.filter(|target| !broker.spilled.contains(target)).copied().collect();
        prop_assert_eq!(targets(&recovery), expected);
        broker.check(&disk.power_loss(seed), End::Killed);
    }

    #[test]
    fn nothing_safe_is_lost_over_several_lives(lives in prop::collection::vec((acts(120), 0..3_u8), 1..4), seed: u64) {
        let mut disk = MemoryDisk::new(seed);
        for (acts, end) in lives {
            let mut broker = Broker::open(&disk);
            acts.iter().for_each(|act| broker.act(act));
            broker.look();
            let end = match end {
                0 => {
                    broker.close();
                    End::Killed
                }
                1 => End::Killed,
                _ => End::PowerLoss,
            };
            let left = if end == End::Killed { disk.killed() } else { disk.power_loss(seed) };
            broker.check(&left.killed(), end);
            disk = left;
        }
    }

    #[test]
    fn what_is_ready_can_be_read_when_all_is_quiet(acts in acts(300), seed: u64) {
        let disk = MemoryDisk::new(seed);
        let mut broker = Broker::open(&disk);
        for act in &acts {
            broker.act(act);
        }
        broker.settle_down();
        broker.look();
        broker.check(&disk.power_loss(seed), End::Killed);
    }
}
