//! Loss of power and failing disks, at every operation of a run.

use super::super::testing::{Disk, FailingLog, FailurePlan};
use super::super::{Op, Store, StoreError};
use super::model::{Act, Broker, acts};
use super::{append, message, recovered, settle};
use ::vhosts::{Moment, QueueId};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn run(acts: &[Act], plan: &FailurePlan) -> (Broker, Disk) {
    let disk = Disk::default();
    let mut broker = Broker::new(&disk, plan);
    acts.iter().for_each(|act| broker.act(act));
    (broker, disk)
}

#[test]
fn nothing_safe_is_lost_wherever_the_disk_fails() {
    assert!(Store::manual(FailingLog::new(Disk::default().log(), FailurePlan::at(0))).is_err());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(40));
    let strategy = (acts(), any::<prop::sample::Index>(), any::<bool>());
    let outcome = runner.run(&strategy, |(acts, kept, torn)| {
        let plan = FailurePlan::never();
        drop(run(&acts, &plan));
        // The first operation belongs to opening an empty disk.
        for operation in 1..plan.operations() {
            let (broker, disk) = run(&acts, &FailurePlan::at(operation));
            disk.crash(kept.index(disk.unsynced() + 1), torn);
            assert!(broker.has_failed());
            broker.check(&disk);
        }
        Ok(())
    });
    outcome.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_safe_is_lost_in_a_crash(acts in acts(), kept in any::<prop::sample::Index>(), torn in any::<bool>()) {
        let (broker, disk) = run(&acts, &FailurePlan::never());
        disk.crash(kept.index(disk.unsynced() + 1), torn);
        broker.check(&disk);
    }
}

#[test]
fn a_failed_store_reports_nothing_more() {
    let (disk, plan) = (Disk::default(), FailurePlan::never());
    let log = FailingLog::new(disk.log(), plan.clone());
    let (store, mut stepper, _) = Store::manual(log).unwrap();
    let progress = store.progress();
    let safe = store.submit(&mut vec![append(&message(&[(1, 1)], 10), &[(1, 1)])]);
    assert!(stepper.step(Moment(0)));
    assert_eq!(progress.borrow().durable, safe);
    plan.fail_now();
    let lost = store.submit(&mut vec![append(&message(&[(1, 2)], 10), &[(1, 2)])]);
    assert!(lost > safe && stepper.step(Moment(0)));
    let mut ops = vec![append(&message(&[(1, 3)], 10), &[(1, 3)])];
    assert!(store.submit(&mut ops) > lost && ops.is_empty());
    assert!(!stepper.step(Moment(0)));
    assert_eq!(progress.borrow().durable, safe);
    assert!(matches!(progress.borrow().failed.as_deref(), Some(StoreError::Io { .. })));
    assert!(store.close().is_err());
    assert_eq!(store.figures().pending, 0);
}

#[test]
fn a_torn_write_at_the_end_is_reported_and_cut_off() {
    let disk = Disk::default();
    let (store, mut stepper, _) = Store::manual(disk.log()).unwrap();
    store.submit(&mut vec![append(&message(&[(1, 1)], 1_000), &[(1, 1)])]);
    stepper.step(Moment(0));
    let plan = FailurePlan::at(2);
    drop((store, stepper));
    let log = FailingLog::new(disk.log(), plan);
    let (store, mut stepper, _) = Store::manual(log).unwrap();
    store.submit(&mut vec![append(&message(&[(1, 2)], 300_000), &[(1, 2)])]);
    stepper.step(Moment(0));
    assert!(disk.unsynced() > 0);
    disk.crash(disk.unsynced() - 1, true);
    let (_, _, recovery) = Store::manual(disk.log()).unwrap();
    let torn = recovery.torn.unwrap();
    assert!(torn.damage.damaged_chunks == 1 && torn.lost_syncs == 0, "{torn}");
    assert_eq!(recovered(&recovery).into_keys().collect::<Vec<_>>(), [(1, 1)]);
}

#[test]
fn a_flipped_bit_takes_one_chunk() {
    let disk = Disk::default();
    let (store, mut stepper, _) = Store::manual(disk.log()).unwrap();
    for seq in 0..3 {
        store.submit(&mut vec![append(&message(&[(1, seq), (2, seq)], 100), &[(1, seq), (2, seq)])]);
        stepper.step(Moment(0));
    }
    assert!(disk.flip_bit(1, 777));
    let (store, mut stepper, recovery) = Store::manual(disk.log()).unwrap();
    assert_eq!(recovery.torn.unwrap().to_string(), "1 chunks are damaged");
    let found: Vec<_> = recovered(&recovery).into_keys().collect();
    assert_eq!(found, [(1, 0), (1, 2), (2, 0), (2, 2)]);
    // Ordinals behind the hole are still right.
    store.submit(&mut vec![settle(&recovery.messages[1].message, (2, 2))]);
    store.close().unwrap();
    stepper.step(Moment(0));
    let (_, _, recovery) = Store::manual(disk.log()).unwrap();
    assert_eq!(recovered(&recovery).into_keys().collect::<Vec<_>>(), [(1, 0), (1, 2), (2, 0)]);
}

#[test]
fn what_is_settled_in_time_is_never_written() {
    let disk = Disk::default();
    let (store, mut stepper, _) = Store::manual(disk.log()).unwrap();
    stepper.step(Moment(0));
    for seq in 0..100 {
        let message = message(&[(1, seq)], 100);
        let mut ops = vec![append(&message, &[(1, seq)]), settle(&message, (1, seq))];
        if seq % 2 == 0 {
            ops.reverse();
        }
        store.submit(&mut ops);
        stepper.step(Moment(seq));
    }
    assert_eq!((store.figures().written, store.figures().spared, disk.groups()), (0, 100, 0));
    store.close().unwrap();
    stepper.step(Moment(0));
    let (_, _, recovery) = Store::manual(disk.log()).unwrap();
    assert_eq!(recovery.next_seqs, [super::target((1, 100))]);
}

#[test]
fn a_deleted_queue_stays_deleted_though_others_still_append() {
    let disk = Disk::default();
    let (store, mut stepper, _) = Store::manual(disk.log()).unwrap();
    let (before, after) = (message(&[(1, 1), (2, 1)], 10), message(&[(1, 2), (2, 2)], 10));
    store.submit(&mut vec![append(&before, &[(1, 1), (2, 1)])]);
    stepper.step(Moment(0));
    store.submit(&mut vec![
        Op::Forget { queue: QueueId(1) },
        append(&after, &[(1, 2), (2, 2)]),
        settle(&after, (1, 2)),
        settle(&before, (1, 1)),
    ]);
    stepper.step(Moment(0));
    disk.crash(0, false);
    let (_, _, recovery) = Store::manual(disk.log()).unwrap();
    assert_eq!(recovered(&recovery).into_keys().collect::<Vec<_>>(), [(2, 1), (2, 2)]);
    assert!(recovery.next_seqs.iter().any(|(queue, _)| queue.0 == 2));
}
