//! The world of one run: a disk, a clock, a broker, its peers, and what happens to them.

use super::models::Presence;
use super::oracle::Oracle;
use super::peer::{Address, Peer, Waited};
use super::script::{Hand, Plan};
use super::setup::{FRAME_MAX, setup};
use super::wire::Event;
use amq_protocol::protocol::connection::{AMQPMethod as Connection, Open, StartOk, TuneOk};
use amq_protocol::protocol::{AMQPClass, basic, channel};
use amq_protocol::types::{AMQPValue, FieldTable};
use bytes::BufMut;
use exchanges::Routable;
use haremq::broker::{Broker, Vhost};
use haremq::clock::Clock;
use haremq::store::testing::{Disk, FailingLog, FailurePlan, MemoryLog};
use haremq::store::{Stepper, Store};
use rabbit_compat::session::State;
use rabbit_compat::wire::frame;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vhosts::topology::QueueHandle;
use vhosts::{Moment, QueueId};

const STEPS: u32 = 1_500;
/// More rounds than any exchange of bytes takes to come to rest.
const ROUNDS_MAX: u32 = 20_000;

pub struct World {
    rng: StdRng,
    plan: Plan,
    disk: Disk,
    life: Life,
    peers: BTreeMap<u32, Peer>,
    pub oracle: Oracle,
    now: Moment,
    next_peer: u32,
    unique: u64,
}

/// A broker from its start to its end.
struct Life {
    broker: Arc<Broker>,
    stepper: Stepper<FailingLog<MemoryLog>>,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let (plan, disk) = (Plan::new(&mut rng), Disk::default());
        let life = Life::begin(&disk, FailurePlan::never(), Moment(1_000_000));
        World {
            rng,
            plan,
            disk,
            life,
            peers: BTreeMap::new(),
            oracle: Oracle::default(),
            now: Moment(1_000_000),
            next_peer: 0,
            unique: 0,
        }
    }

    /// Lives through everything, to the last message.
    pub fn run(&mut self) {
        for step in 0..STEPS {
            self.step();
            if step % 50 == 0 {
                self.oracle.check(&self.vhost());
            }
        }
        self.come_to_rest();
        match self.rng.random_range(0..3) {
            0 => self.crash(),
            1 => self.stop_and_start(),
            _ => {}
        }
        self.empty_all_queues();
    }

    fn step(&mut self) {
        self.now = self.now.after_ms(self.rng.random_range(0..20));
        match self.rng.random_range(0..1000) {
            0..5 => self.lose_a_peer(),
            5 => self.crash(),
            6 => self.stop_and_start(),
            7..10 => self.come_to_rest(),
            10..12 => self.now = self.now.after_ms(self.rng.random_range(0..25_000)),
            12..120 => self.step_store(),
            120..160 => self.beat(),
            _ if self.peers.is_empty() || (self.peers.len() < 5 && self.rng.random_bool(0.01)) => {
                self.connect()
            }
            _ => self.step_peer(),
        }
    }

    fn step_peer(&mut self) {
        let numbers: Vec<u32> = self.peers.keys().copied().collect();
        let number = numbers[self.rng.random_range(0..numbers.len())];
        let World { rng, plan, oracle, peers, unique, now, .. } = self;
        let Some(peer) = peers.get_mut(&number) else { return };
        match rng.random_range(0..10) {
            0..4 => Hand { rng, plan, oracle, peer, unique }.act(),
            4..8 => {
                let most = if rng.random_bool(0.2) { 30 } else { 20_000 };
                peer.feed(rng.random_range(1..most), *now);
                self.work(number, false);
            }
            8 => self.work(number, true),
            _ => {
                let most = if rng.random_bool(0.3) { 300_000 } else { 3_000 };
                _ = peer.drain(rng.random_range(1..most), *now);
            }
        }
    }

    /// Lets the broker do what it can for a peer.
    fn work(&mut self, number: u32, learns: bool) {
        let vhost = self.vhost();
        let durable = self.life.broker.store.progress().borrow().durable;
        let World { oracle, peers, .. } = self;
        let Some(peer) = peers.get_mut(&number) else { return };
        oracle.tick += 1;
        let route = |address: &Address| route(&vhost, address);
        peer.begin_work(oracle, route);
        if learns {
            peer.client.safe(durable);
        }
        peer.client.work();
        oracle.look_at_topology(&vhost);
        peer.end_work(oracle, route);
        let events = peer.look();
        events.into_iter().for_each(|event| peer.hear(event, oracle));
        if peer.client.reads() && peer.client.session().state() == State::Running {
            peer.resolve(peer.fed, oracle);
        }
        if peer.is_closed() {
            self.drop_peer(number);
        }
    }

    fn step_store(&mut self) {
        let failed = |life: &Life| life.broker.store.progress().borrow().failed.is_some();
        if failed(&self.life) {
            if self.rng.random_bool(0.1) {
                self.oracle.tally.store_failures += 1;
                self.crash();
            }
            return;
        }
        self.life.stepper.step(self.now);
        if !failed(&self.life) {
            self.oracle.stepped(self.now);
        }
    }

    /// Time passes for everybody.
    fn beat(&mut self) {
        let numbers: Vec<u32> = self.peers.keys().copied().collect();
        for number in numbers {
            let Some(peer) = self.peers.get_mut(&number) else { continue };
            if !peer.mute {
                peer.pipe.put_slice(&[frame::kind::HEARTBEAT, 0, 0, 0, 0, 0, 0, frame::END]);
                peer.sent += 8;
            }
            peer.client.session().tick(self.now);
            self.work(number, true);
        }
    }

    fn connect(&mut self) {
        self.next_peer += 1;
        let frame_max = if self.rng.random_bool(0.5) { FRAME_MAX } else { frame::MIN_FRAME_MAX };
        let mut peer = Peer::new(self.next_peer, &self.life.broker, frame_max, self.now);
        peer.mute = self.rng.random_bool(0.1);
        let heartbeat = if self.rng.random_bool(0.3) { 10 } else { 0 };
        peer.pipe.put_slice(b"AMQP\x00\x00\x09\x01");
        peer.sent += 8;
        let mut capabilities = FieldTable::default();
        capabilities.insert("consumer_cancel_notify".into(), AMQPValue::Boolean(self.rng.random_bool(0.7)));
        let mut properties = FieldTable::default();
        properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
        for method in [
            Connection::StartOk(StartOk {
                client_properties: properties,
                mechanism: "PLAIN".into(),
                response: "\0guest\0guest".into(),
                locale: "en_US".into(),
            }),
            Connection::TuneOk(TuneOk { channel_max: 10, frame_max, heartbeat }),
            Connection::Open(Open { virtual_host: "/".into() }),
        ] {
            peer.send(0, AMQPClass::Connection(method));
        }
        while peer.client.session().state() != State::Running {
            peer.feed(self.rng.random_range(1..200), self.now);
            peer.client.work();
        }
        let said = peer.look();
        assert!(matches!(&said[2], Event::Method(0, _)) && said.len() == 3, "{said:?}");
        self.peers.insert(peer.number, peer);
    }

    fn lose_a_peer(&mut self) {
        let numbers: Vec<u32> = self.peers.keys().copied().collect();
        if !numbers.is_empty() {
            let at = self.rng.random_range(0..numbers.len());
            self.drop_peer(numbers[at]);
        }
    }

    fn drop_peer(&mut self, number: u32) {
        let Some(mut peer) = self.peers.remove(&number) else { return };
        self.oracle.tick += 1;
        peer.client.end();
        peer.went(&mut self.oracle);
        self.oracle.look_at_topology(&self.vhost());
    }

    /// The power goes: what was synced is left, and a part of the rest.
    fn crash(&mut self) {
        self.oracle.tally.crashes += 1;
        let mut peers = std::mem::take(&mut self.peers);
        peers.values_mut().for_each(|peer| peer.went(&mut self.oracle));
        drop(peers);
        let kept = self.rng.random_range(0..=self.disk.unsynced());
        self.disk.crash(kept, self.rng.random_bool(0.5));
        self.start(false);
    }

    fn stop_and_start(&mut self) {
        let numbers: Vec<u32> = self.peers.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.drop_peer(number));
        let _ = self.life.broker.store.close();
        self.life.stepper.step(self.now);
        let clean = self.life.broker.store.close().is_ok();
        if !clean {
            self.disk.crash(0, false);
        }
        self.start(clean);
    }

    fn start(&mut self, clean: bool) {
        let plan = match self.rng.random_bool(0.3) {
            true => FailurePlan::at(self.rng.random_range(1..400)),
            false => FailurePlan::never(),
        };
        self.life = Life::begin(&self.disk, plan, self.now);
        self.oracle.restarted(&self.vhost(), clean);
    }

    /// Everything that is under way arrives. Then no message waits that a consumer has room for.
    fn come_to_rest(&mut self) {
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "the conversations do not come to rest");
            let mut moved = self.life.stepper.step(self.now);
            if moved && self.life.broker.store.progress().borrow().failed.is_none() {
                self.oracle.stepped(self.now);
            }
            let numbers: Vec<u32> = self.peers.keys().copied().collect();
            for number in numbers {
                let Some(peer) = self.peers.get_mut(&number) else { continue };
                moved |= peer.feed(usize::MAX, self.now);
                moved |= peer.drain(usize::MAX, self.now);
                moved |= !peer.client.outbox().is_empty();
                self.work(number, true);
            }
            if !moved {
                break;
            }
        }
        self.oracle.check(&self.vhost());
        if self.life.broker.store.progress().borrow().failed.is_none() {
            self.check_nobody_starves();
        }
    }

    fn check_nobody_starves(&mut self) {
        for (number, peer) in &self.peers {
            assert!(peer.awaiting.is_none(), "peer {number} still waits for {:?}", peer.awaiting);
            for (channel, state) in &peer.channels {
                assert!(
                    state.unconfirmed.is_empty(),
                    "channel {channel} of peer {number} waits for confirms"
                );
                for (tag, consumer) in &state.consumers {
                    let full = consumer.prefetch != 0 && state.unacked_of(tag) >= consumer.prefetch.into();
                    let limited = state.global != 0 && state.consumed() >= state.global.into();
                    let ready = self
                        .life
                        .broker
                        .queue(consumer.queue)
                        .map_or(0, |queue| queue.figures().ready.messages);
                    assert!(
                        ready == 0 || (!consumer.no_ack && (full || limited)),
                        "{ready} messages of {:?} wait, and consumer {tag} of peer {number} has room",
                        consumer.queue
                    );
                }
            }
        }
    }

    /// Takes every message out and looks for those that had to be there.
    fn empty_all_queues(&mut self) {
        let numbers: Vec<u32> = self.peers.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.drop_peer(number));
        self.connect();
        let (number, names) = (self.next_peer, self.oracle.queues.values().filter(|queue| !queue.deleted));
        let names: Vec<String> = names.map(|queue| queue.name.clone()).collect();
        let ask = |world: &mut World, method: AMQPClass, what| {
            world.peers.get_mut(&number).expect("just connected").ask(1, method, what);
            world.come_to_rest();
        };
        let peer = self.peers.get_mut(&number).expect("just connected");
        peer.channels.insert(1, Default::default());
        ask(self, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})), Waited::Open);
        for queue in names {
            let consumer = super::peer::Consumer { queue: QueueId::default(), no_ack: true, prefetch: 0 };
            let consume = basic::Consume {
                queue: queue.as_str().into(),
                consumer_tag: queue.as_str().into(),
                no_local: false,
                no_ack: true,
                exclusive: false,
                nowait: false,
                arguments: FieldTable::default(),
            };
            let consume = AMQPClass::Basic(basic::AMQPMethod::Consume(consume));
            ask(self, consume, Waited::Consume { queue, consumer });
        }
        for queue in self.oracle.queues.values().filter(|queue| !queue.deleted) {
            let lost = queue.entries.iter().find(|(_, entry)| entry.presence == Presence::Sure);
            assert!(lost.is_none(), "queue {} lost a message: {lost:?}", queue.name);
        }
        for queue in self.vhost().topology().load().queues() {
            let figures = queue.figures();
            assert_eq!(
                (figures.ready.messages, figures.unacked.messages),
                (0, 0),
                "queue {}",
                queue.definition().name
            );
        }
    }

    fn vhost(&self) -> Arc<Vhost> {
        self.life.broker.vhost("/").expect("the first virtual host")
    }
}

impl Life {
    fn begin(disk: &Disk, plan: FailurePlan, now: Moment) -> Life {
        let log = FailingLog::new(disk.log(), plan);
        // Nothing but the format of an empty disk is written here.
        let (store, stepper, recovery) = Store::manual(log).expect("a log that was written by a broker");
        let broker = Broker::new(setup(10), store, recovery, Clock::manual(now))
            .expect("definitions that a broker wrote");
        Life { broker: Arc::new(broker), stepper }
    }
}

/// The queues that a message goes to as things stand now.
fn route(vhost: &Vhost, address: &Address) -> BTreeSet<QueueId> {
    let mut queues = Vec::new();
    vhost.topology().load().route(&address.exchange, &NoHeaders(address, FieldTable::default()), &mut queues);
    queues.iter().map(|queue| queue.definition().id).collect()
}

struct NoHeaders<'a>(&'a Address, FieldTable);

impl Routable for NoHeaders<'_> {
    fn routing_key(&self) -> &[u8] {
        self.0.routing_key.as_bytes()
    }

    fn headers(&self) -> &FieldTable {
        &self.1
    }
}
