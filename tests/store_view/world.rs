//! A store in memory with definitions and messages of any kind.

use haremq::broker::records::{self, VhostRecord};
use haremq::store::testing::MemoryDisk;
use haremq::store::{Note, Op, Safety, Stepper, Store, View};
use haremq::transfer::{Export, Import, Selection};
use vhosts::message::Chunk;
use vhosts::topology::Change;
use vhosts::{
    Binding, ExchangeDefinition, Message, MessageBuilder, Moment, QueueDefinition, QueueId, Resource, Seq,
};

pub const VHOST: &str = "/";
pub const QUEUES: [&str; 3] = ["orders", "mail \"quoted\"", "ünïcode"];

/// A store that is stepped by hand.
pub struct World {
    pub disk: MemoryDisk,
    pub store: Store,
    stepper: Stepper,
    now: Moment,
}

impl World {
    pub fn new() -> World {
        World::on(MemoryDisk::new(1))
    }

    /// With a virtual host, an exchange, the queues and their bindings.
    pub fn defined() -> World {
        let mut world = World::new();
        world.submit(definitions().into_iter().map(|change| Op::Define(vec![change])).collect());
        world
    }

    fn on(disk: MemoryDisk) -> World {
        let (store, stepper, _) = Store::manual(Box::new(disk.clone())).unwrap();
        World { disk, store, stepper, now: Moment(1000) }
    }

    pub fn submit(&mut self, mut ops: Vec<Op>) {
        self.store.submit(&mut ops);
        self.step();
    }

    fn step(&mut self) {
        self.now = self.now.after_ms(1000);
        self.stepper.step(self.now);
    }

    /// Ends the store, which closes its segment, and opens it again, which begins another.
    pub fn reopen(mut self) -> World {
        self.store.close().unwrap();
        self.step();
        World::on(self.disk.killed())
    }

    /// What the store holds now.
    pub fn view(&mut self) -> View {
        let mut snapshot = self.store.snapshot();
        self.step();
        View::of(snapshot.try_recv().unwrap()).unwrap()
    }

    pub fn export(&mut self, selection: &Selection) -> String {
        let view = self.view();
        let export = Export::new(&view, selection).unwrap();
        let (mut out, mut counted) = (Vec::new(), 0);
        let exported = export.write(&mut out, &mut |messages| counted += messages).unwrap();
        assert_eq!((counted, exported.lost), (exported.messages, 0));
        assert_eq!(counted, export.messages());
        String::from_utf8(out).unwrap()
    }

    pub fn import(&mut self, lines: &str) {
        let mut import = Import::new(self.view().recovery()).unwrap();
        for line in lines.lines() {
            let mut ops = Vec::new();
            import.line(line.as_bytes(), &mut ops).unwrap();
            self.submit(ops);
        }
    }
}

fn definitions() -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let exchange = ExchangeDefinition {
        name: "events".into(),
        kind: exchanges::Kind::Topic,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Default::default(),
    };
    let mut changes = vec![Change::ExchangeDeclared(exchange)];
    for (id, name) in (1..).zip(QUEUES) {
        changes.push(Change::QueueDeclared(queue(id, name)));
        changes.push(Change::Bound(Binding {
            source: "events".into(),
            destination_kind: Resource::Queue,
            destination: name.into(),
            routing_key: (*b"a.\xff.#").into(),
            arguments: Default::default(),
        }));
    }
    let vhost = records::vhost(&VhostRecord { name: VHOST.into() });
    let changes = changes.iter().map(|change| records::change(VHOST, change));
    let next = records::next_queue_id(QueueId(QUEUES.len() as u64 + 1));
    std::iter::once(vhost).chain(changes).chain([next]).collect()
}

fn queue(id: u64, name: &str) -> QueueDefinition {
    let mut arguments = amq_protocol::types::FieldTable::default();
    arguments.insert("x-max-length".into(), amq_protocol::types::AMQPValue::LongLongInt(1_000_000));
    let (id, name) = (QueueId(id), name.into());
    QueueDefinition { id, name, durable: true, auto_delete: false, owner: None, arguments }
}

/// A message, as much of it as differs.
#[derive(Clone, Debug)]
pub struct Parts {
    pub routing_key: Vec<u8>,
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
    pub marks: u8,
    pub arrived: u64,
}

impl Parts {
    pub fn message(&self) -> Message {
        let mut address = b"\x06events".to_vec();
        address.push(self.routing_key.len() as u8);
        address.extend_from_slice(&self.routing_key);
        let mut builder = MessageBuilder::default();
        builder.address(&address);
        builder.header(&self.properties, self.body.len() as u64).unwrap();
        if self.marks & 1 != 0 {
            builder.mark_died();
        }
        if self.marks & 2 != 0 {
            builder.mark_copies(self.marks & 4 != 0);
        }
        builder.push(Chunk::Borrowed(&self.body));
        builder.finish(Moment(self.arrived))
    }
}

pub fn plain(body: &[u8]) -> Message {
    let parts = Parts {
        routing_key: b"a.b".to_vec(),
        properties: vec![0x10, 0, 2],
        body: body.to_vec(),
        marks: 0,
        arrived: 1_700_000_000_000,
    };
    parts.message()
}

pub fn append(message: &Message, targets: &[(u64, u64)]) -> Op {
    let targets = targets.iter().map(|(queue, seq)| (QueueId(*queue), Seq(*seq))).collect();
    Op::Append { message: message.clone(), targets, safety: Safety::Synced }
}

pub fn settle(message: &Message, (queue, seq): (u64, u64)) -> Op {
    Op::Settle { queue: QueueId(queue), seq: Seq(seq), message: message.clone() }
}

pub fn note(message: &Message, (queue, seq): (u64, u64), note: Note) -> Op {
    Op::Note { queue: QueueId(queue), seq: Seq(seq), message: message.clone(), note }
}
