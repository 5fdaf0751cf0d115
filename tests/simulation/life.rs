//! A broker from its start to its end, on a disk that makes trouble.

use super::setup::setup;
use haremq::broker::{Broker, RESIDENT, Setup};
use haremq::clock::Clock;
use haremq::store::testing::{Fault, MemoryDisk};
use haremq::store::{Lsn, Stepper, Store};
use rand::RngExt;
use rand::rngs::StdRng;
use std::io::ErrorKind;
use std::sync::Arc;
use vhosts::Moment;
use vhosts::queue::Residency;

/// The same for a whole run.
#[derive(Clone, Copy)]
pub struct Scale {
    /// Bytes of a segment of the log.
    segment_bytes: u64,
    /// What a queue keeps in memory.
    resident: Residency,
}

impl Scale {
    /// Mostly so small that segments fill up and queues are deep.
    pub fn new(rng: &mut StdRng) -> Scale {
        let messages = [2, 8, 16][rng.random_range(0..3)];
        let resident = Residency { messages, bytes: rng.random_range(100..10_000) };
        Scale {
            segment_bytes: [2_048, 8_192, 65_536][rng.random_range(0..3)],
            resident: if rng.random_bool(0.8) { resident } else { RESIDENT },
        }
    }
}

pub struct Life {
    pub broker: Arc<Broker>,
    pub disk: MemoryDisk,
    scale: Scale,
    stepper: Stepper,
}

/// What became of a step of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// There was nothing to do.
    Idle,
    Written,
    /// The disk refused, and it is tried again.
    Stalled,
    /// The power is gone.
    Crashed,
}

impl Life {
    /// Starts on what the disk has. When that fails at first, somebody tries again.
    pub fn begin(disk: MemoryDisk, scale: Scale, now: Moment) -> Life {
        let opened =
            (0..2).find_map(|_| Store::manual_with(Box::new(disk.clone()), scale.segment_bytes).ok());
        let (store, stepper, recovery) = opened.expect("a log that was written by a broker");
        assert_eq!(recovery.torn, None, "nothing damages what is on the disk");
        let setup = Setup { resident: scale.resident, ..setup(10) };
        let broker =
            Broker::new(setup, store, recovery, Clock::manual(now)).expect("definitions of a broker");
        Life { broker: Arc::new(broker), disk, scale, stepper }
    }

    /// Starts once more, on a disk without trouble.
    pub fn again(&self, disk: MemoryDisk, now: Moment) -> Life {
        disk.faults().heal();
        disk.limit(u64::MAX);
        Life::begin(disk, self.scale, now)
    }

    /// The store works, and publishers learn when it can not.
    pub fn step(&mut self, now: Moment) -> Stepped {
        let moved = self.stepper.step(now);
        let stalled = self.broker.store.progress().borrow().stalled.clone();
        let stepped = match (&stalled, moved) {
            _ if self.disk.faults().is_crashed() => Stepped::Crashed,
            (Some(_), _) => Stepped::Stalled,
            (None, true) => Stepped::Written,
            (None, false) => Stepped::Idle,
        };
        self.broker.store_stands_still(stalled);
        stepped
    }

    /// When the store tries again.
    pub fn deadline(&self) -> Option<Moment> {
        self.stepper.deadline()
    }

    pub fn durable(&self) -> Lsn {
        self.broker.store.progress().borrow().durable
    }

    /// Queues do what is due.
    pub fn tick(&self, now: Moment) {
        self.broker.clock.set(now);
        self.broker.tick();
    }

    /// Something is wrong with the disk from now on, or soon. True if it is with reading.
    pub fn make_trouble(&self, rng: &mut StdRng) -> bool {
        let (faults, kind) = (self.disk.faults(), any_kind(rng));
        let (operation, read) =
            (faults.operations() + rng.random_range(0..8), faults.reads() + rng.random_range(0..8));
        let what = rng.random_range(0..7);
        match what {
            0..2 => faults.fail_at(operation, Fault::Once(kind)),
            2 => faults.fail_at(operation, Fault::From(kind)),
            3 => faults.fail_at(operation, Fault::Crash),
            4 => self.disk.limit(self.disk.used() + rng.random_range(0..20_000)),
            5 => faults.fail_read_at(read, Fault::Once(kind)),
            _ => faults.fail_read_at(read, Fault::From(kind)),
        }
        what >= 5
    }

    /// Nothing is wrong with the disk any more.
    pub fn heal(&self) {
        self.disk.faults().heal();
        self.disk.limit(u64::MAX);
    }

    /// What a sudden end leaves: of the process alone, or of all that has power.
    pub fn left(&self, rng: &mut StdRng) -> MemoryDisk {
        if rng.random_bool(0.4) { self.disk.killed() } else { self.disk.power_loss(rng.random()) }
    }
}

pub fn any_kind(rng: &mut StdRng) -> ErrorKind {
    [ErrorKind::StorageFull, ErrorKind::Other][rng.random_range(0..2)]
}
