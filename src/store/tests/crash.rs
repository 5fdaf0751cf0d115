//! Loss of power and kills at every operation of a run.

use super::super::testing::{Fault, MemoryDisk};
use super::broker::{Act, Broker, acts};
use super::check::End;
use super::{append, define, message, opened, recovered, settle, settle_down, targets};
use ::vhosts::Moment;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// What a broker did up to an operation of its disk.
fn run(acts: &[Act], seed: u64, crash_at: Option<u64>) -> Broker {
    let disk = MemoryDisk::new(seed);
    let mut broker = Broker::open(&disk);
    let faults = disk.faults();
    crash_at.into_iter().for_each(|at| faults.fail_at(at, Fault::Crash));
    for act in acts {
        broker.act(act);
        if faults.is_crashed() {
            return broker;
        }
    }
    for _ in 0..1_000 {
        if faults.is_crashed() || broker.step() {
            break;
        }
        broker.now = broker.stepper.deadline().map_or(broker.now, |at| at.max(broker.now));
    }
    broker
}

#[test]
fn nothing_safe_is_lost_wherever_the_power_goes() {
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) });
    let outcome = runner.run(&(acts(120), any::<u64>()), |(acts, seed)| {
        let opening = run(&[], seed, None).disk.faults().operations();
        let operations = run(&acts, seed, None).disk.faults().operations();
        for operation in opening..operations {
            let broker = run(&acts, seed ^ operation, Some(operation));
            broker.check(&broker.disk.power_loss(seed.wrapping_add(operation)), End::PowerLoss);
            broker.check(&broker.disk.killed(), End::Killed);
        }
        Ok(())
    });
    outcome.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn nothing_safe_is_lost_in_any_loss_of_power(acts in acts(150), seeds in prop::collection::vec(any::<u64>(), 4)) {
        let broker = run(&acts, seeds[0], None);
        for seed in seeds {
            broker.check(&broker.disk.power_loss(seed), End::PowerLoss);
        }
    }
}

/// A start that is cut short, and the next one.
#[test]
fn a_start_may_end_anywhere() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = opened(&disk);
    let messages: Vec<_> = (0..120).map(|seq| message(&[(1, seq)], 300)).collect();
    for (seq, message) in (0..).zip(&messages) {
        let key = format!("{}", seq % 7);
        committer
            .commit(&mut vec![append(message, &[(1, seq)]), define(&[(&key, Some("value"))])], Moment(0));
    }
    let acks = (0..).zip(&messages).filter(|(seq, _)| seq % 5 > 0);
    committer.commit(&mut acks.map(|(seq, message)| settle(message, (1, seq))).collect(), Moment(0));
    committer.commit(&mut Vec::new(), Moment(100));
    for operation in 0.. {
        let left = disk.killed();
        let first = left.faults().operations() + operation;
        left.faults().fail_at(first, Fault::Crash);
        if let Ok((mut committer, _)) = super::recover_with(Box::new(left.clone()), super::SMALL) {
            for now in 0..40 {
                committer.commit(&mut Vec::new(), Moment(now * 100));
            }
        }
        let (committer, recovery) = opened(&left.power_loss(operation));
        let found: Vec<_> = recovered(&recovery, &committer.reader()).into_keys().collect();
        assert!(found.into_iter().eq((0..120).step_by(5).map(|seq| (1, seq))), "operation {operation}");
        assert_eq!((recovery.definitions.len(), recovery.torn), (7, None));
        if !left.faults().is_crashed() {
            assert!(operation > 10);
            return;
        }
    }
}

#[test]
fn what_is_settled_in_time_is_never_written() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = opened(&disk);
    settle_down(&mut committer, Moment(0));
    let before = disk.faults().operations();
    for seq in 0..100 {
        let message = message(&[(1, seq)], 100);
        let mut ops = vec![append(&message, &[(1, seq)]), settle(&message, (1, seq))];
        if seq % 2 == 0 {
            ops.reverse();
        }
        assert!(committer.commit(&mut ops, Moment(seq)));
    }
    assert_eq!((committer.figures().written, committer.figures().spared), (0, 100));
    assert_eq!((disk.faults().operations(), committer.early_len()), (before, 0));
}

#[test]
fn a_torn_write_at_the_end_is_no_damage() {
    for seed in 0..100 {
        let disk = MemoryDisk::new(seed);
        let (mut committer, _) = opened(&disk);
        committer.commit(&mut vec![append(&message(&[(1, 1)], 1_000), &[(1, 1)])], Moment(0));
        let operations = disk.faults().operations();
        disk.faults().fail_at(operations + 1, Fault::Crash);
        let many: Vec<_> = (2..8).map(|seq| message(&[(1, seq)], 700)).collect();
        committer.commit(
            &mut (2..).zip(&many).map(|(seq, message)| append(message, &[(1, seq)])).collect(),
            Moment(0),
        );
        let (committer, recovery) = opened(&disk.power_loss(seed));
        assert_eq!(recovery.torn, None, "seed {seed}");
        assert!(targets(&recovery).contains(&(1, 1)));
        recovered(&recovery, &committer.reader());
    }
}
