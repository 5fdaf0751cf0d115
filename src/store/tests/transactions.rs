//! Transactions: all or nothing, at every operation of the log, also while they are cleared away.

use super::super::testing::{
    CHUNK_MAX, Committer, Disk, FailingLog, FailurePlan, GROUP_MAX, MemoryLog, recover,
};
use super::super::{Op, SETTLE_EVERY_MS, StoreError};
use super::{append, message, recovered, settle, settle_all, transaction};
use ::vhosts::{Message, Moment, QueueId};

type Target = (u64, u64);
type Run = fn(&mut Committer<FailingLog<MemoryLog>>, &[Message]) -> Result<(), StoreError>;

/// Checks what is there after a crash at each operation of the run, with nothing and with everything kept of
/// what was not synced. The check gets the crash too, to see how it goes on.
fn after_crashes(run: Run, check: impl Fn(&[Target], &dyn Fn() -> Disk)) {
    let crash = |operation, kept| {
        let disk = Disk::default();
        let plan = FailurePlan::at(operation);
        let (mut committer, _) = recover(FailingLog::new(disk.log(), plan.clone())).unwrap();
        let outcome = run(&mut committer, &messages());
        assert!(outcome.is_ok() || plan.operations() > operation);
        disk.crash(if kept { disk.unsynced() } else { 0 }, kept);
        (disk, plan.operations())
    };
    let (_, operations) = crash(u64::MAX, true);
    for operation in 1..=operations {
        for kept in [false, true] {
            let found = recovered(&recover(crash(operation, kept).0.log()).unwrap().1);
            check(&found.into_keys().collect::<Vec<_>>(), &|| crash(operation, kept).0);
        }
    }
}

/// What was found is found again when the next life ends in a crash, at any of its operations.
fn stays(found: &[Target], disk: &dyn Fn() -> Disk) {
    for operation in 0.. {
        let disk = disk();
        let log = FailingLog::new(disk.log(), FailurePlan::at(operation));
        let outcome = recover(log).and_then(|(mut committer, _)| {
            committer.commit(&mut Vec::new(), Moment(0))?;
            committer.close()
        });
        disk.crash(disk.unsynced(), true);
        let again = recovered(&recover(disk.log()).unwrap().1);
        assert!(
            again.into_keys().eq(found.iter().copied()),
            "crash at operation {operation} of the next life"
        );
        if outcome.is_ok() {
            return;
        }
    }
}

/// Originals in queue 1, and copies for queue 2.
fn messages() -> Vec<Message> {
    let copy = |seq| message(&[(2, seq)], 1_000);
    (0..3).map(|seq| message(&[(1, seq)], 1_000)).chain((3..6).map(copy)).collect()
}

/// The copies are there, or the originals.
fn all_or_nothing(found: &[Target], disk: &dyn Fn() -> Disk) {
    let [originals, copies] = [1, 2].map(|queue| count(found, queue));
    assert!([(0, 0), (3, 0), (0, 3)].contains(&(originals, copies)), "{found:?}");
    stays(found, disk);
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
    after_crashes(
        |committer, messages| {
            committer.commit(&mut appends(messages), Moment(0))?;
            committer.commit(&mut vec![moving(messages)], Moment(0))?;
            committer.commit(&mut Vec::new(), Moment(SETTLE_EVERY_MS))?;
            committer.close()
        },
        all_or_nothing,
    );
}

#[test]
fn a_transaction_takes_what_the_same_batch_appends() {
    after_crashes(
        |committer, messages| {
            let originals: Vec<_> = (0..3).map(|seq| message(&[(1, seq), (4, seq)], 1_000)).collect();
            let mut ops: Vec<_> = (originals.iter().zip(0..))
                .map(|(message, seq)| append(message, &[(1, seq), (4, seq)]))
                .collect();
            // A chunk ends between the originals and the transaction.
            ops.push(append(&message(&[(3, 1)], CHUNK_MAX), &[(3, 1)]));
            ops.push(moving(&[&originals, &messages[3..]].concat()));
            committer.commit(&mut ops, Moment(0))?;
            committer.close()
        },
        |found, disk| {
            let [originals, copies, others] = [1, 2, 4].map(|queue| count(found, queue));
            assert!([(others, 0), (0, 3)].contains(&(originals, copies)), "{found:?}");
            stays(found, disk);
        },
    );
}

#[test]
fn a_transaction_whose_group_is_dropped_stays_done() {
    after_crashes(
        |committer, messages| {
            done_in_another_group(committer, messages)?;
            let copies = messages[3..].iter().zip(3..).map(|(message, seq)| settle(message, (2, seq)));
            committer.commit(&mut copies.collect(), Moment(0))?;
            committer.commit(&mut Vec::new(), Moment(SETTLE_EVERY_MS))
        },
        none_left_behind_the_mark,
    );
}

#[test]
fn a_transaction_whose_queue_is_deleted_stays_done() {
    after_crashes(
        |committer, messages| {
            done_in_another_group(committer, messages)?;
            committer.commit(&mut vec![Op::Forget { queue: QueueId(2) }], Moment(0))?;
            committer.commit(&mut Vec::new(), Moment(SETTLE_EVERY_MS))
        },
        none_left_behind_the_mark,
    );
}

/// The originals are in one group, the transaction in another, whose set is to be written before theirs, and
/// a mark behind it in a third.
fn done_in_another_group(
    committer: &mut Committer<FailingLog<MemoryLog>>,
    messages: &[Message],
) -> Result<(), StoreError> {
    let first = message(&[(3, 1)], 10);
    committer.commit(&mut appends(messages), Moment(0))?;
    committer.commit(&mut vec![append(&message(&[(4, 1)], GROUP_MAX as usize), &[(4, 1)])], Moment(0))?;
    committer.commit(&mut vec![append(&first, &[(3, 1)])], Moment(0))?;
    committer.commit(&mut vec![settle(&first, (3, 1))], Moment(0))?;
    committer.commit(&mut vec![moving(messages)], Moment(0))?;
    committer.commit(&mut vec![append(&message(&[(5, 1)], GROUP_MAX as usize), &[(5, 1)])], Moment(0))
}

fn none_left_behind_the_mark(found: &[Target], _: &dyn Fn() -> Disk) {
    let [originals, copies, marks] = [1, 2, 5].map(|queue| count(found, queue));
    assert!(originals == 0 || (originals, copies, marks) == (3, 0, 0), "{found:?}");
}

#[test]
fn a_transaction_is_done_again_until_its_sets_are_written() {
    let disk = Disk::default();
    let messages = messages();
    let (mut committer, _) = recover(disk.log()).unwrap();
    committer.commit(&mut appends(&messages), Moment(0)).unwrap();
    committer.commit(&mut vec![moving(&messages)], Moment(0)).unwrap();
    let mut copies: Vec<_> =
        messages[3..].iter().zip(3..).map(|(copy, seq)| settle(copy, (2, seq))).collect();
    committer.commit(&mut copies, Moment(0)).unwrap();
    disk.crash(0, false);
    let (mut committer, recovery) = recover(disk.log()).unwrap();
    assert_eq!(recovered(&recovery).into_keys().collect::<Vec<_>>(), [(2, 3), (2, 4), (2, 5)]);
    assert_eq!(committer.deadline(), Some(Moment(0)), "the sets must be written");
    committer.commit(&mut settle_all(&recovery), Moment(0)).unwrap();
    assert_eq!((disk.groups(), committer.counts().groups), (0, 0));
}

#[test]
fn early_and_own_messages_of_a_transaction_are_not_written() {
    let disk = Disk::default();
    let (mut committer, _) = recover(disk.log()).unwrap();
    let (early, own, other) =
        (message(&[(1, 1), (2, 1)], 10), message(&[(1, 2)], 10), message(&[(1, 3)], 10));
    let mut ops = vec![
        transaction(&[(&own, &[(1, 2)]), (&other, &[(1, 3)])], &[(&early, (1, 1)), (&own, (1, 2))]),
        settle(&other, (1, 3)),
    ];
    committer.commit(&mut ops, Moment(0)).unwrap();
    assert_eq!((committer.counts().written, committer.counts().early, disk.groups()), (0, 1, 0));
    committer.commit(&mut vec![append(&early, &[(1, 1), (2, 1)])], Moment(0)).unwrap();
    assert_eq!((committer.counts().written, committer.counts().early), (1, 0));
    disk.crash(0, false);
    assert_eq!(recovered(&recover(disk.log()).unwrap().1).into_keys().collect::<Vec<_>>(), [(2, 1)]);
}

#[test]
fn a_moved_message_survives_a_deletion_in_the_same_batch() {
    for operation in 0.. {
        let disk = Disk::default();
        let (mut committer, _) = recover(disk.log()).unwrap();
        let original = append(&message(&[(1, 1), (3, 1)], 10), &[(1, 1), (3, 1)]);
        committer.commit(&mut vec![original], Moment(0)).unwrap();
        let log = FailingLog::new(disk.log(), FailurePlan::at(operation));
        let (mut committer, recovery) = recover(log).unwrap();
        let mut ops = vec![
            Op::Forget { queue: QueueId(3) },
            append(&message(&[(2, 1)], 10), &[(2, 1)]),
            settle(&recovery.messages[0].message, (1, 1)),
        ];
        let outcome = committer.commit(&mut ops, Moment(0));
        disk.crash(disk.unsynced(), true);
        let found: Vec<_> = recovered(&recover(disk.log()).unwrap().1).into_keys().collect();
        assert!(found.iter().any(|(queue, _)| [1, 2].contains(queue)), "operation {operation}: {found:?}");
        if outcome.is_ok() {
            assert_eq!(found, [(2, 1)]);
            return;
        }
    }
}
