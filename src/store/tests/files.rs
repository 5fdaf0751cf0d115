//! The store on real files.

use super::super::{Op, Store, StoreError};
use super::handle::wait_until_safe;
use super::{Target, append, define, is_same, message, recovered, settle, settle_all, target, targets};
use ::vhosts::Message;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// What a killed process leaves: the files as they are now.
fn killed(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_all(dir, copy.path());
    copy
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Segments that have their name.
fn segment_files(dir: &TempDir) -> usize {
    let files = fs::read_dir(dir.path().join("segments")).unwrap();
    files.filter(|file| file.as_ref().unwrap().path().extension() == Some("segment".as_ref())).count()
}

fn publish(store: &Store, seqs: std::ops::Range<u64>, len: usize) -> Vec<(u64, Message)> {
    let messages: Vec<_> = seqs.map(|seq| (seq, message(&[(1, seq)], len))).collect();
    for batch in messages.chunks(500) {
        store.submit(&mut batch.iter().map(|(seq, message)| append(message, &[(1, *seq)])).collect());
    }
    wait_until_safe(store, store.submit(&mut Vec::new()));
    messages
}

#[test]
fn a_clean_stop_keeps_what_is_not_settled() {
    let dir = tempfile::tempdir().unwrap();
    let (store, recovery) = Store::open(dir.path()).unwrap();
    assert!(recovery.messages == 0 && recovery.definitions.is_empty() && recovery.torn.is_none());
    let messages = publish(&store, 0..20_000, 200);
    let mut ops: Vec<_> = messages.iter().skip(10).map(|(seq, message)| settle(message, (1, *seq))).collect();
    ops.push(define(&[("queue", Some("durable"))]));
    store.submit(&mut ops);
    store.close().unwrap();
    drop(store);
    let (store, recovery) = Store::open(dir.path()).unwrap();
    assert_eq!(recovery.torn, None);
    assert!(targets(&recovery).into_iter().eq((0..10).map(|seq| (1, seq))));
    assert_eq!(recovery.definitions, [(b"queue".to_vec(), b"durable".to_vec())]);
    assert_eq!((recovery.queues[0].queue, recovery.queues[0].next), target((1, 20_000)));
    store.submit(&mut settle_all(&recovery, store.reader().unwrap()));
    store.close().unwrap();
    drop(store);
    assert_eq!(Store::open(dir.path()).unwrap().1.messages, 0);
}

#[test]
fn a_killed_process_loses_nothing_that_was_safe() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let mut count = 0;
    for round in 1..4 {
        publish(&store, count..count + 1_000 * round, 300);
        count += 1_000 * round;
        let copy = killed(dir.path());
        let (killed, recovery) = Store::open(copy.path()).unwrap();
        assert_eq!(recovery.torn, None);
        assert_eq!(recovered(&recovery, killed.reader().unwrap()).len() as u64, count);
        killed.close().unwrap();
    }
    drop(store);
    let (_, recovery) = Store::open(dir.path()).unwrap();
    assert_eq!(targets(&recovery).len() as u64, count, "gone without a close");
}

#[test]
fn segments_that_are_settled_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    for round in 0..6 {
        let messages = publish(&store, round * 2_000..(round + 1) * 2_000, 4_000);
        store.submit(&mut messages.iter().map(|(seq, message)| settle(message, (1, *seq))).collect());
    }
    store.close().unwrap();
    assert_eq!(segment_files(&dir), 0);
    drop(store);
    let (_, recovery) = Store::open(dir.path()).unwrap();
    assert_eq!((recovery.segments, recovery.messages, recovery.torn), (0, 0, None));
}

#[test]
fn a_body_may_be_larger_than_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let large = message(&[(1, 1), (2, 1)], 20 << 20);
    store.submit(&mut vec![
        append(&message(&[(1, 0)], 10), &[(1, 0)]),
        append(&large, &[(1, 1), (2, 1)]),
        append(&message(&[(1, 2)], 10), &[(1, 2)]),
    ]);
    store.close().unwrap();
    drop(store);
    let (store, recovery) = Store::open(dir.path()).unwrap();
    let found = recovered(&recovery, store.reader().unwrap());
    assert_eq!(found.keys().copied().collect::<Vec<Target>>(), [(1, 0), (1, 1), (1, 2), (2, 1)]);
    assert!(is_same(&found[&(2, 1)].0, &large));
    store.submit(&mut settle_all(&recovery, store.reader().unwrap()));
    store.close().unwrap();
    assert_eq!(segment_files(&dir), 0);
}

#[test]
fn a_directory_has_one_user() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let refused = Store::open(dir.path()).unwrap_err();
    assert!(matches!(&refused, StoreError::Locked { pid, .. } if *pid == std::process::id()), "{refused}");
    store.close().unwrap();
    drop(store);
    Store::open(dir.path()).unwrap();
}

#[test]
fn many_threads_submit() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for queue in 0..4 {
            let store = store.clone();
            scope.spawn(move || {
                let mut ops: Vec<Op> = Vec::new();
                for seq in 0..2_000 {
                    let message = message(&[(queue, seq)], 50);
                    ops.push(append(&message, &[(queue, seq)]));
                    if seq % 17 == 0 {
                        wait_until_safe(&store, store.submit(&mut ops));
                    }
                    if seq % 2 == 0 {
                        ops.push(settle(&message, (queue, seq)));
                    }
                }
                wait_until_safe(&store, store.submit(&mut ops));
            });
        }
    });
    store.close().unwrap();
    drop(store);
    let (_, recovery) = Store::open(dir.path()).unwrap();
    let expected = (0..4).flat_map(|queue| (1..2_000).step_by(2).map(move |seq| (queue, seq)));
    assert!(targets(&recovery).into_iter().eq(expected));
}
