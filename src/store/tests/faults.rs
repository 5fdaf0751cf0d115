//! A disk that refuses: nothing is lost, and the store goes on by itself.

use super::super::testing::{Committer, Fault, MemoryDisk};
use super::super::{Op, Safety, Store};
use super::broker::{Act, Broker, acts};
use super::check::End;
use super::{
    SMALL, append, append_as, listed, message, opened, read, recovered, settle, settle_down, targets,
};
use ::vhosts::{Message, Moment};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::io::ErrorKind;

/// A run on a disk with a fault, until all is quiet again.
fn run(acts: &[Act], seed: u64, fault: Option<(u64, Fault)>) -> Broker {
    let disk = MemoryDisk::new(seed);
    let mut broker = Broker::open(&disk);
    broker.syncs_fail = fault.is_some();
    if let Some((at, fault)) = fault {
        disk.faults().fail_at(at, fault);
    }
    acts.iter().for_each(|act| broker.act(act));
    disk.faults().heal();
    broker
}

#[test]
fn the_store_goes_on_after_any_operation_that_failed() {
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) });
    let outcome = runner.run(&(acts(120), any::<u64>()), |(acts, seed)| {
        let opening = run(&[], seed, None).disk.faults().operations();
        let operations = run(&acts, seed, None).disk.faults().operations();
        for operation in opening..operations {
            let kind = if operation % 2 == 0 { ErrorKind::StorageFull } else { ErrorKind::Other };
            let fault = if operation % 3 == 0 { Fault::From(kind) } else { Fault::Once(kind) };
            let mut broker = run(&acts, seed ^ operation, Some((operation, fault)));
            broker.check(&broker.disk.power_loss(operation), End::PowerLoss);
            broker.check(&broker.disk.killed(), End::Killed);
            broker.settle_down();
            broker.look();
            broker.check(&broker.disk.power_loss(operation), End::Killed);
        }
        Ok(())
    });
    outcome.unwrap();
}

/// What was only written when a sync failed is as safe as it asked for in the end, though the disk may have lost it.
#[test]
fn a_sync_that_fails_loses_nothing_that_was_written_before() {
    for seed in 0..60 {
        let disk = MemoryDisk::new(seed);
        let (mut committer, _) = opened(&disk);
        let all = messages(0..40, 100);
        let relaxed = all.iter().map(|(seq, message)| append_as(Safety::Relaxed, message, &[(1, *seq)]));
        let mut relaxed: Vec<Op> = relaxed.collect();
        let mut later = relaxed.split_off(20);
        // Part of it in the first segment of all, whose header is not synced either.
        assert!(committer.commit(&mut relaxed, Moment(0)));
        assert!(committer.commit(&mut later, Moment(1)));
        disk.faults().fail_at(disk.faults().operations() + 1, Fault::Once(ErrorKind::Other));
        assert!(!committer.commit(&mut appends(&messages(100..101, 100)), Moment(2)));
        assert_eq!(opened(&disk.power_loss(seed)).1.torn, None);
        let now = settle_down(&mut committer, Moment(2));
        assert!(committer.commit(&mut appends(&messages(101..102, 100)), now));
        let (reopened, recovery) = opened(&disk.power_loss(seed));
        assert_eq!((recovery.torn.clone(), targets(&recovery).len()), (None, 42), "seed {seed}");
        recovered(&recovery, &reopened.reader());
        assert!(is_readable(&committer, &all));
    }
}

/// The same when it is a start that cannot sync what a process left that was killed.
#[test]
fn a_start_that_cannot_sync_what_was_left_loses_none_of_it() {
    for seed in 0..60 {
        let disk = MemoryDisk::new(seed);
        let (mut committer, _) = opened(&disk);
        let all = messages(0..40, 100);
        let relaxed = all.iter().map(|(seq, message)| append_as(Safety::Relaxed, message, &[(1, *seq)]));
        assert!(committer.commit(&mut relaxed.collect(), Moment(0)));
        let disk = disk.killed();
        disk.faults().fail_at(0, Fault::Once(ErrorKind::Other));
        let (mut committer, recovery) = opened(&disk);
        assert_eq!((recovery.torn, recovery.messages), (None, 40));
        let now = settle_down(&mut committer, Moment(0));
        assert!(committer.commit(&mut appends(&messages(100..101, 100)), now));
        let (reopened, recovery) = opened(&disk.power_loss(seed));
        assert_eq!((recovery.torn.clone(), targets(&recovery).len()), (None, 41), "seed {seed}");
        recovered(&recovery, &reopened.reader());
    }
}

fn messages(seqs: std::ops::Range<u64>, len: usize) -> Vec<(u64, Message)> {
    seqs.map(|seq| (seq, message(&[(1, seq)], len))).collect()
}

fn appends(messages: &[(u64, Message)]) -> Vec<Op> {
    messages.iter().map(|(seq, message)| append(message, &[(1, *seq)])).collect()
}

fn settles(messages: &[(u64, Message)]) -> Vec<Op> {
    messages.iter().map(|(seq, message)| settle(message, (1, *seq))).collect()
}

#[test]
fn a_stall_is_told_and_ends_by_itself() {
    let disk = MemoryDisk::new(1);
    let (store, mut stepper, _) = Store::manual_with(Box::new(disk.clone()), SMALL).unwrap();
    let progress = store.progress();
    stepper.step(Moment(0));
    disk.faults().fail_at(disk.faults().operations(), Fault::From(ErrorKind::StorageFull));
    let lsn = store.submit(&mut appends(&messages(0..1, 100)));
    stepper.step(Moment(1));
    assert!(progress.borrow().durable < lsn);
    let reason = progress.borrow().stalled.clone().unwrap();
    assert!(reason.contains("the log"), "{reason}");
    assert!(stepper.deadline().unwrap() > Moment(500), "a disk that refuses is left alone for a while");
    disk.faults().heal();
    assert!(!stepper.step(Moment(2)) && progress.borrow().stalled.is_some());
    stepper.step(stepper.deadline().unwrap());
    assert!(progress.borrow().durable == lsn && progress.borrow().stalled.is_none());
    assert_eq!(targets(&opened(&disk.power_loss(1)).1), [(1, 0)]);
}

#[test]
fn a_full_disk_gets_room_when_messages_are_acked() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = opened(&disk);
    disk.limit(10 * SMALL);
    let all = messages(0..1_000, 400);
    let mut now = Moment(0);
    let mut written = 0;
    for one in all.chunks(1) {
        written += 1;
        if !committer.commit(&mut appends(one), now) {
            break;
        }
        now = now.after_ms(1);
    }
    assert!((50..900).contains(&written) && committer.stalled().is_some());
    // Only what is acked makes room.
    for _ in 0..5 {
        now = committer.deadline().unwrap().max(now);
        assert!(!committer.commit(&mut Vec::new(), now));
    }
    committer.commit(&mut settles(&all[..written / 2]), now);
    now = settle_down(&mut committer, now);
    assert!(committer.stalled().is_none());
    let rest = &all[written..written + 40];
    assert!(committer.commit(&mut appends(rest), now));
    let expected: Vec<_> = (written / 2..written + 40).map(|seq| (1, seq as u64)).collect();
    settle_down(&mut committer, now);
    assert_eq!(targets(&opened(&disk.power_loss(1)).1), expected);
}

#[test]
fn a_full_disk_gets_room_when_there_is_more() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = opened(&disk);
    disk.limit(2 * SMALL);
    let all = messages(0..100, 400);
    assert!(!committer.commit(&mut appends(&all), Moment(0)));
    disk.limit(u64::MAX);
    let now = committer.deadline().unwrap();
    committer.commit(&mut Vec::new(), Moment(1_000).max(now));
    settle_down(&mut committer, Moment(1_000));
    assert_eq!(targets(&opened(&disk.power_loss(1)).1).len(), 100);
}

/// What is acked while nothing can be written makes room, but the original of a copy that is not written stays.
#[test]
fn a_message_that_moves_while_the_disk_is_full_is_not_lost() {
    for seed in 0..20 {
        let disk = MemoryDisk::new(seed);
        let (mut committer, _) = opened(&disk);
        let all = messages(0..40, 400);
        assert!(committer.commit(&mut appends(&all), Moment(0)));
        settle_down(&mut committer, Moment(0));
        disk.limit(disk.used() + 100);
        let moved = messages(100..140, 400);
        let mut ops: Vec<Op> = moved.iter().map(|(seq, copy)| append(copy, &[(2, *seq)])).collect();
        ops.extend(settles(&all));
        assert!(!committer.commit(&mut ops, Moment(10_000)));
        for now in 1..30 {
            committer.commit(&mut Vec::new(), Moment(10_000 + now * 100));
            let found = targets(&opened(&disk.power_loss(seed)).1);
            let is_there = |at: u64| found.contains(&(1, at)) || found.contains(&(2, 100 + at));
            assert!((0..40).all(is_there), "{found:?}");
        }
        disk.limit(u64::MAX);
        settle_down(&mut committer, Moment(20_000));
        let found = targets(&opened(&disk.power_loss(seed)).1);
        assert!(found.into_iter().eq((100..140).map(|seq| (2, seq))));
    }
}

/// Reads what is live, whatever reads fail.
fn is_readable(committer: &Committer, messages: &[(u64, Message)]) -> bool {
    let reader = committer.reader();
    messages.iter().all(|(_, message)| reader.place(message).and_then(|place| read(&reader, place)).is_some())
}

#[test]
fn a_segment_that_cannot_be_read_is_not_compacted_away() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = opened(&disk);
    let all = messages(0..200, 400);
    assert!(committer.commit(&mut appends(&all), Moment(0)));
    settle_down(&mut committer, Moment(0));
    disk.faults().fail_read_at(disk.faults().reads(), Fault::From(ErrorKind::Other));
    let (stays, goes): (Vec<_>, Vec<_>) = all.into_iter().partition(|(seq, _)| seq % 4 == 0);
    committer.commit(&mut settles(&goes), Moment(0));
    settle_down(&mut committer, Moment(0));
    assert!(committer.stalled().is_none());
    disk.faults().heal();
    assert!(is_readable(&committer, &stays));
    let (committer, recovery) = opened(&disk.power_loss(1));
    assert_eq!(listed(&recovery).len(), stays.len());
    recovered(&recovery, &committer.reader());
}
