//! The commit thread and the handle.

use super::super::testing::{Assignment, Disk, Fault, Mark, MemoryDisk, SegmentFile, SegmentNumber};
use super::super::{Lsn, Progress, Store, StoreError};
use super::{append, message, opened, settle, targets};
use ::vhosts::Moment;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

/// Waits for the store without a runtime.
pub(super) fn wait_for(
    progress: &mut watch::Receiver<Progress>,
    done: impl FnMut(&Progress) -> bool,
) -> Progress {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(progress.wait_for(done)).unwrap().clone()
}

pub(super) fn wait_until_safe(store: &Store, lsn: Lsn) {
    let reached =
        wait_for(&mut store.progress(), |progress| progress.durable >= lsn || progress.failed.is_some());
    assert!(reached.failed.is_none(), "{:?}", reached.failed);
}

fn threaded(disk: &MemoryDisk) -> Store {
    let disk = disk.clone();
    Store::threaded(move || Ok(Box::new(disk))).unwrap().0
}

#[test]
fn a_store_that_keeps_nothing_finds_everything_safe() {
    let (store, recovery) = Store::in_memory();
    assert!(recovery.messages == 0 && recovery.torn.is_none());
    let mut ops = vec![append(&message(&[(1, 1)], 100), &[(1, 1)])];
    wait_until_safe(&store, store.submit(&mut ops));
    assert!(ops.is_empty() && !store.is_crowded());
    store.close().unwrap();
}

#[test]
fn an_empty_submission_is_as_safe_as_the_one_before() {
    let (store, _, _) = Store::manual(Box::new(MemoryDisk::new(1))).unwrap();
    assert_eq!(store.submit(&mut Vec::new()), Lsn(0));
    let lsn = store.submit(&mut vec![append(&message(&[(1, 1)], 1), &[(1, 1)])]);
    assert_eq!(store.submit(&mut Vec::new()), lsn);
}

#[test]
fn a_close_writes_everything_and_takes_nothing_more() {
    let disk = MemoryDisk::new(1);
    let store = threaded(&disk);
    let (stays, goes) = (message(&[(1, 1)], 100), message(&[(1, 2)], 100));
    wait_until_safe(&store, store.submit(&mut vec![append(&stays, &[(1, 1)]), append(&goes, &[(1, 2)])]));
    store.submit(&mut vec![settle(&goes, (1, 2))]);
    store.close().unwrap();
    let late = store.submit(&mut vec![append(&message(&[(1, 3)], 1), &[(1, 3)])]);
    assert!(store.progress().borrow().durable < late);
    assert_eq!(targets(&opened(&disk.power_loss(1)).1), [(1, 1)]);
}

#[test]
fn a_store_that_nobody_has_any_more_stops() {
    let disk = MemoryDisk::new(1);
    let store = threaded(&disk);
    let kept = message(&[(1, 1)], 100);
    wait_until_safe(&store, store.submit(&mut vec![append(&kept, &[(1, 1)])]));
    drop(store);
    let operations = disk.faults().operations();
    assert_eq!(targets(&opened(&disk.killed()).1), [(1, 1)]);
    assert_eq!(disk.faults().operations(), operations, "nobody writes any more");
}

#[test]
fn who_submits_too_much_is_told_to_wait() {
    let disk = MemoryDisk::new(1);
    let (store, mut stepper, _) = Store::manual(Box::new(disk.clone())).unwrap();
    stepper.step(Moment(0));
    disk.faults().fail_at(disk.faults().operations(), Fault::From(io::ErrorKind::StorageFull));
    for seq in 0..5 {
        assert_eq!(store.is_crowded(), seq > 4);
        store.submit(&mut vec![append(&message(&[(1, seq)], 15 << 20), &[(1, seq)])]);
    }
    assert!(store.is_crowded());
    stepper.step(Moment(1));
    assert!(store.is_crowded() && store.progress().borrow().stalled.is_some());
    disk.faults().heal();
    stepper.step(stepper.deadline().unwrap());
    stepper.step(Moment(5_000));
    assert!(!store.is_crowded() && store.progress().borrow().stalled.is_none());
}

/// A disk that panics, as a database may.
struct Panicking(MemoryDisk);

impl Disk for Panicking {
    fn segments(&self) -> io::Result<Vec<SegmentNumber>> {
        self.0.segments()
    }
    fn create(&mut self, _: SegmentNumber, _: u64) -> io::Result<Arc<dyn SegmentFile>> {
        panic!("a bug below")
    }
    fn open(&self, number: SegmentNumber) -> io::Result<Arc<dyn SegmentFile>> {
        self.0.open(number)
    }
    fn remove(&mut self, numbers: &[SegmentNumber]) -> io::Result<()> {
        self.0.remove(numbers)
    }
    fn read_state(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.0.read_state(each)
    }
    fn write_state(&mut self, changes: &[Assignment]) -> io::Result<()> {
        self.0.write_state(changes)
    }
    fn random(&mut self) -> u32 {
        self.0.random()
    }
    fn mark(&mut self, synced: Mark) -> io::Result<()> {
        self.0.mark(synced)
    }
    fn marked(&self) -> Mark {
        self.0.marked()
    }
}

#[test]
fn a_panic_in_the_commit_thread_is_a_failure_that_everyone_sees() {
    let (store, _) = Store::threaded(|| Ok(Box::new(Panicking(MemoryDisk::new(1))))).unwrap();
    store.submit(&mut vec![append(&message(&[(1, 1)], 100), &[(1, 1)])]);
    let progress = wait_for(&mut store.progress(), |progress| progress.failed.is_some());
    assert_eq!(progress.durable, Lsn(0));
    let failed: Arc<StoreError> = store.close().unwrap_err();
    assert!(failed.to_string().contains("a bug below"), "{failed}");
}
