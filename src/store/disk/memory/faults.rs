//! When the operations of a disk fail.
//!
//! Operations that change something and reads are counted apart, each from 0, so that a test that goes through
//! all operations of a scenario is not disturbed by a read more or less.

use super::lock;
use super::random::Random;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This one fails, and may have been done in part.
    Once(io::ErrorKind),
    /// This one fails and all after it, until [`Faults::heal`].
    From(io::ErrorKind),
    /// The power goes in the middle of it: it may be done in part, and nothing after it does anything. Look at
    /// what is left with [`MemoryDisk::power_loss`] or [`MemoryDisk::killed`].
    ///
    /// [`MemoryDisk::power_loss`]: super::MemoryDisk::power_loss
    /// [`MemoryDisk::killed`]: super::MemoryDisk::killed
    Crash,
}

/// The plan of a disk's faults; a clone is the same plan.
///
/// Operations are `create`, `write_at`, `sync`, `truncate`, `remove`, `write_state` and `mark`; reads are
/// `segments`, `open`, `len`, `read_at` and `read_state`.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug)]
struct Plan {
    seed: u64,
    operations: Planned,
    reads: Planned,
    is_crashed: bool,
}

#[derive(Debug, Default)]
struct Planned {
    /// Calls so far.
    count: u64,
    at: BTreeMap<u64, Fault>,
    /// What [`Fault::From`] has begun.
    lasting: Option<io::ErrorKind>,
}

/// An operation that fails.
pub(super) struct Failed {
    error: io::Error,
    /// Decides how much of it was done; none when there was no power for any of it.
    random: Option<Random>,
    /// Whether the process gets no chance to clean up.
    pub(super) is_crash: bool,
}

impl Failed {
    /// Does in part what the operation was to do, and returns the error.
    pub(super) fn after(self, partly: impl FnOnce(&mut Random)) -> io::Error {
        if let Some(mut random) = self.random {
            partly(&mut random);
        }
        self.error
    }
}

impl Faults {
    pub(super) fn seed(&self) -> u64 {
        lock(&self.0).seed
    }

    pub(super) fn new(seed: u64) -> Faults {
        let (operations, reads) = Default::default();
        Faults(Arc::new(Mutex::new(Plan { seed, operations, reads, is_crashed: false })))
    }

    /// The operation with this number fails, counted from 0 since the disk was made; the next one is
    /// [`operations`](Self::operations), and so is one that has passed.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        lock(&self.0).operations.at.insert(operation, fault);
    }

    /// The read with this number fails; the next one is [`reads`](Self::reads).
    pub fn fail_read_at(&self, read: u64, fault: Fault) {
        lock(&self.0).reads.at.insert(read, fault);
    }

    /// Forgets everything that was planned. A crash stays one.
    pub fn heal(&self) {
        let mut plan = lock(&self.0);
        let Plan { operations, reads, .. } = &mut *plan;
        for planned in [operations, reads] {
            planned.at.clear();
            planned.lasting = None;
        }
    }

    /// Operations so far, those that failed too.
    #[must_use]
    pub fn operations(&self) -> u64 {
        lock(&self.0).operations.count
    }

    /// Reads so far, those that failed too.
    #[must_use]
    pub fn reads(&self) -> u64 {
        lock(&self.0).reads.count
    }

    /// Whether a [`Fault::Crash`] has happened.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        lock(&self.0).is_crashed
    }

    /// Counts an operation.
    pub(super) fn operation(&self) -> Result<(), Failed> {
        let mut plan = lock(&self.0);
        let random = Random::new(plan.seed ^ Random::new(plan.operations.count).next());
        let turn = plan.operations.step();
        plan.fail(turn, random)
    }

    /// Counts a read.
    pub(super) fn read(&self) -> io::Result<()> {
        let mut plan = lock(&self.0);
        let turn = plan.reads.step();
        plan.fail(turn, Random::new(0)).map_err(|failed| failed.error)
    }
}

impl Plan {
    fn fail(&mut self, turn: Option<Fault>, random: Random) -> Result<(), Failed> {
        let was_crashed = self.is_crashed;
        self.is_crashed |= turn == Some(Fault::Crash);
        let error = match turn {
            _ if self.is_crashed => io::Error::other("the power is gone"),
            Some(Fault::Once(kind) | Fault::From(kind)) => kind.into(),
            Some(Fault::Crash) | None => return Ok(()),
        };
        let random = (!was_crashed).then_some(random);
        Err(Failed { error, random, is_crash: self.is_crashed })
    }
}

impl Planned {
    /// Counts a call, and says whether it fails.
    fn step(&mut self) -> Option<Fault> {
        self.count += 1;
        let later = self.at.split_off(&self.count);
        let due = std::mem::replace(&mut self.at, later).into_values().last();
        if let Some(Fault::From(kind)) = due {
            self.lasting = Some(kind);
        }
        due.or(self.lasting.map(Fault::From))
    }
}
