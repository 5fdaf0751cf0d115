//! The disk keeps what it must, and loses what it may for some seed.

use super::*;
use std::collections::BTreeSet;
use std::io::ErrorKind;

const LEN: u64 = 8192;
const SEEDS: u64 = 300;

fn disk() -> (MemoryDisk, Arc<dyn SegmentFile>) {
    let mut disk = MemoryDisk::new(0);
    let segment = disk.create(7, LEN).unwrap();
    (disk, segment)
}

fn content(disk: &MemoryDisk, number: SegmentNumber) -> Vec<u8> {
    let segment = disk.open(number).unwrap();
    let mut bytes = vec![1; segment.len().unwrap() as usize + 1];
    let read = segment.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(read);
    bytes
}

fn state(disk: &MemoryDisk) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut state = Vec::new();
    disk.read_state(&mut |key, value| state.push((key.to_vec(), value.to_vec()))).unwrap();
    state
}

fn put(key: &[u8], value: &[u8]) -> Assignment {
    (key.to_vec(), Some(value.to_vec()))
}

/// What is found for some seed.
fn outcomes<T: Ord>(look: impl FnMut(u64) -> T) -> BTreeSet<T> {
    (0..SEEDS).map(look).collect()
}

/// Fails the next operation.
fn fail_next(disk: &MemoryDisk, fault: Fault) {
    disk.faults().fail_at(disk.faults().operations(), fault);
}

#[test]
fn what_was_synced_survives_and_the_rest_does_so_in_every_way() {
    let (disk, segment) = disk();
    segment.write_at(&[b'a'; 100], 0).unwrap();
    segment.write_at(&[b'b'; 2000], 100).unwrap();
    segment.sync().unwrap();
    segment.write_at(&[b'c'; 1000], 2100).unwrap();
    segment.write_at(&[b'd'; 10], 3100).unwrap();
    let seen = content(&disk, 7);
    assert_eq!(disk.killed().segments().unwrap(), [7]);
    assert_eq!(content(&disk.killed(), 7), seen);
    let found = outcomes(|seed| {
        let left = content(&disk.power_loss(seed), 7);
        assert_eq!((left.len() as u64, &left[..2100], &left[3110..]), (LEN, &seen[..2100], &seen[3110..]));
        let sectors = [2100, 2560, 3072].map(|at| left[at]);
        // Between two boundaries of sectors it is all or nothing.
        assert!(left[2100..2560].iter().all(|byte| *byte == sectors[0]));
        assert!(left[2560..3072].iter().all(|byte| *byte == sectors[1]));
        sectors.map(|byte| byte == b'c').into_iter().chain([left[3100] == b'd']).collect::<Vec<_>>()
    });
    assert_eq!(found.len(), 16, "{found:?}");
}

#[test]
fn the_same_seed_leaves_the_same() {
    let (disk, segment) = disk();
    segment.write_at(&[b'a'; 4000], 10).unwrap();
    (0..SEEDS)
        .for_each(|seed| assert_eq!(content(&disk.power_loss(seed), 7), content(&disk.power_loss(seed), 7)));
}

#[test]
fn after_the_power_came_back_it_is_another_disk() {
    let (disk, segment) = disk();
    let left = disk.power_loss(1);
    segment.write_at(b"late", 0).unwrap();
    segment.sync().unwrap();
    assert_eq!(content(&left, 7)[..4], [0; 4]);
    let killed = disk.killed();
    segment.write_at(b"more", 0).unwrap();
    assert_eq!(&content(&killed, 7)[..4], b"late");
}

#[test]
fn a_segment_is_made_and_removed_for_good() {
    let (mut disk, segment) = disk();
    segment.write_at(b"here", 0).unwrap();
    disk.create(9, 16).unwrap();
    assert_eq!(disk.create(9, 16).unwrap_err().kind(), ErrorKind::AlreadyExists);
    disk.remove(&[7, 8]).unwrap();
    assert_eq!(disk.open(7).unwrap_err().kind(), ErrorKind::NotFound);
    let mut bytes = [0; 4];
    assert_eq!((segment.read_at(&mut bytes, 0).unwrap(), &bytes), (4, b"here"));
    assert_eq!(outcomes(|seed| disk.power_loss(seed).segments().unwrap()), [vec![9]].into());
    assert_eq!(content(&disk, 9), [0; 16]);
}

#[test]
fn a_read_ends_at_the_end_of_the_file() {
    let (_, segment) = disk();
    segment.truncate(6).unwrap();
    segment.write_at(b"abc", 1).unwrap();
    let mut bytes = [9; 8];
    assert_eq!((segment.read_at(&mut bytes, 2).unwrap(), &bytes), (4, b"bc\0\0\x09\x09\x09\x09"));
    assert_eq!((segment.read_at(&mut bytes, 6).unwrap(), segment.read_at(&mut bytes, 60).unwrap()), (0, 0));
    segment.write_at(b"longer", 4).unwrap();
    assert_eq!(segment.len().unwrap(), 10);
}

#[test]
fn a_truncation_may_be_lost_until_it_is_synced() {
    let (disk, segment) = disk();
    segment.truncate(10).unwrap();
    assert_eq!(outcomes(|seed| content(&disk.power_loss(seed), 7).len()), [10, LEN as usize].into());
    segment.sync().unwrap();
    assert_eq!(outcomes(|seed| content(&disk.power_loss(seed), 7).len()), [10].into());
}

#[test]
fn a_write_that_fails_was_done_in_any_part() {
    let found = outcomes(|seed| {
        let mut disk = MemoryDisk::new(seed);
        let segment = disk.create(7, LEN).unwrap();
        fail_next(&disk, Fault::Once(ErrorKind::Other));
        segment.write_at(&[1; 1536], 0).unwrap_err();
        let left = content(&disk, 7);
        segment.write_at(&[2; 1536], 0).unwrap();
        [0, 512, 1024].map(|at| left[at])
    });
    assert_eq!(found.len(), 8, "{found:?}");
}

#[test]
fn a_sync_that_fails_may_lose_what_a_later_one_does_not_bring_back() {
    let found = outcomes(|seed| {
        let mut disk = MemoryDisk::new(seed);
        let segment = disk.create(7, LEN).unwrap();
        segment.write_at(b"old", 0).unwrap();
        segment.sync().unwrap();
        segment.write_at(b"new", 0).unwrap();
        fail_next(&disk, Fault::Once(ErrorKind::Other));
        segment.sync().unwrap_err();
        segment.sync().unwrap();
        let seen = content(&disk, 7)[..3].to_vec();
        let safe = content(&disk.power_loss(seed), 7)[..3].to_vec();
        segment.write_at(b"end", 0).unwrap();
        segment.sync().unwrap();
        assert_eq!(&content(&disk.power_loss(seed), 7)[..3], b"end");
        (seen, safe)
    });
    let pair = |seen: &[u8], safe: &[u8]| (seen.to_vec(), safe.to_vec());
    assert_eq!(found, [pair(b"new", b"new"), pair(b"new", b"old"), pair(b"old", b"old")].into());
}

#[test]
fn the_state_is_written_whole_or_not_at_all() {
    let found = outcomes(|seed| {
        let mut disk = MemoryDisk::new(seed);
        disk.write_state(&[put(b"a", b"1"), put(b"b", b"1")]).unwrap();
        fail_next(&disk, Fault::Once(ErrorKind::StorageFull));
        let changes = [put(b"a", b"2"), (b"b".to_vec(), None)];
        disk.write_state(&changes).unwrap_err();
        let (seen, safe) = (state(&disk), state(&disk.power_loss(seed)));
        disk.write_state(&changes).unwrap();
        assert_eq!(state(&disk.power_loss(seed)), [(b"a".to_vec(), b"2".to_vec())]);
        (seen.len(), safe.len())
    });
    assert_eq!(found, [(1, 1), (1, 2), (2, 1), (2, 2)].into());
}

#[test]
fn a_mark_may_be_any_older_one() {
    let (mut disk, _segment) = disk();
    let marks = [1, 2, 3].map(|end| Mark { segment: 7, end });
    marks.iter().for_each(|mark| disk.mark(*mark).unwrap());
    assert_eq!((disk.marked(), disk.killed().marked()), (marks[2], marks[2]));
    let [one, two, three] = marks;
    assert_eq!(outcomes(|seed| disk.power_loss(seed).marked()), [Mark::default(), one, two, three].into());
}

#[test]
fn a_removal_that_fails_may_be_undone_by_a_loss_of_power() {
    let found = outcomes(|seed| {
        let mut disk = MemoryDisk::new(seed);
        disk.create(1, 16).unwrap();
        disk.create(2, 16).unwrap();
        fail_next(&disk, Fault::Once(ErrorKind::Other));
        disk.remove(&[1]).unwrap_err();
        let (seen, safe) = (disk.segments().unwrap(), disk.power_loss(seed).segments().unwrap());
        disk.remove(&[1]).unwrap();
        assert_eq!(disk.power_loss(seed).segments().unwrap(), [2]);
        (seen, safe)
    });
    assert_eq!(found, [(vec![1, 2], vec![1, 2]), (vec![2], vec![1, 2]), (vec![2], vec![2])].into());
}

#[test]
fn a_fault_lasts_as_long_as_it_was_told() {
    let (mut disk, segment) = disk();
    let faults = disk.faults();
    assert_eq!(faults.operations(), 1);
    faults.fail_at(2, Fault::Once(ErrorKind::TimedOut));
    segment.sync().unwrap();
    assert_eq!(segment.sync().unwrap_err().kind(), ErrorKind::TimedOut);
    segment.sync().unwrap();
    faults.fail_at(0, Fault::From(ErrorKind::StorageFull));
    assert_eq!(disk.create(8, 1).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.write_state(&[]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!((disk.segments().unwrap(), faults.operations(), faults.reads()), (vec![7], 6, 1));
    faults.heal();
    disk.create(8, 1).unwrap();
    faults.fail_read_at(1, Fault::Once(ErrorKind::TimedOut));
    assert_eq!(segment.len().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(segment.len().unwrap(), LEN);
}

#[test]
fn after_a_crash_nothing_happens_any_more() {
    let found = outcomes(|seed| {
        let mut disk = MemoryDisk::new(seed);
        let segment = disk.create(1, LEN).unwrap();
        fail_next(&disk, Fault::Crash);
        disk.create(2, LEN).unwrap_err();
        disk.faults().heal();
        assert!(disk.faults().is_crashed());
        assert!(disk.create(3, 1).is_err() && disk.write_state(&[put(b"a", b"1")]).is_err());
        assert!(disk.remove(&[1]).is_err() && disk.mark(Mark { segment: 1, end: 1 }).is_err());
        assert!(
            segment.write_at(b"a", 0).is_err() && segment.truncate(1).is_err() && segment.sync().is_err()
        );
        assert!(disk.segments().is_err() && segment.read_at(&mut [0], 0).is_err());
        let left = disk.killed();
        assert_eq!((content(&left, 1), left.marked()), (vec![0; LEN as usize], Mark::default()));
        assert!(state(&left).is_empty() && !left.faults().is_crashed());
        left.open(2).ok().map(|segment| [0, LEN].contains(&segment.len().unwrap()))
    });
    assert_eq!(found, [None, Some(false), Some(true)].into());
}

#[test]
fn a_full_disk_refuses_what_takes_room() {
    let (mut disk, segment) = disk();
    disk.write_state(&[put(b"key", b"value")]).unwrap();
    assert_eq!((disk.used(), disk.state_bytes()), (LEN + 8, 8));
    disk.limit(LEN + 18);
    let is_full = |error: io::Error| assert_eq!(error.kind(), ErrorKind::StorageFull);
    is_full(disk.create(8, 100).map(drop).unwrap_err());
    is_full(disk.write_state(&[put(b"key", b"other"), (b"too long".to_vec(), None)]).unwrap_err());
    is_full(segment.write_at(b"behind the end", LEN).unwrap_err());
    segment.write_at(b"room", 0).unwrap();
    disk.write_state(&[put(b"key", b"other")]).unwrap();
    disk.remove(&[7]).unwrap();
    disk.create(8, 10).unwrap();
    disk.limit(u64::MAX);
    disk.create(9, 1 << 40).unwrap();
}

#[test]
fn damage_is_seen_at_once_and_stays() {
    let (disk, segment) = disk();
    segment.write_at(b"abc", 0).unwrap();
    segment.sync().unwrap();
    assert!(disk.flip(7, 1, 1) && disk.flip(7, LEN - 1, 0x80));
    assert!(!disk.flip(7, LEN, 1) && !disk.flip(8, 0, 1));
    for disk in [&disk, &disk.power_loss(0)] {
        let found = content(disk, 7);
        assert_eq!((&found[..3], found[LEN as usize - 1]), (b"acc".as_slice(), 0x80));
    }
}

#[test]
fn a_lost_state_is_told_once() {
    let (mut disk, _segment) = disk();
    disk.write_state(&[put(b"a", b"1")]).unwrap();
    assert!(disk.put_aside().is_none());
    disk.lose_state();
    assert!(state(&disk).is_empty() && disk.put_aside().is_some() && disk.killed().put_aside().is_none());
}
