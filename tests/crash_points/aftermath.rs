//! What must hold after the crash: at the restart, while time passes, when all queues are emptied, and after
//! another crash.

use super::acts::Declaration;
use super::ledger::{Copy, CopyOf, Ledger, TransactionState};
use super::world::{Got, Scale, World, text};
use haremq::store::testing::MemoryDisk;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use vhosts::Moment;
use vhosts::queue::{Browse, Browsed};
use vhosts::topology::QueueHandle;

/// How long everything takes that settles by itself: expiries, retries, letters that try again.
const SETTLES_MS: u64 = 20_000;
/// Between the crash and the restart.
const OUTAGE_MS: u64 = 10;

/// Bodies by queue.
type Places = BTreeMap<String, Vec<String>>;

/// What is known when the power goes.
#[derive(Clone, Copy)]
pub struct Past<'a> {
    pub known: &'a Ledger,
    /// To be declared again.
    pub declared: &'a [Declaration],
    /// Nothing was under way.
    pub is_done: bool,
    /// How often the power went, or the process was killed.
    pub crashes: u32,
    pub scale: Scale,
    pub end: Moment,
}

impl Past<'_> {
    /// When a broker starts on what is left.
    pub fn restart(&self) -> Moment {
        self.end.after_ms(OUTAGE_MS)
    }
}

/// Starts a broker on what is left, and judges it by what was known.
pub fn judge(disk: &MemoryDisk, past: Past<'_>) {
    let (Past { known, declared, .. }, restart) = (past, past.restart());
    let mut world = World::begin(disk, past.scale, restart).expect("power");
    check_definitions(known, &world);
    let places = places(&world);
    check_places(past, &places);
    check_transactions(known, &places);

    declared.iter().for_each(|declaration| world.again(declaration).expect("power"));
    let mut ready = BTreeMap::new();
    let end = restart.after_ms(SETTLES_MS);
    world.pass_until(end, |world| look(known, world, &mut ready)).expect("power");

    let drained = drain(&mut world);
    let mut places = Places::new();
    for (queue, all) in &drained {
        places.insert(queue.clone(), all.iter().map(|got| got.body.clone()).collect());
        check_order(known, queue, all);
        all.iter().for_each(|got| check_returns(known, got, &ready, restart));
    }
    check_places(past, &places);
    check_expiry(known, &places, &ready, restart);
    if past.is_done {
        check_numbers(known, &places);
    }
    stays_empty(disk, world);
}

fn check_definitions(known: &Ledger, world: &World) {
    let there = world.vhost().topology().load_full();
    let lasting = |queue: &&str| !known.plans[*queue].expires;
    for queue in known.queues.iter().copied().filter(lasting) {
        assert!(there.queue(queue).is_some(), "queue {queue} is gone");
    }
    for (exchange, queue) in known.bindings.iter().filter(|(_, queue)| lasting(queue)) {
        let target = there.queue(queue).cloned().map(exchanges::graph::Target::Queue);
        let is_bound =
            target.is_some_and(|target| there.bindings_to(&target).any(|to| *to.source == **exchange));
        assert!(is_bound, "the binding from {exchange} to {queue} is gone");
    }
}

/// Wherever a message is, also on its way.
fn places(world: &World) -> Places {
    let all = [Browse::Ready, Browse::Unacked, Browse::Delayed, Browse::DeadLettered];
    let topology = world.vhost().topology().load_full();
    let bodies = |queue: &haremq::broker::QueueRef| {
        let messages = all.iter().flat_map(|which| queue.browse(*which, 0, usize::MAX));
        messages.map(|browsed| body(&browsed)).collect()
    };
    topology.queues().map(|queue| (queue.definition().name.to_string(), bodies(queue))).collect()
}

fn body(browsed: &Browsed) -> String {
    text(&browsed.message.here().expect("it was read").body_bytes())
}

fn check_places(Past { known, crashes, .. }: Past<'_>, places: &Places) {
    for (queue, bodies) in places {
        for body in bodies {
            let of = known.copy_of(queue, body);
            let count = bodies.iter().filter(|other| *other == body).count();
            // After each crash a letter may be made anew, if the log does not have that it was made.
            let step = known.reach(of).iter().position(|on_the_way| on_the_way == queue).unwrap_or(0);
            let most = (crashes as usize + 1).pow(step as u32);
            assert!(count <= most, "message {body} is {count} times in queue {queue}");
        }
    }
    known.copies.iter().for_each(|(of, copy)| check_copy(known, *of, copy, places));
}

fn check_copy(known: &Ledger, of: CopyOf, copy: &Copy, places: &Places) {
    let in_queue =
        |queue: &str| places.get(queue).is_some_and(|bodies| bodies.iter().any(|body| body == of.0));
    let is_anywhere = known.reach(of).iter().any(|queue| in_queue(queue));
    let unused = known.plans[of.1].expires && !places.contains_key(of.1);
    let may_end = unused || copy.departures.iter().any(|left| left.ends);
    assert!(is_anywhere || !copy.confirmed || may_end, "{of:?} was confirmed, and is lost: {places:?}");
    let was_refused = copy.refused && known.plans[of.1].refuses;
    assert!(!was_refused || !in_queue(of.1), "{of:?} was refused, and is there");
    for left in copy.departures.iter().filter(|left| left.durable) {
        let is_back = if left.ends { is_anywhere } else { in_queue(&left.queue) };
        assert!(!is_back, "{of:?} is back, though the log has that it left {}: {places:?}", left.queue);
    }
}

/// All of it, or nothing.
fn check_transactions(known: &Ledger, places: &Places) {
    let has =
        |queue: &str, body: &str| places.get(queue).is_some_and(|all| all.iter().any(|one| one == body));
    for transaction in &known.transactions {
        let is_done = |of: &CopyOf| known.copies[of].departures.iter().any(|left| left.ends);
        let is_there = |of: &CopyOf| known.reach(*of).iter().any(|queue| has(queue, of.0));
        let publishes = transaction.publishes.iter().map(|of| is_there(of) || is_done(of));
        // What was not confirmed may be gone by itself.
        let answers = transaction.answers.iter().filter(|(of, ..)| known.copies[of].confirmed);
        let answers = answers.map(|(of, queue, _)| !has(queue, of.0));
        let done: Vec<bool> = publishes.chain(answers).collect();
        let (all, none) = (done.iter().all(|done| *done), done.iter().all(|done| !done));
        let is_right = match transaction.state {
            TransactionState::Open | TransactionState::RolledBack => none,
            TransactionState::Committing => all || none,
            TransactionState::Committed => all,
        };
        assert!(is_right, "half a transaction: {transaction:?} in {places:?}");
    }
}

/// Notes when messages are ready for the first time, and that there are not too many.
fn look(known: &Ledger, world: &World, ready: &mut BTreeMap<(String, String), Moment>) {
    for queue in world.vhost().topology().load().queues() {
        let name = &*queue.definition().name;
        let messages = queue.browse(Browse::Ready, 0, usize::MAX);
        // What is recovered is not refused, also when an ack did not come to the log.
        let drops = known.plans.get(name).filter(|plan| !plan.refuses);
        let most = drops.and_then(|plan| plan.max_length).unwrap_or(usize::MAX);
        assert!(messages.len() <= most, "queue {name} has {} messages", messages.len());
        for message in messages {
            let key = (name.to_owned(), body(&message));
            ready.entry(key).or_insert(world.now());
        }
    }
}

/// Takes everything out of all queues.
fn drain(world: &mut World) -> BTreeMap<String, Vec<Got>> {
    let names: Vec<String> =
        world.vhost().topology().load().queues().map(|queue| queue.definition().name.to_string()).collect();
    let mut all = BTreeMap::new();
    for name in names {
        let mut got = Vec::new();
        while let Some(message) = world.try_get(&name).expect("power") {
            got.push(message);
        }
        all.insert(name, got);
    }
    all.values().flatten().for_each(|got| world.done_with(got));
    all
}

/// By priority, and then as they were published.
fn check_order(known: &Ledger, queue: &str, all: &[Got]) {
    let of = |got: &Got| known.copy_of(&got.queue, &got.body);
    let own = all.iter().map(of).filter(|of| of.1 == queue);
    let rank = |of: CopyOf| (Reverse(known.copies[&of].with.priority), known.copies[&of].number);
    assert!(own.map(rank).is_sorted(), "queue {queue} is out of order: {all:?}");
}

/// A message knows how often it came back, up to what the log need not have; and it waited until it was due.
fn check_returns(known: &Ledger, got: &Got, ready: &BTreeMap<(String, String), Moment>, restart: Moment) {
    let of = known.copy_of(&got.queue, &got.body);
    if of.1 != got.queue {
        return;
    }
    let returns = &known.copies[&of].returns;
    let at = ready.get(&(got.queue.clone(), got.body.clone())).copied();
    let is_it = |one: &super::ledger::Return| {
        let due = one.due.unwrap_or(restart).max(restart);
        (one.acquired, one.failed) == (got.acquired, got.failed) && at == Some(due)
    };
    assert!(
        returns.all[returns.durable..].iter().any(is_it),
        "{got:?} was ready at {at:?} after a restart at {restart:?}, but {returns:?}"
    );
}

/// What expires does so when its time is up, counted from the publish.
fn check_expiry(
    known: &Ledger,
    places: &Places,
    ready: &BTreeMap<(String, String), Moment>,
    restart: Moment,
) {
    for queue in known.plans.values().filter(|plan| plan.ttl_ms.is_some()) {
        assert!(places.get(queue.name).is_none_or(Vec::is_empty), "everything in {} expires", queue.name);
    }
    for (of, copy) in &known.copies {
        let Some(expires) = copy.expires else { continue };
        let is_there = places.get(of.1).is_some_and(|bodies| bodies.iter().any(|body| body == of.0));
        assert!(!is_there, "the time of {of:?} is up");
        let Some(target) = known.plans[of.1].letters_to else { continue };
        let dies_again = known.plans[target].ttl_ms.is_some();
        if copy.confirmed && copy.departures.is_empty() && !dies_again {
            let at = ready.get(&(target.to_owned(), of.0.to_owned()));
            assert_eq!(
                at,
                Some(&expires.max(restart)),
                "when {of:?} expired; the restart was at {restart:?}"
            );
        }
    }
}

/// When nothing was under way, nothing is there twice.
fn check_numbers(known: &Ledger, places: &Places) {
    for (of, copy) in &known.copies {
        let everywhere = known.reach(*of).into_iter().filter_map(|queue| places.get(queue)).flatten();
        let count = everywhere.filter(|body| *body == of.0).count();
        let most = usize::from(!copy.departures.iter().any(|left| left.ends));
        assert!(count <= most, "{of:?} is {count} times in {places:?}");
    }
}

/// What was taken out does not come back.
fn stays_empty(disk: &MemoryDisk, mut world: World) {
    world.pass(1_000).expect("power");
    let (now, scale) = (world.now(), world.scale);
    drop(world);
    let mut world = World::begin(&disk.power_loss(now.0), scale, now).expect("power");
    world.pass(SETTLES_MS).expect("power");
    let places = places(&world);
    assert!(places.values().all(Vec::is_empty), "after another crash something is back: {places:?}");
}
