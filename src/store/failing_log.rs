//! A log that fails when a test wants it to, and from then on always, like a full disk.

use super::StoreError;
use super::log::{GroupNumber, Log, LogFigures};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// When to fail; a clone is the same plan.
#[derive(Clone, Debug)]
pub struct FailurePlan(Arc<Plan>);

#[derive(Debug)]
struct Plan {
    /// Operations so far.
    count: AtomicU64,
    /// The first that fails.
    fails_at: AtomicU64,
}

impl FailurePlan {
    /// Fails the operation with this number, counted from 0, and all that follow.
    #[must_use]
    pub fn at(operation: u64) -> FailurePlan {
        FailurePlan(Arc::new(Plan { count: AtomicU64::new(0), fails_at: AtomicU64::new(operation) }))
    }

    /// Fails nothing, until told.
    #[must_use]
    pub fn never() -> FailurePlan {
        FailurePlan::at(u64::MAX)
    }

    /// How many operations there were.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.count.load(Relaxed)
    }

    /// Fails the next operation and all that follow.
    pub fn fail_now(&self) {
        self.0.fails_at.store(0, Relaxed);
    }

    fn step(&self, doing: &'static str) -> Result<(), StoreError> {
        let operation = self.0.count.fetch_add(1, Relaxed);
        if operation < self.0.fails_at.load(Relaxed) {
            return Ok(());
        }
        Err(StoreError::Io { doing, path: "a failing log".into(), source: io::ErrorKind::StorageFull.into() })
    }
}

/// A log and the plan of its failure. An operation that fails has no effect; what a crash leaves of the ones
/// before it is up to the log below.
#[derive(Debug)]
pub struct FailingLog<L> {
    inner: L,
    plan: FailurePlan,
}

impl<L: Log> FailingLog<L> {
    /// Lets `inner` fail as planned.
    pub fn new(inner: L, plan: FailurePlan) -> FailingLog<L> {
        FailingLog { inner, plan }
    }
}

impl<L: Log> Log for FailingLog<L> {
    fn write_chunk(&mut self, group: GroupNumber, index: u32, chunk: &[u8]) -> Result<(), StoreError> {
        self.plan.step("write a chunk to")?;
        self.inner.write_chunk(group, index, chunk)
    }

    fn close_group(&mut self, group: GroupNumber) -> Result<(), StoreError> {
        self.inner.close_group(group)
    }

    fn drop_group(&mut self, group: GroupNumber) -> Result<(), StoreError> {
        self.plan.step("drop a group of")?;
        self.inner.drop_group(group)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.plan.step("put a value into")?;
        self.inner.put(key, value)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.plan.step("remove a value from")?;
        self.inner.remove(key)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.plan.step("sync")?;
        self.inner.sync()
    }

    fn groups(&self) -> Result<Vec<GroupNumber>, StoreError> {
        self.inner.groups()
    }

    fn read_group(&self, group: GroupNumber, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        self.inner.read_group(group, each)
    }

    fn read_state(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.inner.read_state(each)
    }

    fn lost_syncs(&self) -> u64 {
        self.inner.lost_syncs()
    }

    fn figures(&self) -> LogFigures {
        self.inner.figures()
    }
}
