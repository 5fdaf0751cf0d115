//! The commit thread and the handle.

use super::super::log::{GroupNumber, Log};
use super::super::testing::Disk;
use super::super::{Lsn, Progress, Store, StoreError};
use super::{append, message, settle};
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

#[test]
fn without_a_directory_everything_is_safe_at_once() {
    let (store, recovery) = Store::in_memory().unwrap();
    assert!(recovery.messages.is_empty() && recovery.torn.is_none());
    let message = message(&[(1, 1)], 100);
    wait_until_safe(&store, store.submit(&mut vec![append(&message, &[(1, 1)])]));
    wait_until_safe(&store, store.submit(&mut vec![settle(&message, (1, 1))]));
    assert_eq!(store.figures().written, 1);
    store.close().unwrap();
    let late = store.submit(&mut vec![append(&message, &[(1, 2)])]);
    assert!(store.progress().borrow().durable < late, "a closed store takes nothing");
}

#[test]
fn an_empty_submission_is_as_safe_as_the_one_before() {
    let (store, _, _) = Store::manual(Disk::default().log()).unwrap();
    assert_eq!(store.submit(&mut Vec::new()), Lsn(0));
    let lsn = store.submit(&mut vec![append(&message(&[(1, 1)], 1), &[(1, 1)])]);
    assert_eq!(store.submit(&mut Vec::new()), lsn);
}

/// A log that panics, as sled may.
struct Panicking;

impl Log for Panicking {
    fn write_chunk(&mut self, _: GroupNumber, _: u32, _: &[u8]) -> Result<(), StoreError> {
        panic!("a bug below")
    }
    fn close_group(&mut self, _: GroupNumber) -> Result<(), StoreError> {
        Ok(())
    }
    fn drop_group(&mut self, _: GroupNumber) -> Result<(), StoreError> {
        Ok(())
    }
    fn put(&mut self, _: &[u8], _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }
    fn remove(&mut self, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    fn groups(&self) -> Result<Vec<GroupNumber>, StoreError> {
        Ok(Vec::new())
    }
    fn read_group(&self, _: GroupNumber, _: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        Ok(())
    }
    fn read_state(&self, _: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn a_panic_in_the_commit_thread_is_a_failure_that_everyone_sees() {
    let (store, _) = Store::threaded(Panicking).unwrap();
    store.submit(&mut vec![append(&message(&[(1, 1)], 100), &[(1, 1)])]);
    let progress = wait_for(&mut store.progress(), |progress| progress.failed.is_some());
    assert_eq!(progress.durable, Lsn(0));
    let failed: Arc<StoreError> = store.close().unwrap_err();
    assert!(failed.to_string().contains("a bug below"), "{failed}");
}
