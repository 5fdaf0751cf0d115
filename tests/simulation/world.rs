//! The world of one run: a disk, a clock, a broker, its peers, and what happens to them.

use super::life::{Life, Scale, Stepped, any_kind};
use super::models::Presence;
use super::oracle::Oracle;
use super::peer::{Address, Peer, Waited};
use super::script::{Hand, Plan};
use super::setup::FRAME_MAX;
use super::wire::{self, Event};
use amq_protocol::protocol::{AMQPClass, basic, channel};
use amq_protocol::types::FieldTable;
use bytes::BufMut;
use exchanges::Routable;
use haremq::broker::{DiskSpace, Vhost};
use haremq::store::testing::{Fault, MemoryDisk};
use rabbit_compat::session::State;
use rabbit_compat::wire::frame;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use vhosts::queue::REREAD_MS;
use vhosts::topology::QueueHandle;
use vhosts::{Moment, QueueId};

const STEPS: u32 = 1_500;
/// More rounds than any exchange of bytes takes to come to rest.
const ROUNDS_MAX: u32 = 20_000;

pub struct World {
    rng: StdRng,
    plan: Plan,
    life: Life,
    peers: BTreeMap<u32, Peer>,
    pub oracle: Oracle,
    now: Moment,
    next_peer: u32,
    unique: u64,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let (plan, scale) = (Plan::new(&mut rng), Scale::new(&mut rng));
        let disk = MemoryDisk::new(seed);
        if rng.random_bool(0.5) {
            // Over the seeds, each of the first operations fails once.
            disk.faults().fail_at(seed, Fault::Once(any_kind(&mut rng)));
        }
        let life = Life::begin(disk, scale, Moment(1_000_000));
        World {
            rng,
            plan,
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
        self.pass(20);
        match self.rng.random_range(0..1000) {
            0..5 => self.lose_a_peer(),
            5 => self.crash(),
            6 => self.stop_and_start(),
            7..10 => self.come_to_rest(),
            10..12 => self.pass(25_000),
            12..18 => self.pass(1_500),
            18..20 => self.fill_the_disk(),
            20..36 => self.free_the_disk(),
            36..40 => self.make_trouble(),
            40..50 => self.life.heal(),
            50..150 => self.step_store(),
            150..170 => self.life.tick(self.now),
            170..210 => self.beat(),
            _ if self.peers.is_empty() || (self.peers.len() < 5 && self.rng.random_bool(0.01)) => {
                self.connect()
            }
            _ => self.step_peer(),
        }
    }

    /// Any time up to that many milliseconds goes by.
    fn pass(&mut self, most_ms: u64) {
        self.now = self.now.after_ms(self.rng.random_range(0..most_ms));
        self.life.broker.clock.set(self.now);
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
        let durable = self.life.durable();
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
        match self.life.step(self.now) {
            Stepped::Idle | Stepped::Written => self.oracle.stepped(self.now),
            Stepped::Stalled => self.oracle.stalled(),
            Stepped::Crashed => self.crash(),
        }
    }

    fn make_trouble(&mut self) {
        self.oracle.reads_fail |= self.life.make_trouble(&mut self.rng);
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

    fn fill_the_disk(&mut self) {
        self.life.broker.disk_has(DiskSpace { free: 0, limit: 1 });
    }

    fn free_the_disk(&mut self) {
        self.life.broker.disk_has(DiskSpace { free: 1, limit: 1 });
    }

    fn connect(&mut self) {
        self.next_peer += 1;
        let frame_max = if self.rng.random_bool(0.5) { FRAME_MAX } else { frame::MIN_FRAME_MAX };
        let mut peer = Peer::new(self.next_peer, &self.life.broker, frame_max, self.now);
        peer.mute = self.rng.random_bool(0.1);
        let heartbeat = if self.rng.random_bool(0.3) { 10 } else { 0 };
        peer.pipe.put_slice(b"AMQP\x00\x00\x09\x01");
        peer.sent += 8;
        peer.told = self.rng.random_bool(0.7);
        let capabilities =
            [("connection.blocked", peer.told), ("consumer_cancel_notify", self.rng.random_bool(0.7))];
        for method in wire::login(&capabilities, frame_max, heartbeat) {
            peer.send(0, method);
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

    /// The process ends in the midst of it.
    fn crash(&mut self) {
        self.oracle.tally.crashes += 1;
        let mut peers = std::mem::take(&mut self.peers);
        peers.values_mut().for_each(|peer| peer.went(&mut self.oracle));
        drop(peers);
        let disk = self.life.left(&mut self.rng);
        self.start(disk, false);
    }

    fn stop_and_start(&mut self) {
        let numbers: Vec<u32> = self.peers.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.drop_peer(number));
        let _ = self.life.broker.store.close();
        let stepped = self.life.step(self.now);
        let clean = stepped != Stepped::Crashed && self.life.broker.store.close().is_ok();
        let disk = if clean { self.life.disk.clone() } else { self.life.left(&mut self.rng) };
        self.start(disk, clean);
    }

    fn start(&mut self, disk: MemoryDisk, clean: bool) {
        self.life = self.life.again(disk, self.now);
        self.oracle.restarted(&self.vhost(), clean);
    }

    /// The disk works and everything that is under way arrives. Then no message waits that a consumer has room
    /// for.
    fn come_to_rest(&mut self) {
        self.free_the_disk();
        self.life.heal();
        // Until then a queue leaves a disk alone that could not be read.
        self.now = self.now.after_ms(REREAD_MS);
        self.life.tick(self.now);
        let numbers: Vec<u32> = self.peers.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.work(number, true));
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "the conversations do not come to rest");
            let stepped = self.life.step(self.now);
            let mut moved = stepped != Stepped::Idle;
            if stepped == Stepped::Stalled {
                self.now = self.life.deadline().unwrap_or(self.now).max(self.now);
            } else {
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
        self.check_nobody_starves();
    }

    fn check_nobody_starves(&mut self) {
        for (number, peer) in &self.peers {
            assert!(!peer.is_blocked, "peer {number} is still blocked");
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
