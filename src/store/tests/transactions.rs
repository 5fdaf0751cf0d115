//! Transactions: all or nothing, at every operation of the disk, also while they are cleared away.

use super::super::Op;
use super::super::testing::{Committer, Fault, MemoryDisk, recover, recover_with};
use super::{SMALL, Target, append, message, opened, recovered, settle, settle_down, targets, transaction};
use ::vhosts::{Message, Moment};

/// Checks what is there after a loss of power at each operation of the run.
fn after_crashes(run: impl Fn(&mut Committer), check: impl Fn(&[Target])) {
    for operation in 0.. {
        let disk = MemoryDisk::new(operation);
        let (mut committer, _) = opened(&disk);
        disk.faults().fail_at(disk.faults().operations() + operation, Fault::Crash);
        run(&mut committer);
        for seed in 0..6 {
            let left = disk.power_loss(seed);
            let found = targets(&opened(&left.killed()).1);
            check(&found);
            stays(&found, &left);
        }
        if !disk.faults().is_crashed() {
            return;
        }
    }
}

/// What was found is found again when the next life ends somewhere.
fn stays(found: &[Target], left: &MemoryDisk) {
    for operation in (0..60).step_by(7) {
        let left = left.killed();
        left.faults().fail_at(left.faults().operations() + operation, Fault::Crash);
        if let Ok((mut committer, _)) = recover_with(Box::new(left.clone()), SMALL) {
            committer.commit(&mut Vec::new(), Moment(0));
            committer.commit(&mut Vec::new(), Moment(100));
            let _ = committer.close();
        }
        assert_eq!(targets(&opened(&left.power_loss(operation)).1), found, "at {operation} of the next life");
    }
}

/// Originals in queue 1, and copies for queue 2.
fn messages(len: usize) -> Vec<Message> {
    let copy = |seq| message(&[(2, seq)], len);
    (0..3).map(|seq| message(&[(1, seq)], len)).chain((3..6).map(copy)).collect()
}

fn count(found: &[Target], of: u64) -> usize {
    found.iter().filter(|(queue, _)| *queue == of).count()
}

fn appends(messages: &[Message]) -> Vec<Op> {
    messages[..3].iter().zip(0..).map(|(message, seq)| append(message, &[(1, seq)])).collect()
}

fn moving(messages: &[Message]) -> Op {
    let settles: Vec<_> = messages[..3].iter().zip(0..).map(|(message, seq)| (message, (1, seq))).collect();
    transaction(&[(&messages[3], &[(2, 3)]), (&messages[4], &[(2, 4)]), (&messages[5], &[(2, 5)])], &settles)
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    for len in [10, 700, 3_000] {
        after_crashes(
            |committer| {
                let messages = messages(len);
                committer.commit(&mut appends(&messages), Moment(0));
                committer.commit(&mut vec![moving(&messages)], Moment(0));
                committer.commit(&mut Vec::new(), Moment(100));
                let _ = committer.close();
            },
            |found| {
                let [originals, copies] = [1, 2].map(|queue| count(found, queue));
                let is_whole = (originals <= 3 && copies == 0) || (originals, copies) == (0, 3);
                assert!(is_whole, "{found:?}");
            },
        );
    }
}

#[test]
fn a_transaction_that_is_cleared_away_stays_done() {
    after_crashes(
        |committer| {
            let messages = messages(700);
            let beside = message(&[(3, 1)], 700);
            let mut ops = appends(&messages);
            ops.push(append(&beside, &[(3, 1)]));
            committer.commit(&mut ops, Moment(0));
            let other = message(&[(4, 1)], 6_000);
            committer.commit(&mut vec![append(&other, &[(4, 1)])], Moment(0));
            committer.commit(&mut vec![moving(&messages)], Moment(0));
            let mut copies: Vec<_> =
                messages[3..].iter().zip(3..).map(|(message, seq)| settle(message, (2, seq))).collect();
            copies.push(append(&message(&[(5, 1)], 7_000), &[(5, 1)]));
            committer.commit(&mut copies, Moment(0));
            (0..10).for_each(|round| _ = committer.commit(&mut Vec::new(), Moment(round * 100)));
        },
        |found| {
            let [originals, copies, marks] = [1, 2, 5].map(|queue| count(found, queue));
            assert!(originals == 0 || copies == 0, "{found:?}");
            assert!(originals == 0 || marks == 0, "{found:?}");
        },
    );
}

#[test]
fn early_and_own_messages_of_a_transaction_are_not_written() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = opened(&disk);
    let (early, own, other) =
        (message(&[(1, 1), (2, 1)], 10), message(&[(1, 2)], 10), message(&[(1, 3)], 10));
    let mut ops = vec![
        transaction(&[(&own, &[(1, 2)]), (&other, &[(1, 3)])], &[(&early, (1, 1)), (&own, (1, 2))]),
        settle(&other, (1, 3)),
    ];
    committer.commit(&mut ops, Moment(0));
    assert_eq!((committer.figures().written, committer.early_len()), (0, 1));
    committer.commit(&mut vec![append(&early, &[(1, 1), (2, 1)])], Moment(0));
    assert_eq!((committer.figures().written, committer.early_len()), (1, 0));
    assert_eq!(targets(&opened(&disk.power_loss(1)).1), [(2, 1)]);
}

/// Who settles one of several targets of a message does not settle another.
#[test]
fn a_transaction_settles_only_its_targets() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = opened(&disk);
    let own = message(&[(1, 1), (2, 1)], 10);
    committer.commit(&mut vec![transaction(&[(&own, &[(1, 1), (2, 1)])], &[(&own, (1, 1))])], Moment(0));
    settle_down(&mut committer, Moment(0));
    assert_eq!(targets(&opened(&disk.power_loss(1)).1), [(2, 1)]);
}

#[test]
fn a_transaction_may_be_larger_than_a_segment() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = recover(Box::new(disk.clone())).unwrap();
    let copies: Vec<_> = (0..4_000).map(|seq| message(&[(2, seq), (3, seq)], 10_000)).collect();
    let at: Vec<_> = (0..4_000).map(|seq| [(2, seq), (3, seq)]).collect();
    let appends: Vec<_> = copies.iter().zip(&at).map(|(copy, at)| (copy, &at[..])).collect();
    committer.commit(&mut vec![transaction(&appends, &[])], Moment(0));
    let behind = message(&[(1, 1)], 10);
    committer.commit(&mut vec![append(&behind, &[(1, 1)])], Moment(0));
    let reader = committer.reader();
    assert!(copies.iter().all(|copy| super::read(&reader, reader.place(copy).unwrap()).is_some()));
    let (committer, recovery) = recover(Box::new(disk.power_loss(1))).unwrap();
    let found = recovered(&recovery, &committer.reader());
    assert!(
        found.len() == 8_001
            && copies.iter().zip(0..).all(|(copy, seq)| super::is_same(copy, &found[&(3, seq)].0))
    );
}
