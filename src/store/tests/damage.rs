//! Flipped bits and cut files: what is damaged is told, and everything else is there.

use super::super::testing::MemoryDisk;
use super::super::{Op, Safety};
use super::{
    Target, append, append_as, define, is_same, listed, message, opened, recovered, settle, settle_down,
    targets, transaction,
};
use ::vhosts::{Message, Moment};
use std::collections::{BTreeMap, BTreeSet};

/// A disk with some closed segments and an open one, and what is live in it.
fn written(seed: u64) -> (MemoryDisk, BTreeMap<Target, Message>) {
    let disk = MemoryDisk::new(seed);
    let (mut committer, _) = opened(&disk);
    let mut live = BTreeMap::new();
    for seq in 1..100 {
        let both = [(1, seq), (2, seq)];
        let at = if seq % 3 == 0 { &both[..] } else { &both[..1] };
        let message = message(at, 200);
        live.extend(at.iter().map(|at| (*at, message.clone())));
        let ops = match seq % 10 {
            7 => transaction(&[(&message, at)], &[(&live[&(1, seq - 1)], (1, seq - 1))]),
            _ => append(&message, at),
        };
        if seq % 10 == 7 {
            live.remove(&(1, seq - 1));
        }
        committer.commit(&mut vec![ops, define(&[("key", Some(&seq.to_string()))])], Moment(seq));
    }
    for seq in (5..60).filter(|seq| seq % 3 > 0) {
        if let Some(message) = live.remove(&(1, seq)) {
            committer.commit(&mut vec![settle(&message, (1, seq))], Moment(seq + 100));
        }
    }
    if seed.is_multiple_of(2) {
        settle_down(&mut committer, Moment(1_000));
    } else {
        committer.commit(&mut Vec::new(), Moment(1_000));
    }
    (disk, live)
}

#[test]
fn a_flipped_bit_takes_one_record_at_most() {
    let mut lost = 0;
    for seed in 0..120_u64 {
        let (disk, live) = written(seed);
        let disk = disk.killed();
        let numbers = super::super::testing::Disk::segments(&disk).unwrap();
        let number = numbers[(seed as usize * 7) % numbers.len()];
        let file = super::super::testing::Disk::open(&disk, number).unwrap();
        let offset = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) % file.len().unwrap();
        assert!(disk.flip(number, offset, 1 << (seed % 8)));
        let (mut committer, recovery) = opened(&disk);
        let reader = committer.reader();
        let found = listed(&recovery);
        let places: Vec<_> = found.iter().map(|(_, found)| found.place).collect();
        let mut missing: BTreeSet<Target> = live.keys().copied().collect();
        let mut unreadable = BTreeSet::new();
        for ((target, found), message) in found.iter().zip(reader.read(&places).unwrap()) {
            match message {
                Some(message) => assert!(live.get(target).is_none_or(|live| is_same(&message, live))),
                None => _ = unreadable.insert((found.place.segment, found.place.unit)),
            }
            missing.remove(target);
        }
        let gone: BTreeSet<_> = missing.iter().map(|target| target.1).collect();
        assert!(gone.len() + unreadable.len() <= 1, "seed {seed}: {missing:?} and {unreadable:?}");
        assert!(
            gone.is_empty() || recovery.torn.is_some(),
            "seed {seed}: {missing:?} are lost and nobody is told"
        );
        lost += gone.len() + unreadable.len();
        // It goes on, also when what is damaged would be moved.
        committer.commit(&mut vec![append(&message(&[(3, 1)], 10), &[(3, 1)])], Moment(0));
        settle_down(&mut committer, Moment(0));
        let (_, again) = opened(&disk.killed());
        assert!(targets(&again).contains(&(3, 1)), "seed {seed}");
    }
    assert!(lost > 10, "only {lost} of the bits were in records");
}

/// A segment whose index is damaged is read record by record when it is moved, also behind damage.
#[test]
fn what_is_behind_damage_is_moved_too() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = opened(&disk);
    let all: Vec<_> = (0..60).map(|seq| (seq, message(&[(1, seq)], 400))).collect();
    let ops =
        |all: &[(u64, Message)]| all.iter().map(|(seq, message)| append(message, &[(1, *seq)])).collect();
    assert!(committer.commit(&mut ops(&all), Moment(0)));
    settle_down(&mut committer, Moment(0));
    let first = super::super::testing::Disk::open(&disk, 1).unwrap();
    // The checksum of the index, and a record near the beginning, which is live.
    assert!(disk.flip(1, first.len().unwrap() - 16, 1) && disk.flip(1, 200, 1));
    let (stays, goes): (Vec<_>, Vec<_>) = all.into_iter().partition(|(seq, _)| seq % 4 == 0);
    committer.commit(&mut goes.iter().map(|(seq, gone)| settle(gone, (1, *seq))).collect(), Moment(0));
    settle_down(&mut committer, Moment(0));
    assert!(committer.figures().moved > 0);
    let reader = committer.reader();
    let is_there = |(_, message): &&(u64, Message)| {
        let found = reader.place(message).and_then(|place| reader.read(&[place]).unwrap().remove(0));
        found.is_some_and(|found| is_same(&found, message))
    };
    assert_eq!(stays.iter().filter(is_there).count(), stays.len() - 1);
    let (_, recovery) = opened(&disk.power_loss(1));
    assert_eq!(targets(&recovery).len(), stays.len() - 1);
}

#[test]
fn a_segment_that_is_cut_loses_its_end() {
    for seed in 0..60_u64 {
        let (disk, live) = written(seed);
        let disk = disk.killed();
        let numbers = super::super::testing::Disk::segments(&disk).unwrap();
        let number = numbers[(seed as usize * 5) % numbers.len()];
        let before: BTreeMap<_, _> = listed(&opened(&disk.killed()).1).into_iter().collect();
        let file = super::super::testing::Disk::open(&disk, number).unwrap();
        file.truncate(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) % file.len().unwrap()).unwrap();
        let (committer, recovery) = opened(&disk);
        let found: BTreeSet<_> = recovered(&recovery, &committer.reader()).into_keys().collect();
        let elsewhere = |target: &&Target| before[*target].place.segment != number;
        assert!(live.keys().filter(elsewhere).all(|target| found.contains(target)), "seed {seed}");
        let is_lost = live.keys().any(|target| !found.contains(target));
        // The end of a segment is known to the one behind it, or to the mark.
        let is_known = numbers.contains(&(number + 1)) || numbers.last() == Some(&number);
        assert!(!is_lost || !is_known || recovery.torn.is_some(), "seed {seed}: nobody is told");
    }
}

#[test]
fn without_its_state_the_store_delivers_again_and_loses_nothing() {
    for seed in 0..10 {
        let (disk, live) = written(seed);
        let disk = disk.killed();
        disk.lose_state();
        let (committer, recovery) = opened(&disk);
        let found = recovered(&recovery, &committer.reader());
        assert!(live.keys().all(|target| found.contains_key(target)));
        assert_eq!(recovery.definitions, [(b"key".to_vec(), b"99".to_vec())]);
        assert_eq!(recovery.torn.unwrap().put_aside.as_deref(), Some("the state was damaged"));
    }
}

/// The first record of a key is kept by its other definition, or by messages beside it.
#[test]
fn a_definition_that_was_removed_stays_removed() {
    for (seed, lose) in (0..20).map(|seed| (seed, seed % 2 == 0)) {
        let disk = MemoryDisk::new(seed);
        let (mut committer, _) = opened(&disk);
        let stays = message(&[(1, 1)], 6_000);
        committer.commit(
            &mut vec![define(&[("a", Some("1")), ("b", Some("1"))]), append(&stays, &[(1, 1)])],
            Moment(0),
        );
        let mut now = settle_down(&mut committer, Moment(0));
        for seq in 2..40 {
            let goes = message(&[(1, seq)], 600);
            let removal = if seq == 3 { define(&[("b", None)]) } else { define(&[("c", Some("1"))]) };
            committer.commit(&mut vec![append(&goes, &[(1, seq)]), removal], now);
            committer.commit(&mut vec![settle(&goes, (1, seq))], now);
            now = settle_down(&mut committer, now);
        }
        committer.commit(&mut vec![define(&[("c", None)])], now);
        settle_down(&mut committer, now);
        let left = disk.power_loss(seed);
        if lose {
            left.lose_state();
        }
        assert_eq!(opened(&left).1.definitions, [(b"a".to_vec(), b"1".to_vec())]);
    }
}

#[test]
fn what_is_spilled_is_forgotten() {
    let disk = MemoryDisk::new(1);
    let (mut committer, _) = opened(&disk);
    let all: Vec<_> = (0..100).map(|seq| message(&[(1, seq)], 300)).collect();
    let spill = |(seq, message): (u64, &Message)| -> Op { append_as(Safety::Spilled, message, &[(1, seq)]) };
    assert!(committer.commit(&mut (0..).zip(&all).map(spill).collect(), Moment(0)));
    let reader = committer.reader();
    let places: Vec<_> = all.iter().map(|message| reader.place(message).unwrap()).collect();
    let found = reader.read(&places).unwrap();
    assert!(found.iter().zip(&all).all(|(found, message)| is_same(found.as_ref().unwrap(), message)));
    let (mut committer, recovery) = opened(&disk.killed());
    assert_eq!((recovery.messages, recovery.queues[0].next.0), (0, 100));
    settle_down(&mut committer, Moment(0));
    assert_eq!(committer.figures().segments, 0);
}
