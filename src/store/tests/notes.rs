//! Notes: which survive, and that none stays behind.

use super::super::testing::{Committer, Disk, MemoryLog, recover};
use super::super::{Note, Op, SETTLE_EVERY_MS};
use super::{append, message, note, numbered_note, recovered, settle};
use ::vhosts::{Message, Moment, QueueId};

fn committer(disk: &Disk) -> Committer<MemoryLog> {
    recover(disk.log()).unwrap().0
}

fn notes(disk: &Disk) -> Vec<((u64, u64), Note)> {
    let (_, recovery) = recover(disk.log()).unwrap();
    recovered(&recovery).into_iter().map(|(target, (_, note))| (target, note)).collect()
}

const LATER: Moment = Moment(SETTLE_EVERY_MS);

#[test]
fn the_newest_note_survives_when_its_time_has_come() {
    let disk = Disk::default();
    let mut committer = committer(&disk);
    let (one, two) = (message(&[(1, 1), (2, 1)], 10), message(&[(2, 2)], 10));
    let noted = |number| note(&one, (2, 1), numbered_note(number));
    let mut ops = vec![noted(3), append(&one, &[(1, 1), (2, 1)]), append(&two, &[(2, 2)]), noted(4)];
    committer.commit(&mut ops, Moment(0)).unwrap();
    disk.crash(0, false);
    let nothing = Note::default();
    assert_eq!(notes(&disk), [((1, 1), nothing), ((2, 1), nothing), ((2, 2), nothing)]);
    assert_eq!(committer.deadline(), Some(LATER));
    committer.commit(&mut Vec::new(), LATER).unwrap();
    disk.crash(0, false);
    assert_eq!(notes(&disk), [((1, 1), nothing), ((2, 1), numbered_note(4)), ((2, 2), nothing)]);
    committer.commit(&mut vec![noted(6)], LATER).unwrap();
    committer.close().unwrap();
    assert_eq!(notes(&disk)[1], ((2, 1), numbered_note(6)));
}

#[test]
fn a_note_behind_its_settlement_is_dropped() {
    let disk = Disk::default();
    let mut committer = committer(&disk);
    let settled = |targets: &[(u64, u64)]| message(targets, 10);
    let (early, pending, written) =
        (settled(&[(1, 1), (2, 1)]), settled(&[(1, 2), (2, 2)]), settled(&[(1, 3), (2, 3)]));
    let late = |message: &Message, seq| note(message, (1, seq), numbered_note(7));
    // One that the notes could be taken for.
    let other = message(&[(1, 4), (2, 4)], 10);
    let mut ops = vec![append(&written, &[(1, 3), (2, 3)]), settle(&early, (1, 1)), late(&early, 1)];
    committer.commit(&mut ops, Moment(0)).unwrap();
    let mut ops = vec![
        append(&pending, &[(1, 2), (2, 2)]),
        settle(&pending, (1, 2)),
        late(&pending, 2),
        settle(&written, (1, 3)),
        late(&written, 3),
        append(&early, &[(1, 1), (2, 1)]),
        append(&other, &[(1, 4), (2, 4)]),
    ];
    committer.commit(&mut ops, Moment(0)).unwrap();
    let mut ops = vec![late(&early, 1), late(&pending, 2), late(&written, 3)];
    committer.commit(&mut ops, LATER).unwrap();
    assert_eq!(committer.notes_len(), 0);
    assert!(notes(&disk).iter().all(|(_, note)| *note == Note::default()));
    assert_eq!(notes(&disk).len(), 5);
}

#[test]
fn notes_go_with_their_targets_and_their_queues() {
    let disk = Disk::default();
    let mut committer = committer(&disk);
    let messages: Vec<_> = (0..1_000).map(|seq| message(&[(seq % 2, seq)], 10)).collect();
    let targets = || messages.iter().zip(0..).map(|(message, seq)| (message, (seq % 2, seq)));
    let mut ops: Vec<_> = targets().map(|(message, target)| append(message, &[target])).collect();
    ops.extend(targets().map(|(message, target)| note(message, target, numbered_note(target.1 as u32))));
    committer.commit(&mut ops, Moment(0)).unwrap();
    committer.commit(&mut Vec::new(), LATER).unwrap();
    assert_eq!(committer.notes_len(), 1_000);
    let unknown = message(&[(1, 2_000)], 10);
    let mut ops = vec![note(&unknown, (1, 2_000), numbered_note(1)), Op::Forget { queue: QueueId(1) }];
    committer.commit(&mut ops, LATER).unwrap();
    assert_eq!(committer.notes_len(), 500);
    let mut ops: Vec<_> = targets().step_by(4).map(|(message, target)| settle(message, target)).collect();
    committer.commit(&mut ops, LATER).unwrap();
    assert_eq!(committer.notes_len(), 250);
    committer.close().unwrap();
    let found = notes(&disk);
    assert!(found.iter().all(|((_, seq), note)| *note == numbered_note(*seq as u32)));
    assert_eq!(found.len(), 250);
    let (committer, _) = recover(disk.log()).unwrap();
    assert_eq!(committer.notes_len(), 250, "those of settled targets are not read back");
}
