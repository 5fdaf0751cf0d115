//! Notes: which survive, and that none stays behind.

use super::super::testing::MemoryDisk;
use super::super::{Note, Op, SETTLE_EVERY_MS};
use super::{Target, append, message, note, numbered_note, opened, recovered, settle, settle_down};
use ::vhosts::{Message, Moment, QueueId};

/// The notes of what would be recovered.
fn notes(disk: &MemoryDisk) -> Vec<(Target, Note)> {
    let (committer, recovery) = opened(disk);
    let found = recovered(&recovery, &committer.reader());
    found.into_iter().map(|(target, (_, note))| (target, note)).collect()
}

const LATER: Moment = Moment(SETTLE_EVERY_MS);

#[test]
fn the_newest_note_survives_when_its_time_has_come() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = opened(&disk);
    settle_down(&mut committer, Moment(0));
    let (one, two) = (message(&[(1, 1), (2, 1)], 10), message(&[(2, 2)], 10));
    let noted = |number| note(&one, (2, 1), numbered_note(number));
    let mut ops = vec![noted(3), append(&one, &[(1, 1), (2, 1)]), append(&two, &[(2, 2)]), noted(4)];
    committer.commit(&mut ops, Moment(0));
    let nothing = Note::default();
    assert_eq!(notes(&disk.killed()), [((1, 1), nothing), ((2, 1), nothing), ((2, 2), nothing)]);
    assert_eq!(committer.deadline(), Some(LATER));
    committer.commit(&mut Vec::new(), LATER);
    assert_eq!(
        notes(&disk.power_loss(1)),
        [((1, 1), nothing), ((2, 1), numbered_note(4)), ((2, 2), nothing)]
    );
    committer.commit(&mut vec![noted(6)], LATER);
    committer.close().unwrap();
    assert_eq!(notes(&disk.power_loss(1))[1], ((2, 1), numbered_note(6)));
}

#[test]
fn a_note_behind_its_settlement_is_dropped() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = opened(&disk);
    let both = |seq| message(&[(1, seq), (2, seq)], 10);
    let (early, pending, written, other) = (both(1), both(2), both(3), both(4));
    let late = |message: &Message, seq| note(message, (1, seq), numbered_note(7));
    let mut ops = vec![append(&written, &[(1, 3), (2, 3)]), settle(&early, (1, 1)), late(&early, 1)];
    committer.commit(&mut ops, Moment(0));
    let mut ops = vec![
        append(&pending, &[(1, 2), (2, 2)]),
        settle(&pending, (1, 2)),
        late(&pending, 2),
        settle(&written, (1, 3)),
        late(&written, 3),
        append(&early, &[(1, 1), (2, 1)]),
        append(&other, &[(1, 4), (2, 4)]),
    ];
    committer.commit(&mut ops, Moment(0));
    committer.commit(&mut vec![late(&early, 1), late(&pending, 2), late(&written, 3)], LATER);
    assert_eq!(committer.notes_len(), 0);
    let found = notes(&disk.killed());
    assert!(found.len() == 5 && found.iter().all(|(_, note)| *note == Note::default()), "{found:?}");
}

/// Wherever the power goes while their messages are moved.
#[test]
fn notes_move_with_their_messages() {
    for operation in 0.. {
        let disk = MemoryDisk::new(operation);
        let (mut committer, _) = opened(&disk);
        let all: Vec<_> = (0..60).map(|seq| (seq, message(&[(1, seq)], 300))).collect();
        let mut ops: Vec<_> = all.iter().map(|(seq, message)| append(message, &[(1, *seq)])).collect();
        ops.extend(all.iter().map(|(seq, message)| note(message, (1, *seq), numbered_note(*seq as u32))));
        committer.commit(&mut ops, Moment(0));
        let now = settle_down(&mut committer, Moment(0));
        disk.faults().fail_at(disk.faults().operations() + operation, super::super::testing::Fault::Crash);
        let goes = all.iter().filter(|(seq, _)| seq % 4 > 0);
        committer.commit(&mut goes.map(|(seq, message)| settle(message, (1, *seq))).collect(), now);
        for _ in 0..20 {
            let Some(now) = committer.deadline() else { break };
            committer.commit(&mut Vec::new(), now);
        }
        let found = notes(&disk.power_loss(operation));
        assert!(
            found.iter().all(|((_, seq), note)| *note == numbered_note(*seq as u32)),
            "{operation}: {found:?}"
        );
        assert!((0..60).step_by(4).all(|seq| found.iter().any(|(target, _)| *target == (1, seq))));
        if !disk.faults().is_crashed() {
            assert!(committer.figures().moved > 0 && found.len() == 15);
            return;
        }
    }
}

#[test]
fn notes_go_with_their_messages() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = opened(&disk);
    let all: Vec<_> = (0..400).map(|seq| (seq, message(&[(1, seq)], 10))).collect();
    let mut ops: Vec<_> = all.iter().map(|(seq, message)| append(message, &[(1, *seq)])).collect();
    ops.extend(all.iter().map(|(seq, message)| note(message, (1, *seq), numbered_note(*seq as u32))));
    committer.commit(&mut ops, Moment(0));
    settle_down(&mut committer, Moment(0));
    assert_eq!(committer.notes_len(), 400);
    let reader = committer.reader();
    let places =
        all.iter().filter(|(seq, _)| seq % 2 == 0).map(|(_, message)| reader.place(message).unwrap());
    committer.commit(&mut vec![Op::Purge { queue: QueueId(1), places: places.collect() }], LATER);
    let now = settle_down(&mut committer, LATER);
    assert_eq!(committer.notes_len(), 200);
    let found = notes(&disk.power_loss(1));
    assert!(found.len() == 200 && found.iter().all(|((_, seq), note)| *note == numbered_note(*seq as u32)));
    let rest = all.iter().filter(|(seq, _)| seq % 2 == 1);
    committer.commit(&mut rest.map(|(seq, message)| settle(message, (1, *seq))).collect(), now);
    settle_down(&mut committer, now);
    assert_eq!((committer.notes_len(), notes(&disk.power_loss(1)).len()), (0, 0));
}
