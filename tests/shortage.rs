//! Publishers while resources are short: held or refused, and let go again; consumers go on. In virtual time, on
//! a store that is stepped by hand, without sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

#[path = "crash_points/conversation.rs"]
mod conversation;
#[path = "simulation/setup.rs"]
mod setup;
#[path = "simulation/wire.rs"]
#[allow(dead_code, reason = "other tests look at all of an event")]
mod wire;

use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::{basic, connection, queue};
use amq_protocol::types::FieldTable;
use conversation::{CONSUMING, Conversation, PUBLISHING, TRANSACTING};
use futures_lite::future::{block_on, poll_once};
use haremq::broker::{Broker, DiskSpace};
use haremq::clock::Clock;
use haremq::config::WhenFull;
use haremq::server;
use haremq::store::testing::{Fault, MemoryDisk};
use haremq::store::{Stepper, Store};
use setup::setup;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use vhosts::Moment;
use wire::Event;

const PERSISTENT: &[u8] = &[0x10, 0, 2];
const TRANSIENT: &[u8] = &[0, 0];
/// The channel without confirms and transactions.
const PLAIN: u16 = CONSUMING;
/// The longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
const QUEUE: &str = "q";
const ENOUGH: DiskSpace = DiskSpace { free: 100, limit: 100 };
const TOO_LITTLE: DiskSpace = DiskSpace { free: 99, limit: 100 };

struct World {
    disk: MemoryDisk,
    broker: Arc<Broker>,
    stepper: Stepper,
}

impl World {
    /// A broker with a durable queue.
    fn new(when_full: WhenFull) -> World {
        let disk = MemoryDisk::new(0);
        let (store, stepper, recovery) = Store::manual(Box::new(disk.clone())).unwrap();
        let setup = haremq::broker::Setup { when_full, ..setup(10) };
        let broker = Broker::new(setup, store, recovery, Clock::manual(Moment(1_000_000))).unwrap();
        let mut world = World { disk, broker: Arc::new(broker), stepper };
        let mut client = world.connect();
        let declare = queue::Declare {
            queue: QUEUE.into(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        client.send(PLAIN, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)));
        client.work();
        world.sync(&mut client);
        client.work();
        assert_eq!(world.ready(), 0);
        world
    }

    fn connect(&self) -> Conversation {
        Conversation::open(&self.broker)
    }

    /// A client that consumes the queue.
    fn consumer(&self) -> Conversation {
        let mut consumer = self.connect();
        let consume = basic::Consume {
            queue: QUEUE.into(),
            consumer_tag: "c".into(),
            no_local: false,
            no_ack: false,
            exclusive: false,
            nowait: true,
            arguments: FieldTable::default(),
        };
        consumer.send(CONSUMING, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)));
        consumer
    }

    fn sync(&mut self, client: &mut Conversation) {
        self.stepper.step(Moment(0));
        client.safe(self.broker.store.progress().borrow().durable);
    }

    fn ready(&self) -> usize {
        self.queue().figures().ready.messages
    }

    fn queue(&self) -> haremq::broker::QueueRef {
        self.broker.vhost("/").unwrap().topology().load().queue(QUEUE).unwrap().clone()
    }
}

fn publish(client: &mut Conversation, channel: u16, properties: &[u8], body: &[u8]) -> Vec<String> {
    client.publish(channel, "", QUEUE, properties, body);
    shown(client.work())
}

fn acknowledge(client: &mut Conversation, delivery_tag: u64) {
    let ack = basic::Ack { delivery_tag, multiple: false };
    client.send(CONSUMING, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)));
    client.work();
}

/// What the broker wrote, in short.
fn shown(events: Vec<Event>) -> Vec<String> {
    let show = |event| match event {
        Event::Confirm { tag, .. } => format!("ack {tag}"),
        Event::Refused { tag, .. } => format!("nack {tag}"),
        Event::Content { body, .. } => format!("delivery {}", String::from_utf8_lossy(&body[..1])),
        Event::Method(0, class) => match *class {
            AMQPClass::Connection(connection::AMQPMethod::Blocked(blocked)) => {
                format!("blocked: {}", blocked.reason)
            }
            AMQPClass::Connection(connection::AMQPMethod::Unblocked(_)) => "unblocked".to_owned(),
            other => format!("{other:?}"),
        },
        Event::Method(_, class) => format!("{class:?}"),
    };
    events.into_iter().map(show).collect()
}

/// Whether something woke the connection since this was asked last.
fn is_woken(client: &Conversation) -> bool {
    block_on(poll_once(client.client.outbox().filled())).is_some()
}

#[test]
fn a_full_disk_blocks_who_publishes_and_nobody_else() {
    let mut world = World::new(WhenFull::Block);
    let (mut publisher, mut consumer) = (world.connect(), world.consumer());
    assert_eq!(publish(&mut publisher, PLAIN, PERSISTENT, b"1"), [""; 0]);
    world.broker.disk_has(TOO_LITTLE);
    assert_eq!(publish(&mut publisher, PLAIN, PERSISTENT, b"2"), ["blocked: low on disk"]);
    assert!(!publisher.client.reads());

    assert_eq!(shown(consumer.work()), ["delivery 1"]);
    acknowledge(&mut consumer, 1);
    assert!(consumer.client.reads());
    let figures = world.queue().figures();
    assert_eq!((figures.ready.messages, figures.unacked.messages), (0, 0), "the second is not taken");
    assert!(world.stepper.step(Moment(0)), "what was published before is written");

    while is_woken(&publisher) {}
    world.broker.disk_has(TOO_LITTLE);
    assert!(!is_woken(&publisher), "nothing has changed");
    world.broker.disk_has(ENOUGH);
    assert!(is_woken(&publisher));
    assert_eq!(shown(publisher.work()), ["unblocked"]);
    assert!(publisher.client.reads());
    assert_eq!(shown(consumer.work()), ["delivery 2"]);
}

#[test]
fn who_connects_while_the_disk_is_full_is_blocked_too() {
    let world = World::new(WhenFull::Block);
    world.broker.disk_has(TOO_LITTLE);
    let mut publisher = world.connect();
    assert!(publisher.client.reads());
    assert_eq!(publish(&mut publisher, PLAIN, TRANSIENT, b"1"), ["blocked: low on disk"]);
    assert_eq!(world.ready(), 0);
}

#[test]
fn a_connection_that_ends_while_it_is_blocked_leaves_nothing() {
    let world = World::new(WhenFull::Block);
    world.broker.disk_has(TOO_LITTLE);
    let mut publisher = world.connect();
    publish(&mut publisher, PLAIN, TRANSIENT, b"1");
    let before = world.broker.connections_len();
    publisher.client.end();
    assert_eq!((world.broker.connections_len(), world.ready()), (before - 1, 0));
}

#[test]
fn a_store_that_stands_still_blocks_and_says_why() {
    let world = World::new(WhenFull::Block);
    let mut publisher = world.connect();
    world.broker.store_stands_still(Some("No space left on device".into()));
    let blocked = "blocked: the store cannot write: No space left on device";
    assert_eq!(publish(&mut publisher, PLAIN, PERSISTENT, b"1"), [blocked]);
    world.broker.disk_has(TOO_LITTLE);
    assert_eq!(shown(publisher.work()), [""; 0], "it knows already");
    world.broker.store_stands_still(None);
    assert_eq!(shown(publisher.work()), [""; 0], "the disk is still full");
    world.broker.disk_has(ENOUGH);
    assert_eq!(shown(publisher.work()), ["unblocked"]);
    assert_eq!(world.ready(), 1);
}

#[test]
fn several_reasons_are_joined() {
    let world = World::new(WhenFull::Block);
    world.broker.disk_has(TOO_LITTLE);
    world.broker.store_stands_still(Some("Input/output error".into()));
    let shortage = world.broker.resources.levels().shortage();
    assert_eq!(shortage.as_deref(), Some("low on disk & the store cannot write: Input/output error"));
}

#[test]
fn where_it_is_wished_confirms_say_that_the_disk_is_full() {
    let mut world = World::new(WhenFull::Refuse);
    let (mut publisher, mut other) = (world.connect(), world.connect());
    world.broker.disk_has(TOO_LITTLE);
    assert_eq!(publish(&mut publisher, PUBLISHING, PERSISTENT, b"1"), ["nack 1"]);
    assert_eq!(publish(&mut publisher, PUBLISHING, TRANSIENT, b"2"), ["ack 2"]);
    publisher.publish(PUBLISHING, "", "no such queue", PERSISTENT, b"3");
    assert_eq!(shown(publisher.work()), ["ack 3"], "nothing of it is kept");
    assert!(publisher.client.reads());
    assert_eq!(world.ready(), 1);
    // Without confirms nobody could be told.
    assert_eq!(publish(&mut other, PLAIN, PERSISTENT, b"4"), ["blocked: low on disk"]);
    assert_eq!(publish(&mut publisher, TRANSACTING, PERSISTENT, b"5"), ["blocked: low on disk"]);

    world.broker.disk_has(ENOUGH);
    assert_eq!(shown(other.work()), ["unblocked"]);
    assert_eq!(shown(publisher.work()), ["unblocked"]);
    assert_eq!(publish(&mut publisher, PUBLISHING, PERSISTENT, b"6"), [""; 0]);
    world.sync(&mut publisher);
    assert_eq!(shown(publisher.work()), ["ack 4"]);
    assert_eq!(world.ready(), 3);
}

/// Publishes until the store has too much under way; says how many messages that took.
fn crowd(publisher: &mut Conversation, channel: u16) -> usize {
    let body = vec![b'x'; 1 << 20];
    for number in 1..=100 {
        assert_eq!(publish(publisher, channel, PERSISTENT, &body), [""; 0]);
        if !publisher.client.reads() {
            return number;
        }
    }
    panic!("the store takes everything");
}

#[test]
fn too_much_for_the_store_holds_publishers_until_it_has_written() {
    let mut world = World::new(WhenFull::Block);
    let mut publisher = world.connect();
    let taken = crowd(&mut publisher, PLAIN);
    assert!(publisher.client.waits_for_room());
    assert_eq!(world.ready(), taken - 1, "the last is not taken");
    let mut consumer = world.consumer();
    assert_eq!(shown(consumer.work()), ["delivery x"], "consumers go on");
    acknowledge(&mut consumer, 1);
    assert!(consumer.client.reads() && !consumer.client.waits_for_room());

    // The progress is what wakes a connection that waits for room.
    let mut progress = world.broker.store.progress();
    progress.mark_unchanged();
    assert_eq!(shown(publisher.work()), [""; 0]);
    assert!(publisher.client.waits_for_room(), "nothing is written yet");
    world.stepper.step(Moment(0));
    assert!(progress.has_changed().unwrap());
    publisher.work();
    assert!(publisher.client.reads() && !publisher.client.waits_for_room());
    assert_eq!(world.queue().figures().counters.published as usize, taken);
}

#[test]
fn who_waits_for_room_learns_that_the_store_stands_still() {
    let mut world = World::new(WhenFull::Block);
    let mut publisher = world.connect();
    crowd(&mut publisher, PLAIN);
    while is_woken(&publisher) {}
    world.broker.store_stands_still(Some("disk error".into()));
    assert!(is_woken(&publisher));
    assert_eq!(shown(publisher.work()), ["blocked: the store cannot write: disk error"]);
    world.stepper.step(Moment(0));
    world.broker.store_stands_still(None);
    assert_eq!(shown(publisher.work()), ["unblocked"]);
    assert!(publisher.client.reads());
}

#[test]
fn who_is_refused_does_not_wait_for_room() {
    let mut world = World::new(WhenFull::Refuse);
    let (mut crowding, mut publisher) = (world.connect(), world.connect());
    crowd(&mut crowding, PLAIN);
    assert_eq!(publish(&mut publisher, PUBLISHING, PERSISTENT, b"1"), [""; 0]);
    assert!(publisher.client.waits_for_room());
    world.broker.store_stands_still(Some("disk error".into()));
    assert_eq!(shown(publisher.work()), ["nack 1"]);
    assert!(publisher.client.reads());
    world.stepper.step(Moment(0));
}

async fn woken(client: &Conversation) {
    timeout(PATIENCE, client.client.outbox().filled()).await.expect("woken in time");
}

#[tokio::test]
async fn what_the_store_says_of_itself_reaches_the_publishers() {
    let mut world = World::new(WhenFull::Block);
    let watching = tokio::spawn(server::watch_store(world.broker.clone()));
    let mut client = world.connect();
    let faults = world.disk.faults();
    faults.fail_at(faults.operations(), Fault::From(ErrorKind::StorageFull));
    assert_eq!(publish(&mut client, PUBLISHING, PERSISTENT, b"1"), [""; 0]);
    while poll_once(client.client.outbox().filled()).await.is_some() {}
    world.sync(&mut client);
    woken(&client).await;
    let stalled = world.broker.resources.levels().stalled.unwrap();
    assert!(stalled.contains("storage"), "{stalled}");
    let blocked = format!("blocked: the store cannot write: {stalled}");
    assert_eq!(publish(&mut client, PUBLISHING, PERSISTENT, b"2"), [blocked]);

    faults.heal();
    world.stepper.step(Moment(2_000));
    woken(&client).await;
    assert_eq!(world.broker.resources.levels().stalled, None);
    client.safe(world.broker.store.progress().borrow().durable);
    assert_eq!(shown(client.work()), ["ack 1", "unblocked"]);
    assert_eq!(world.ready(), 2);
    watching.abort();
}

/// Five messages are published, and three of them acked, in four seconds. Says what the publisher was told.
fn live(world: &mut World) -> Vec<String> {
    let (mut publisher, mut consumer) = (world.connect(), world.consumer());
    let (mut told, mut tags) = (Vec::new(), 0);
    for (round, now) in (0..40).map(|round| (round, Moment(1_000_000 + round * 100))) {
        world.broker.clock.set(now);
        if round % 2 == 0 && round < 10 {
            told.extend(publish(&mut publisher, PUBLISHING, PERSISTENT, b"x"));
        }
        world.stepper.step(now);
        let progress = world.broker.store.progress().borrow().clone();
        world.broker.store_stands_still(progress.stalled);
        publisher.safe(progress.durable);
        told.extend(shown(publisher.work()));
        for _ in shown(consumer.work()) {
            tags += 1;
            if tags <= 3 {
                acknowledge(&mut consumer, tags);
            }
        }
    }
    assert!(publisher.client.reads(), "{told:?}");
    told
}

#[test]
fn a_disk_that_fails_once_delays_and_loses_nothing() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        let mut blocked = 0;
        for operation in 0.. {
            let mut world = World::new(WhenFull::Block);
            let faults = world.disk.faults();
            let fails = faults.operations() + operation;
            faults.fail_at(fails, Fault::Once(kind));
            let mut told = live(&mut world);
            if faults.operations() <= fails {
                assert!(blocked > 3, "only {blocked} failures were noticed");
                break;
            }
            blocked += u32::from(told.iter().any(|word| word.starts_with("blocked")));
            told.retain(|word| word.starts_with("ack"));
            assert_eq!(told.last().map(String::as_str), Some("ack 5"), "operation {operation}: {told:?}");
            for left in [world.disk.killed(), world.disk.power_loss(operation)] {
                let (_, _, recovery) = Store::manual(Box::new(left)).unwrap();
                assert_eq!((recovery.messages, recovery.torn), (2, None), "operation {operation}");
            }
        }
    }
}
