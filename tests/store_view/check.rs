//! Damage is found, and named.

use super::world::{QUEUES, World, append, plain, settle};
use haremq::store::{Fault, Store, View, segment_file_name};
use std::ops::Range;

/// Messages in all queues, some of them shared and settled, in closed segments.
fn filled() -> World {
    let mut world = World::defined();
    for seq in 1..=8_u64 {
        let queue = 1 + seq % QUEUES.len() as u64;
        let alone = plain(format!("message {seq} {}", "x".repeat(seq as usize * 7)).as_bytes());
        let shared = plain(b"shared");
        let targets = [(1, 100 + seq), (2, 100 + seq)];
        world.submit(vec![append(&alone, &[(queue, seq)]), append(&shared, &targets)]);
        if seq.is_multiple_of(3) {
            world.submit(vec![settle(&alone, (queue, seq)), settle(&shared, targets[0])]);
        }
        if seq == 5 {
            world = world.reopen();
        }
    }
    world.reopen()
}

fn faults(view: &View) -> Vec<Fault> {
    view.check(&mut |_| {}).unwrap().faults
}

/// Where the records of each message that is not settled are, with the queue and its number there.
fn records(view: &View) -> Vec<(u64, Range<u64>, u64, u64)> {
    let queues = view.recovery().queues.iter();
    let records = queues.flat_map(|queue| {
        queue.messages().map(|message| {
            let start = u64::from(message.place.unit) * 16;
            let end = start + u64::from(message.place.units) * 16;
            (message.place.segment, start..end, queue.queue.0, message.seq.0)
        })
    });
    records.collect()
}

#[test]
fn what_is_sound_has_no_faults() {
    let mut world = filled();
    assert_eq!(faults(&world.view()), []);
    // Also while it is written to.
    world.submit(vec![append(&plain(b"more"), &[(1, 200)])]);
    let checked = world.view().check(&mut |_| {}).unwrap();
    assert_eq!(checked.faults, []);
    assert_eq!(checked.segments, 3);
}

#[test]
fn every_flipped_byte_of_a_message_is_found_and_its_queue_named() {
    let mut world = filled();
    let records = records(&world.view());
    assert!(records.len() > 15);
    for (segment, range, queue, seq) in records {
        let mut unseen = Vec::new();
        for offset in range.clone() {
            assert!(world.disk.flip(segment, offset, 1 << (offset % 8)));
            let found = faults(&world.view());
            assert!(world.disk.flip(segment, offset, 1 << (offset % 8)));
            let names = |fault: &Fault| match fault {
                Fault::Records { segment: at, messages, .. } if *at == segment => {
                    messages.iter().any(|range| {
                        (range.queue.0, range.first.0, range.last.0) == (queue, seq, seq) && range.lost == 1
                    })
                }
                _ => false,
            };
            match &found[..] {
                [] => unseen.push(offset),
                [fault] => assert!(names(fault), "{fault:?} for message {seq} of queue {queue}"),
                faults => panic!("{faults:?}"),
            }
        }
        // The zeros up to the next unit are not part of it.
        assert!(unseen.len() < 16 && unseen.iter().all(|offset| offset + 16 > range.end), "{unseen:?}");
    }
}

#[test]
fn every_flipped_byte_of_a_record_or_a_header_is_found() {
    let mut world = filled();
    let view = world.view();
    let end = view.recovery().queues.iter().flat_map(|queue| queue.messages());
    let end = end.map(|message| message.place).filter(|place| place.segment == 1).max().unwrap();
    let end = 16 * (u64::from(end.unit) + u64::from(end.units));
    let mut unseen = Vec::new();
    for offset in 0..end {
        assert!(world.disk.flip(1, offset, 0x55));
        let found = faults(&world.view());
        assert!(world.disk.flip(1, offset, 0x55));
        match &found[..] {
            [] => unseen.push(offset),
            [Fault::Header(1)] => assert!(offset < 32),
            [Fault::Records { segment: 1, bytes, messages, contents, .. }] => {
                assert!(*bytes > 0 && messages.len() as u64 + contents > 0);
            }
            faults => panic!("{faults:?} for the byte at {offset}"),
        }
    }
    // The zeros of a record are less than a unit, and end with it.
    assert!(end > 1500);
    let mut at = 0;
    while let Some(run) = unseen.get(at..).filter(|run| !run.is_empty()) {
        let len = (1..16).find(|len| run.get(*len) != Some(&(run[0] + *len as u64))).unwrap_or(16);
        assert!(
            len < 16 && (run[0] + len as u64).is_multiple_of(16),
            "from {} on nothing is looked at",
            run[0]
        );
        at += len;
    }
    assert_eq!(faults(&world.view()), []);
}

#[test]
fn every_flipped_byte_of_an_index_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    store.submit(&mut vec![append(&plain(b"one"), &[(1, 1)]), append(&plain(b"two"), &[(1, 2), (2, 1)])]);
    store.close().unwrap();
    drop(store);
    let path = dir.path().join("segments").join(segment_file_name(1));
    let sound = std::fs::read(&path).unwrap();
    let seen = || faults(&View::of_directory(dir.path()).unwrap());
    assert_eq!(seen(), []);
    let end = u32::from_le_bytes(sound[sound.len() - 8..][..4].try_into().unwrap()) as usize * 16;
    for offset in end..sound.len() {
        let mut damaged = sound.clone();
        damaged[offset] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(seen(), [Fault::Index(1)], "the byte at {offset}");
        assert_eq!(std::fs::read(&path).unwrap(), damaged, "a check has written");
    }
}

#[test]
fn what_takes_the_space_adds_up() {
    let mut world = filled();
    let view = world.view();
    let usage = view.usage().unwrap();
    assert_eq!(usage.log(), view.log_bytes().unwrap());
    let messages: u64 = usage.queues.values().map(|queue| queue.messages).sum();
    assert_eq!(messages, view.recovery().messages);
    assert!(usage.settled > 0 && usage.definitions > 0 && usage.indexes > 0);
    assert_eq!((usage.reserved, usage.replaced), (0, 0));
    // A segment that is being written reserves its room.
    world.submit(vec![append(&plain(b"more"), &[(1, 200)])]);
    let usage = world.view().usage().unwrap();
    assert_eq!(usage.segments, 3);
}
