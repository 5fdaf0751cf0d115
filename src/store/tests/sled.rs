//! The store on a real database.

use super::super::{Op, Store, StoreError};
use super::handle::wait_until_safe;
use super::{append, is_same, message, note, numbered_note, recovered, settle, settle_all, transaction};
use ::vhosts::{Message, QueueId};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// What a killed process leaves: the files as they are now.
fn killed(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for from in [Path::new(""), Path::new("sled"), Path::new("sled/blobs")] {
        fs::create_dir_all(copy.path().join(from)).unwrap();
        for entry in fs::read_dir(dir.join(from)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), copy.path().join(from).join(entry.file_name())).unwrap();
            }
        }
    }
    copy
}

fn assert_no_blobs(dir: &Path) {
    assert_eq!(fs::read_dir(dir.join("sled/blobs")).unwrap().count(), 0, "pages spilled into blob files");
}

fn publish(store: &Store, seqs: std::ops::Range<u64>, len: usize) -> Vec<(u64, Message)> {
    let messages: Vec<_> = seqs.map(|seq| (seq, message(&[(1, seq)], len))).collect();
    for batch in messages.chunks(500) {
        let mut ops = batch.iter().map(|(seq, message)| append(message, &[(1, *seq)])).collect();
        store.submit(&mut ops);
    }
    wait_until_safe(store, store.submit(&mut Vec::new()));
    messages
}

#[test]
fn a_clean_stop_keeps_what_is_not_settled() {
    let dir = tempfile::tempdir().unwrap();
    let (store, recovery) = Store::open(dir.path()).unwrap();
    assert!(recovery.messages.is_empty() && recovery.definitions.is_empty() && recovery.torn.is_none());
    let messages = publish(&store, 0..20_000, 200);
    let mut ops: Vec<_> = messages.iter().skip(10).map(|(seq, message)| settle(message, (1, *seq))).collect();
    ops.push(Op::Define { key: b"queue".to_vec(), value: Some(b"durable".to_vec()) });
    store.submit(&mut ops);
    store.close().unwrap();
    assert_no_blobs(dir.path());
    drop(store);
    let (store, recovery) = Store::open(dir.path()).unwrap();
    assert_eq!(recovery.torn, None);
    assert_eq!(
        recovered(&recovery).into_keys().collect::<Vec<_>>(),
        (0..10).map(|seq| (1, seq)).collect::<Vec<_>>()
    );
    assert_eq!(recovery.definitions, [(b"queue".to_vec(), b"durable".to_vec())]);
    assert_eq!(recovery.next_seqs, [super::target((1, 20_000))]);
    assert_eq!(recovery.groups, 1, "the groups that were settled are gone");
    store.close().unwrap();
}

#[test]
fn a_killed_process_loses_nothing_that_was_safe() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let mut count = 0;
    for round in 1..6 {
        publish(&store, count..count + 1_000 * round, 300);
        count += 1_000 * round;
        let copy = killed(dir.path());
        let (killed, recovery) = Store::open(copy.path()).unwrap();
        assert_eq!(recovery.torn, None);
        assert_eq!(recovered(&recovery).len() as u64, count);
        assert!(recovery.next_seqs[0].1.0 >= count);
        killed.close().unwrap();
    }
    drop(store);
    let (_, recovery) = Store::open(dir.path()).unwrap();
    assert_eq!(recovered(&recovery).len() as u64, count, "gone without a close");
}

#[test]
fn settled_groups_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    for round in 0..12 {
        let messages = publish(&store, round * 2_000..(round + 1) * 2_000, 4_000);
        store.submit(&mut messages.iter().map(|(seq, message)| settle(message, (1, *seq))).collect());
    }
    store.close().unwrap();
    assert_eq!(store.figures().groups, 0);
    assert_no_blobs(dir.path());
    drop(store);
    let (store, recovery) = Store::open(dir.path()).unwrap();
    assert_eq!((recovery.groups, recovery.messages.len(), recovery.torn), (0, 0, None));
    store.close().unwrap();
    assert!(
        store.figures().disk_bytes < 80 << 20,
        "{} bytes for 96 MB in and out",
        store.figures().disk_bytes
    );
}

#[test]
fn large_bodies_are_split() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let large = message(&[(1, 1), (2, 1)], 20 << 20);
    store.submit(&mut vec![
        append(&message(&[(1, 0)], 10), &[(1, 0)]),
        append(&large, &[(1, 1), (2, 1)]),
        append(&message(&[(1, 2)], 10), &[(1, 2)]),
    ]);
    store.close().unwrap();
    assert_no_blobs(dir.path());
    drop(store);
    let (store, recovery) = Store::open(dir.path()).unwrap();
    let found = recovered(&recovery);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [(1, 0), (1, 1), (1, 2), (2, 1)]);
    assert!(is_same(&found[&(2, 1)].0, &large));
    store.submit(&mut settle_all(&recovery));
    store.close().unwrap();
    assert_eq!(store.figures().groups, 0);
}

#[test]
fn many_large_definitions_make_no_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    for round in 0..4 {
        for key in 0..60_u8 {
            store.submit(&mut vec![Op::Define {
                key: vec![key],
                value: Some(vec![round; super::super::DEFINITION_MAX]),
            }]);
        }
    }
    store.close().unwrap();
    assert_no_blobs(dir.path());
    drop(store);
    assert_eq!(Store::open(dir.path()).unwrap().1.definitions.len(), 60);
}

#[test]
fn a_directory_has_one_user() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let refused = Store::open(dir.path()).unwrap_err();
    assert!(matches!(&refused, StoreError::Locked { pid, .. } if *pid == std::process::id()), "{refused}");
    store.close().unwrap();
    Store::open(dir.path()).unwrap();
}

#[test]
fn another_format_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    publish(&store, 0..1, 10);
    store.close().unwrap();
    drop(store);
    for other in [1_u32, 3] {
        let db = sled::Config::new().path(dir.path().join("sled")).segment_size(8 << 20).open().unwrap();
        db.insert(b"format", &other.to_le_bytes()).unwrap();
        drop(db);
        let refused = Store::open(dir.path()).unwrap_err();
        assert!(
            matches!(refused, StoreError::OtherFormat { found, supported: 2 } if found == other),
            "{refused}"
        );
        let text = refused.to_string();
        assert!(text.contains(&format!("in format {other}, and this version reads format 2 only")), "{text}");
    }
    let db = sled::Config::new().path(dir.path().join("sled")).segment_size(8 << 20).open().unwrap();
    db.insert(b"format", &2_u32.to_le_bytes()).unwrap();
    drop(db);
    assert_eq!(recovered(&Store::open(dir.path()).unwrap().1).len(), 1, "what was refused is untouched");
}

#[test]
fn a_transaction_larger_than_a_group_is_split() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let originals = publish(&store, 0..1_000, 10);
    let copies: Vec<_> = (0..3_000).map(|seq| message(&[(2, seq), (3, seq)], 2_000)).collect();
    let targets: Vec<_> = (0..3_000).map(|seq| [(2, seq), (3, seq)]).collect();
    let appends: Vec<_> = copies.iter().zip(&targets).map(|(copy, targets)| (copy, &targets[..])).collect();
    let settles: Vec<_> = originals.iter().map(|(seq, original)| (original, (1, *seq))).collect();
    wait_until_safe(&store, store.submit(&mut vec![transaction(&appends, &settles)]));
    publish(&store, 1_000..1_001, 10);
    let copy = killed(dir.path());
    let (killed, recovery) = Store::open(copy.path()).unwrap();
    assert_eq!(recovery.torn, None);
    let found = recovered(&recovery);
    let expected =
        [(1, 1_000)].into_iter().chain((2..4).flat_map(|queue| (0..3_000).map(move |seq| (queue, seq))));
    assert!(found.keys().copied().eq(expected));
    assert!(copies.iter().zip(0..).all(|(copy, seq)| is_same(copy, &found[&(3, seq)].0)));
    killed.submit(&mut settle_all(&recovery));
    killed.close().unwrap();
    assert_eq!(killed.figures().groups, 0);
    store.close().unwrap();
    assert_no_blobs(dir.path());
}

#[test]
fn notes_are_written_with_the_settlements() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let messages = publish(&store, 0..40_000, 10);
    for round in 1..4 {
        let ops = messages
            .iter()
            .zip(0..)
            .map(|((seq, message), at)| note(message, (1, *seq), numbered_note(at * round)));
        store.submit(&mut ops.collect());
        wait_until_safe(&store, store.submit(&mut Vec::new()));
    }
    store.close().unwrap();
    assert_no_blobs(dir.path());
    drop(store);
    let (store, recovery) = Store::open(dir.path()).unwrap();
    let found = recovered(&recovery);
    assert!(found.iter().all(|((_, seq), (_, note))| *note == numbered_note(*seq as u32 * 3)));
    assert_eq!((found.len(), recovery.torn), (40_000, None));
    store.submit(&mut settle_all(&recovery));
    store.close().unwrap();
    drop(store);
    let (_, recovery) = Store::open(dir.path()).unwrap();
    assert_eq!((recovery.groups, recovery.torn), (0, None));
}

#[test]
fn a_cut_end_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    publish(&store, 0..10, 10);
    let early = killed(dir.path());
    for seq in 10..13 {
        publish(&store, seq..seq + 1, 10);
    }
    store.close().unwrap();
    fs::copy(dir.path().join("watermark"), early.path().join("watermark")).unwrap();
    let (store, recovery) = Store::open(early.path()).unwrap();
    assert_eq!(recovered(&recovery).len(), 10);
    assert!(recovery.torn.is_some_and(|torn| torn.lost_syncs >= 3), "{:?}", recovery.torn);
    store.close().unwrap();
    drop(store);
    assert_eq!(Store::open(early.path()).unwrap().1.torn, None, "reported once");
}

#[test]
fn a_damaged_database_is_an_error_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    publish(&store, 0..20_000, 1_000);
    store.close().unwrap();
    drop(store);
    let path = dir.path().join("sled/db");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 65_536].fill(0);
    fs::write(&path, bytes).unwrap();
    match Store::open(dir.path()) {
        Err(refused) => {
            assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
            assert!(refused.to_string().contains("move the directory aside"), "{refused}");
        }
        Ok((_, recovery)) => assert!(recovery.torn.is_some(), "damage went unnoticed"),
    }
}

#[test]
fn many_threads_submit() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for queue in 0..4 {
            let store = store.clone();
            scope.spawn(move || {
                let mut ops = Vec::new();
                for seq in 0..5_000 {
                    let message = message(&[(queue, seq)], 50);
                    ops.push(append(&message, &[(queue, seq)]));
                    if seq % 7 == 0 {
                        wait_until_safe(&store, store.submit(&mut ops));
                    }
                    if seq % 2 == 0 {
                        ops.push(settle(&message, (queue, seq)));
                    }
                }
                ops.push(Op::Forget { queue: QueueId(100 + queue) });
                wait_until_safe(&store, store.submit(&mut ops));
            });
        }
    });
    store.close().unwrap();
    drop(store);
    let (_, recovery) = Store::open(dir.path()).unwrap();
    let expected: Vec<_> =
        (0..4).flat_map(|queue| (1..5_000).step_by(2).map(move |seq| (queue, seq))).collect();
    assert_eq!(recovered(&recovery).into_keys().collect::<Vec<_>>(), expected);
}
