//! Repeats a scenario with a crash behind every operation of the store's log.
//!
//! `CRASH_AT=17 CRASH_TORN=true CRASH_PADDING=0` in the environment repeats one crash only: behind the 17th
//! operation, of which then only a part is left.

use super::acts::Declaration;
use super::aftermath::{Past, judge};
use super::world::{Alive, World};
use haremq::store::testing::{Disk, FailurePlan, GROUP_MAX};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use vhosts::Moment;

pub type Story = fn(&mut World) -> Alive;

/// Many messages in a chunk of the log; or a few chunks for each message, and a few messages in a group.
const PADDINGS: [usize; 2] = [0, GROUP_MAX as usize / 5];
const BEGIN: Moment = Moment(1_000_000);
/// Until everything is in the log.
const REST_MS: u64 = 300;

/// Where the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crash {
    /// So many operations of the log were begun.
    at: u64,
    /// The last of them was not finished.
    torn: bool,
    /// How long bodies are.
    padding: usize,
}

pub fn at_every_operation(name: &str, story: Story) {
    for padding in PADDINGS {
        with_padding(name, story, padding);
    }
}

fn with_padding(name: &str, story: Story, padding: usize) {
    let plan = FailurePlan::never();
    let mut world = World::begin(&Disk::default(), plan.clone(), BEGIN);
    live(&mut world, story, padding).expect("nothing fails");
    let (last, declared) = (plan.operations(), world.declared);
    assert!(last > 5, "a story in which nothing is stored proves nothing");
    // The first one is the format of the log; without it there is no broker.
    let all = (1..=last).flat_map(|at| [false, true].map(|torn| Crash { at, torn, padding }));
    let only = replayed();
    for crash in all.filter(|crash| only.is_none_or(|only| only == *crash)) {
        let outcome = catch_unwind(AssertUnwindSafe(|| live_and_crash(story, crash, &declared)));
        outcome.unwrap_or_else(|panic| {
            let Crash { at, torn, .. } = crash;
            eprintln!(
                "{name} failed with a crash behind operation {at} of {last}, torn: {torn}; again: \
                 CRASH_AT={at} CRASH_TORN={torn} CRASH_PADDING={padding} cargo test --test crash_points {name}"
            );
            resume_unwind(panic)
        });
    }
}

fn live_and_crash(story: Story, crash: Crash, declared: &[Declaration]) {
    // A recovery that is cut off is another matter: with small messages only, for there are many of them.
    let again = (1..).take_while(|_| crash.padding == 0).map(Some);
    for again in std::iter::once(None).chain(again) {
        let disk = Disk::default();
        let mut world = World::begin(&disk, FailurePlan::at(crash.at), BEGIN);
        let is_done = live(&mut world, story, crash.padding).is_ok();
        if crash.torn && disk.unsynced() == 0 {
            // The last operation was a sync, of which there are no parts.
            return;
        }
        lose_power(&disk, crash.torn);
        let known = &world.ledger;
        let mut past = Past { known, declared, is_done, crashes: 1, end: world.now() };
        let is_last = again.is_some_and(|at| cut_recovery(&disk, &mut past, at, crash.torn));
        judge(&disk, past);
        if is_last {
            return;
        }
    }
}

/// Another power cut in the life after the first. False if there are more operations.
fn cut_recovery(disk: &Disk, past: &mut Past<'_>, at: u64, torn: bool) -> bool {
    let mut world = World::begin(disk, FailurePlan::at(at), past.restart());
    let is_last = world.pass(REST_MS).is_ok();
    lose_power(disk, torn);
    (past.crashes, past.end, past.is_done) = (past.crashes + 1, world.now(), false);
    is_last
}

/// Everything that was written survives, but for half of the last write if that is torn.
fn lose_power(disk: &Disk, torn: bool) {
    disk.crash(disk.unsynced().saturating_sub(usize::from(torn)), torn);
}

fn live(world: &mut World, story: Story, padding: usize) -> Alive {
    world.padding = padding;
    story(world)?;
    world.pass(REST_MS)
}

fn replayed() -> Option<Crash> {
    let at = std::env::var("CRASH_AT").ok()?.parse().expect("CRASH_AT is a number");
    let torn = std::env::var("CRASH_TORN").is_ok_and(|torn| torn == "true");
    let padding = std::env::var("CRASH_PADDING").map_or(0, |padding| padding.parse().expect("a number"));
    Some(Crash { at, torn, padding })
}
