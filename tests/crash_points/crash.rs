//! Repeats a scenario with a crash at every operation of the disk.
//!
//! `CRASH_AT=17 CRASH_LEAVES=2 CRASH_SCALE=0` in the environment repeats one crash only: in the middle of the
//! operation with that number, with what [`Crash::leaves`] says is left.

use super::acts::Declaration;
use super::aftermath::{Past, judge};
use super::ledger::Ledger;
use super::world::{Alive, PowerLost, Scale, World};
use haremq::broker::RESIDENT;
use haremq::store::testing::{Fault, MemoryDisk};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use vhosts::Moment;
use vhosts::queue::Residency;

pub type Story = fn(&mut World) -> Alive;

/// All messages in one segment of the log, and in memory; or a few in each segment, which are moved when others
/// are settled, and two of a queue in memory.
const SCALES: [Scale; 2] = [
    Scale { padding: 0, segment_bytes: 16 * 1024, resident: RESIDENT },
    Scale { padding: 300, segment_bytes: 1024, resident: Residency { messages: 2, bytes: u64::MAX } },
];
const BEGIN: Moment = Moment(1_000_000);
/// Until everything is in the log.
const REST_MS: u64 = 300;
/// How many of the things that a crash may leave are tried.
const LEAVES: u64 = 3;

/// Where the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crash {
    /// The number of the operation of the disk that it ends in.
    at: u64,
    /// What is left; see [`Crash::leaves`].
    leaves: u64,
    scale: usize,
}

impl Crash {
    /// With 0 the process was killed, and all that it wrote is there. With others the power went, and they decide
    /// what of the last writes is there.
    fn leaves(self, disk: &MemoryDisk) -> MemoryDisk {
        match self.leaves {
            0 => disk.killed(),
            seed => disk.power_loss(seed * 1_000_003 + self.at),
        }
    }

    /// A disk on which it happens.
    fn disk(self) -> MemoryDisk {
        let disk = MemoryDisk::new(self.at * LEAVES + self.leaves);
        disk.faults().fail_at(self.at, Fault::Crash);
        disk
    }

    fn scale(self) -> Scale {
        SCALES[self.scale]
    }
}

pub fn at_every_operation(name: &str, story: Story) {
    (0..SCALES.len()).for_each(|scale| on_scale(name, story, scale));
}

fn on_scale(name: &str, story: Story, scale: usize) {
    let disk = MemoryDisk::new(0);
    let mut world = World::begin(&disk, SCALES[scale], BEGIN).expect("nothing fails");
    live(&mut world, story).expect("nothing fails");
    let (last, declared) = (disk.faults().operations(), world.declared);
    assert!(last > 5, "a story in which nothing is stored proves nothing");
    let all = (0..=last).flat_map(|at| (0..LEAVES).map(move |leaves| Crash { at, leaves, scale }));
    let only = replayed();
    for crash in all.filter(|crash| only.is_none_or(|only| only == *crash)) {
        let outcome = catch_unwind(AssertUnwindSafe(|| live_and_crash(story, crash, &declared)));
        outcome.unwrap_or_else(|panic| {
            let Crash { at, leaves, scale } = crash;
            eprintln!(
                "{name} failed with a crash in operation {at} of {last}; again: CRASH_AT={at} \
                 CRASH_LEAVES={leaves} CRASH_SCALE={scale} cargo test --test crash_points {name}"
            );
            resume_unwind(panic)
        });
    }
}

fn live_and_crash(story: Story, crash: Crash, declared: &[Declaration]) {
    let disk = crash.disk();
    let mut world = World::begin(&disk, crash.scale(), BEGIN);
    let is_done = world.as_mut().is_ok_and(|world| live(world, story).is_ok());
    let (known, end) = match &mut world {
        Ok(world) => (std::mem::take(&mut world.ledger), world.now()),
        Err(PowerLost) => (Ledger::default(), BEGIN),
    };
    let left = crash.leaves(&disk);
    let past = Past { known: &known, declared, is_done, crashes: 1, end, scale: crash.scale() };
    judge(&left.killed(), past);
    // A recovery that is cut off is another matter: for some of them, there are so many.
    if crash.leaves == crash.at % LEAVES && crash.at % 2 == crash.scale as u64 {
        (0..).take_while(|again| cut_recovery(&left, past, Crash { at: *again, ..crash })).for_each(drop);
    }
}

/// Another crash in the life after the first. False if it has fewer operations.
fn cut_recovery(disk: &MemoryDisk, mut past: Past<'_>, crash: Crash) -> bool {
    let disk = disk.killed();
    disk.faults().fail_at(crash.at, Fault::Crash);
    past.end = past.restart();
    if let Ok(mut world) = World::begin(&disk, past.scale, past.end) {
        if world.pass(REST_MS).is_ok() {
            return false;
        }
        past.end = world.now();
    }
    (past.crashes, past.is_done) = (past.crashes + 1, false);
    judge(&crash.leaves(&disk), past);
    true
}

fn live(world: &mut World, story: Story) -> Alive {
    story(world)?;
    world.pass(REST_MS)
}

fn replayed() -> Option<Crash> {
    let number = |name| std::env::var(name).ok().map(|value| value.parse().expect("a number"));
    let at = number("CRASH_AT")?;
    let (leaves, scale) = (number("CRASH_LEAVES"), number("CRASH_SCALE"));
    Some(Crash { at, leaves: leaves.unwrap_or(0), scale: scale.unwrap_or(0) as usize })
}
