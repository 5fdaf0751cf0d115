//! What peers do next, at random.

use super::models::{Published, body};
use super::oracle::Oracle;
use super::peer::{Address, Channel, Consumer, Held, Peer, Sent, Waited};
use super::wire;
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, exchange, queue};
use amq_protocol::types::FieldTable;
use rand::RngExt;
use rand::rngs::StdRng;
use vhosts::QueueId;

/// Objects that all peers of a run use, so that they meet.
pub struct Plan {
    pub queues: Vec<QueuePlan>,
    exchanges: Vec<ExchangePlan>,
    /// How many times out of a hundred a message is persistent.
    persistent: u32,
}

pub struct QueuePlan {
    pub name: String,
    durable: bool,
    exclusive: bool,
    auto_delete: bool,
}

struct ExchangePlan {
    name: String,
    kind: &'static str,
    durable: bool,
    auto_delete: bool,
}

const KEYS: [&str; 4] = ["a", "b", "a.b", "#"];

impl Plan {
    pub fn new(rng: &mut StdRng) -> Plan {
        let queues = (0..rng.random_range(2..7)).map(|at| QueuePlan {
            name: format!("q{at}"),
            durable: rng.random_bool(0.7),
            exclusive: at > 1 && rng.random_bool(0.2),
            auto_delete: at > 1 && rng.random_bool(0.2),
        });
        let queues = queues.collect();
        let exchanges = (0..2).map(|at| ExchangePlan {
            name: format!("x{at}"),
            kind: ["direct", "fanout", "topic"][rng.random_range(0..3)],
            durable: rng.random_bool(0.7),
            auto_delete: rng.random_bool(0.3),
        });
        Plan { queues, exchanges: exchanges.collect(), persistent: rng.random_range(0..=100) }
    }

    fn queue(&self, rng: &mut StdRng) -> &QueuePlan {
        &self.queues[rng.random_range(0..self.queues.len())]
    }

    fn queue_name(&self, rng: &mut StdRng) -> String {
        self.queue(rng).name.clone()
    }

    fn exchange_name(&self, rng: &mut StdRng) -> String {
        match rng.random_range(0..5) {
            0 => "amq.topic".into(),
            1 => "amq.fanout".into(),
            2 => "amq.direct".into(),
            _ => self.exchanges[rng.random_range(0..self.exchanges.len())].name.clone(),
        }
    }
}

/// What a peer needs to do something.
pub struct Hand<'a> {
    pub rng: &'a mut StdRng,
    pub plan: &'a Plan,
    pub oracle: &'a mut Oracle,
    pub peer: &'a mut Peer,
    /// Numbers channels and consumers over the whole run.
    pub unique: &'a mut u64,
}

impl Hand<'_> {
    /// Does something that may be done now.
    pub fn act(&mut self) {
        let open: Vec<u16> = self.peer.channels.keys().copied().collect();
        let free = (1..4).find(|number| !open.contains(number));
        if self.peer.awaiting.is_none()
            && let Some(number) = free.filter(|_| open.is_empty() || self.rng.random_bool(0.05))
        {
            return self.open(number);
        }
        if open.is_empty() {
            return;
        }
        let number = open[self.rng.random_range(0..open.len())];
        let blocked = self.peer.awaiting.as_ref().filter(|awaiting| awaiting.channel == number);
        let unsettled =
            |what: &Waited| matches!(what, Waited::Open | Waited::Select | Waited::Close | Waited::Recover);
        match self.rng.random_range(0..100) {
            _ if blocked.is_some_and(|awaiting| unsettled(&awaiting.what)) => {}
            0..40 => self.publish(number),
            40..75 => self.answer(number),
            _ if self.peer.awaiting.is_some() => {}
            75..85 => self.topology(number),
            _ => self.consuming(number),
        }
    }

    fn open(&mut self, number: u16) {
        *self.unique += 1;
        let open = channel::AMQPMethod::Open(channel::Open {});
        self.peer.ask(number, AMQPClass::Channel(open), Waited::Open);
        self.peer.channels.insert(number, Channel { unique: *self.unique, ..Channel::default() });
    }

    fn publish(&mut self, number: u16) {
        for _ in 0..self.rng.random_range(1..8) {
            let (exchange, routing_key) = match self.rng.random_range(0..3) {
                0 => (self.plan.exchange_name(self.rng), KEYS[self.rng.random_range(0..3)].to_owned()),
                _ => (String::new(), self.plan.queue_name(self.rng)),
            };
            let persistent = self.rng.random_range(0..100) < self.plan.persistent;
            let body_len = match self.rng.random_range(0..200) {
                0 => self.rng.random_range(33_000..140_000),
                1..10 => self.rng.random_range(3_000..10_000),
                _ => self.rng.random_range(8..64),
            };
            let id = self.oracle.published.len() as u64;
            self.oracle.tally.published += 1;
            let mandatory = self.rng.random_bool(0.2);
            let channel = self.peer.channels.get_mut(&number).expect("an open channel");
            if channel.confirms {
                channel.published += 1;
                channel.unconfirmed.push_back((channel.published, id));
            }
            let published = Published {
                publisher: (self.peer.number, channel.unique),
                persistent,
                mandatory,
                properties: properties(self.rng.random_range(0..3), persistent),
                body_len,
                returned: false,
                at: self.oracle.tick,
                exchange: exchange.clone(),
                routing_key: routing_key.clone(),
            };
            let publish = basic::Publish {
                exchange: exchange.as_str().into(),
                routing_key: routing_key.as_str().into(),
                mandatory,
                immediate: false,
            };
            let before = self.peer.pipe.len();
            let (frame_max, content) = (self.peer.frame_max, body(id, body_len));
            wire::publish(&mut self.peer.pipe, number, publish, &published.properties, &content, frame_max);
            self.peer.sent += (self.peer.pipe.len() - before) as u64;
            self.oracle.published.push(published);
            let address = Address { exchange, routing_key };
            let sent = Sent::Publish { id, address, possible: Default::default(), always: None };
            self.peer.intend(number, sent);
        }
    }

    fn answer(&mut self, number: u16) {
        let channel = self.peer.channels.get_mut(&number).expect("an open channel");
        let tags: Vec<u64> = channel.unacked.keys().copied().collect();
        if tags.is_empty() {
            return;
        }
        let tag = tags[self.rng.random_range(0..tags.len().min(8))];
        let multiple = self.rng.random_bool(0.4);
        let taken: Vec<Held> = match multiple {
            true => {
                let kept = channel.unacked.split_off(&(tag + 1));
                std::mem::replace(&mut channel.unacked, kept).into_values().collect()
            }
            false => channel.unacked.remove(&tag).into_iter().collect(),
        };
        let (requeue, kind) = (self.rng.random_bool(0.3), self.rng.random_range(0..2));
        let method = match (requeue, kind) {
            (false, 0) => basic::AMQPMethod::Ack(basic::Ack { delivery_tag: tag, multiple }),
            (_, 1) if !multiple => basic::AMQPMethod::Reject(basic::Reject { delivery_tag: tag, requeue }),
            _ => basic::AMQPMethod::Nack(basic::Nack { delivery_tag: tag, multiple, requeue }),
        };
        self.peer.send(number, AMQPClass::Basic(method));
        self.peer.intend(number, Sent::Answer { held: taken, requeue });
    }

    fn topology(&mut self, number: u16) {
        let (method, what) = match self.rng.random_range(0..20) {
            0..10 => (self.declare_queue(), Waited::DeclareQueue),
            10..13 => (self.declare_exchange(), Waited::Plain),
            13..17 => (self.bind(), Waited::Plain),
            17 => (self.unbind(), Waited::Plain),
            18 => {
                let exchange = self.plan.exchanges[0].name.as_str().into();
                let delete =
                    exchange::Delete { exchange, if_unused: self.rng.random_bool(0.5), nowait: false };
                (AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete)), Waited::Plain)
            }
            _ => {
                let name = self.plan.queue_name(self.rng);
                self.oracle.doomed.insert(name.clone());
                let (if_unused, if_empty) = (self.rng.random_bool(0.3), self.rng.random_bool(0.3));
                let queue = name.as_str().into();
                let delete = queue::Delete { queue, if_unused, if_empty, nowait: false };
                (AMQPClass::Queue(queue::AMQPMethod::Delete(delete)), Waited::DeleteQueue(name))
            }
        };
        self.peer.ask(number, method, what);
    }

    fn declare_queue(&mut self) -> AMQPClass {
        let QueuePlan { name, durable, exclusive, auto_delete } = self.plan.queue(self.rng);
        AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
            queue: name.as_str().into(),
            passive: false,
            durable: *durable,
            exclusive: *exclusive,
            auto_delete: *auto_delete,
            nowait: false,
            arguments: FieldTable::default(),
        }))
    }

    fn declare_exchange(&mut self) -> AMQPClass {
        let exchange = &self.plan.exchanges[self.rng.random_range(0..self.plan.exchanges.len())];
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: exchange.name.as_str().into(),
            kind: exchange.kind.into(),
            passive: false,
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: false,
            nowait: false,
            arguments: FieldTable::default(),
        }))
    }

    fn bind(&mut self) -> AMQPClass {
        AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
            queue: self.plan.queue_name(self.rng).as_str().into(),
            exchange: self.plan.exchange_name(self.rng).as_str().into(),
            routing_key: KEYS[self.rng.random_range(0..4)].into(),
            nowait: false,
            arguments: FieldTable::default(),
        }))
    }

    fn unbind(&mut self) -> AMQPClass {
        AMQPClass::Queue(queue::AMQPMethod::Unbind(queue::Unbind {
            queue: self.plan.queue_name(self.rng).as_str().into(),
            exchange: self.plan.exchange_name(self.rng).as_str().into(),
            routing_key: KEYS[self.rng.random_range(0..4)].into(),
            arguments: FieldTable::default(),
        }))
    }

    fn consuming(&mut self, number: u16) {
        let (method, what) = match self.rng.random_range(0..30) {
            0 => {
                let close =
                    channel::Close { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
                (AMQPClass::Channel(channel::AMQPMethod::Close(close)), Waited::Close)
            }
            1..4 => {
                let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
                (AMQPClass::Confirm(select), Waited::Select)
            }
            4..8 => self.qos(number),
            8..14 => self.consume(number),
            14..18 => {
                let channel = &self.peer.channels[&number];
                let Some(tag) = channel.consumers.keys().next().cloned() else { return };
                let cancel = basic::Cancel { consumer_tag: tag.as_str().into(), nowait: false };
                (AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)), Waited::Cancel)
            }
            18..26 => {
                let (queue, no_ack) = (self.plan.queue_name(self.rng), self.rng.random_bool(0.3));
                let get = basic::Get { queue: queue.as_str().into(), no_ack };
                (AMQPClass::Basic(basic::AMQPMethod::Get(get)), Waited::Get { queue, no_ack })
            }
            26..28 => {
                let recover = basic::AMQPMethod::Recover(basic::Recover { requeue: true });
                (AMQPClass::Basic(recover), Waited::Recover)
            }
            _ if self.rng.random_bool(0.3) => {
                let name = self.plan.queue_name(self.rng);
                let purge = queue::Purge { queue: name.as_str().into(), nowait: false };
                (AMQPClass::Queue(queue::AMQPMethod::Purge(purge)), Waited::Purge(name))
            }
            _ => return,
        };
        self.peer.ask(number, method, what);
    }

    fn qos(&mut self, number: u16) -> (AMQPClass, Waited) {
        let (count, global) = (self.rng.random_range(0..6), self.rng.random_bool(0.2));
        if !global {
            self.peer.channels.get_mut(&number).expect("an open channel").prefetch = count;
        }
        let qos = basic::Qos { prefetch_count: count, global };
        (AMQPClass::Basic(basic::AMQPMethod::Qos(qos)), Waited::Qos { count, global })
    }

    fn consume(&mut self, number: u16) -> (AMQPClass, Waited) {
        *self.unique += 1;
        let (queue, no_ack) = (self.plan.queue_name(self.rng), self.rng.random_bool(0.2));
        let consume = basic::Consume {
            queue: queue.as_str().into(),
            consumer_tag: format!("c{}", self.unique).as_str().into(),
            no_local: false,
            no_ack,
            exclusive: self.rng.random_bool(0.05),
            nowait: false,
            arguments: FieldTable::default(),
        };
        let prefetch = self.peer.channels[&number].prefetch;
        let consumer = Consumer { queue: QueueId::default(), no_ack, prefetch };
        (AMQPClass::Basic(basic::AMQPMethod::Consume(consume)), Waited::Consume { queue, consumer })
    }
}

/// Property flags and list, in one of a few forms.
fn properties(form: u32, persistent: bool) -> Vec<u8> {
    let mode = if persistent { 2 } else { 1 };
    match form {
        0 if !persistent => vec![0, 0],
        // Content type, delivery mode, message id.
        1 => [&[0x90, 0x80, 3][..], b"a/b", &[mode, 2], b"id"].concat(),
        // Headers with one text, and delivery mode.
        2 => [&[0x30, 0, 0, 0, 0, 8, 1][..], b"kS", &[0, 0, 0, 1], b"v", &[mode]].concat(),
        _ => vec![0x10, 0, mode],
    }
}
