//! A client of the broker: the bytes between them, and what it and the oracle know of each channel.
//!
//! What the broker wrote is looked at as soon as it is there, so that the oracle sees everything in the
//! broker's own order; a peer that reads slowly only leaves the output where it is. What the peer sent is a
//! list of intents with the offset of their last byte, resolved when it is known that they were carried out.

use super::models::{ConsumerName, MessageId};
use super::oracle::Oracle;
use super::wire::{Event, Reader};
use amq_protocol::protocol::AMQPClass;
use bytes::BytesMut;
use haremq::broker::{Broker, Client};
use rabbit_compat::session::State;
use rabbit_compat::wire::method;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use vhosts::{Moment, QueueId};

/// One connection.
pub struct Peer {
    pub number: u32,
    pub client: Client,
    pub channels: BTreeMap<u16, Channel>,
    pub frame_max: u32,
    pub awaiting: Option<Awaiting>,
    /// Never sends a sign of life.
    pub mute: bool,
    /// Wants to be told when it is blocked.
    pub told: bool,
    /// Was told so.
    pub is_blocked: bool,
    pub(super) reader: Reader,
    /// To be handed over.
    pub pipe: BytesMut,
    /// Octets that went into the pipe, and out of it.
    pub sent: u64,
    pub fed: u64,
    pub intents: VecDeque<Intent>,
    /// Octets of the output that were looked at.
    looked: usize,
    /// `channel.close-ok` that are to come for channels that the broker closed in the meantime.
    pub(super) stray_close_oks: Vec<u16>,
}

/// A channel.
#[derive(Default)]
pub struct Channel {
    /// Numbers channels over the whole run.
    pub unique: u64,
    pub confirms: bool,
    pub published: u64,
    pub unconfirmed: VecDeque<(u64, MessageId)>,
    pub last_tag: u64,
    pub prefetch: u16,
    pub global: u16,
    /// A global limit was set at some time.
    pub limited: bool,
    pub unacked: BTreeMap<u64, Held>,
    pub consumers: BTreeMap<String, Consumer>,
}

/// A delivery that was not answered.
#[derive(Clone, Debug)]
pub struct Held {
    pub queue: QueueId,
    pub id: MessageId,
    pub delivery: u64,
    /// None for `basic.get`.
    pub consumer: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Consumer {
    pub queue: QueueId,
    pub no_ack: bool,
    pub prefetch: u16,
}

/// A method that has one answer; a peer waits for it before it sends another.
#[derive(Debug)]
pub struct Awaiting {
    pub channel: u16,
    pub end: u64,
    pub what: Waited,
}

#[derive(Debug)]
pub enum Waited {
    Open,
    Select,
    Close,
    Qos {
        count: u16,
        global: bool,
    },
    DeclareQueue,
    /// Anything whose answer tells nothing.
    Plain,
    Consume {
        queue: String,
        consumer: Consumer,
    },
    Cancel,
    Get {
        queue: String,
        no_ack: bool,
    },
    Recover,
    Purge(String),
    DeleteQueue(String),
}

/// Something that was sent and has no answer of its own.
pub struct Intent {
    pub channel: u16,
    pub end: u64,
    pub what: Sent,
}

/// Where a message was published to.
pub struct Address {
    pub exchange: String,
    pub routing_key: String,
}

pub enum Sent {
    Publish {
        id: MessageId,
        address: Address,
        /// The queues that it may have gone to, and those that it went to in any case.
        possible: BTreeSet<QueueId>,
        always: Option<BTreeSet<QueueId>>,
    },
    Answer {
        held: Vec<Held>,
        requeue: bool,
    },
}

impl Peer {
    /// A peer before the handshake.
    pub fn new(number: u32, broker: &Arc<Broker>, frame_max: u32, now: Moment) -> Peer {
        Peer {
            number,
            client: Client::new(broker.clone(), IpAddr::V4(Ipv4Addr::LOCALHOST), now),
            channels: BTreeMap::new(),
            frame_max,
            awaiting: None,
            mute: false,
            told: false,
            is_blocked: false,
            reader: Reader::new(1 << 20),
            pipe: BytesMut::new(),
            sent: 0,
            fed: 0,
            intents: VecDeque::new(),
            looked: 0,
            stray_close_oks: Vec::new(),
        }
    }

    /// Puts a method into the pipe.
    pub fn send(&mut self, channel: u16, class: AMQPClass) {
        let before = self.pipe.len();
        method::encode(&mut self.pipe, channel, &class);
        self.sent += (self.pipe.len() - before) as u64;
    }

    /// Puts a method that has an answer into the pipe.
    pub fn ask(&mut self, channel: u16, class: AMQPClass, what: Waited) {
        self.send(channel, class);
        self.awaiting = Some(Awaiting { channel, end: self.sent, what });
    }

    /// Puts something into the pipe that has no answer.
    pub fn intend(&mut self, channel: u16, what: Sent) {
        self.intents.push_back(Intent { channel, end: self.sent, what });
    }

    /// Hands over up to `count` octets; false if none could be.
    pub fn feed(&mut self, count: usize, now: Moment) -> bool {
        let count = count.min(self.pipe.len());
        if count == 0 || !self.client.reads() {
            return false;
        }
        let bytes = self.pipe.split_to(count);
        self.client.decoder().buffer().extend_from_slice(&bytes);
        self.client.session().received(now);
        self.fed += count as u64;
        true
    }

    /// Takes up to `count` octets of the output; false if there were none.
    pub fn drain(&mut self, count: usize, now: Moment) -> bool {
        let count = count.min(self.looked);
        self.client.session().output().advance(count);
        self.looked -= count;
        self.client.session().sent(now);
        count > 0
    }

    /// What the broker wrote since the last look.
    pub fn look(&mut self) -> Vec<Event> {
        let output = self.client.session().output();
        let total = output.len();
        let mut slices = vec![IoSlice::new(&[]); 4096];
        let filled = output.slices(&mut slices);
        let (mut skip, mut bytes) = (self.looked, Vec::with_capacity(total - self.looked));
        for slice in &slices[..filled] {
            bytes.extend_from_slice(&slice[skip.min(slice.len())..]);
            skip -= skip.min(slice.len());
        }
        assert_eq!(self.looked + bytes.len(), total, "more pieces than were asked for");
        self.looked = total;
        self.reader.read(&bytes)
    }

    /// Whether the broker ended the conversation.
    pub fn is_closed(&mut self) -> bool {
        self.client.session().state() == State::Closed
    }

    /// Before the broker works: what was handed over may be carried out, as things stand now.
    pub fn begin_work(&mut self, oracle: &mut Oracle, route: impl Fn(&Address) -> BTreeSet<QueueId>) {
        let fed = self.fed;
        for intent in self.intents.iter_mut().take_while(|intent| intent.end <= fed) {
            match &mut intent.what {
                Sent::Publish { address, possible, always, .. } => {
                    let queues = route(address);
                    possible.extend(&queues);
                    keep(always, queues);
                }
                Sent::Answer { held, .. } => {
                    held.iter().for_each(|held| oracle.perhaps_answered(held.queue, held.id, held.delivery));
                }
            }
        }
    }

    /// After it: what was handed over may have been carried out as things stand now.
    pub fn end_work(&mut self, oracle: &mut Oracle, route: impl Fn(&Address) -> BTreeSet<QueueId>) {
        let fed = self.fed;
        for intent in self.intents.iter_mut().take_while(|intent| intent.end <= fed) {
            let Sent::Publish { id, address, possible, always } = &mut intent.what else { continue };
            let queues = route(address);
            possible.extend(&queues);
            keep(always, queues);
            oracle.possible(*id, possible);
        }
    }

    /// Everything up to that offset was carried out.
    pub fn resolve(&mut self, end: u64, oracle: &mut Oracle) {
        while let Some(intent) = self.intents.pop_front_if(|intent| intent.end <= end) {
            match intent.what {
                Sent::Publish { id, possible, always, .. } => {
                    oracle.certain(id, &possible, &always.unwrap_or_default());
                }
                Sent::Answer { held, requeue } => held.iter().for_each(|held| {
                    if requeue {
                        oracle.requeued(held.queue, held.id, held.delivery);
                    } else {
                        oracle.settled(held.queue, held.id, held.delivery);
                    }
                }),
            }
        }
    }

    /// A publish was confirmed, so it was carried out, and all before it.
    pub fn confirmed(&mut self, id: MessageId, oracle: &mut Oracle) {
        let is_it = |intent: &Intent| matches!(&intent.what, Sent::Publish { id: other, .. } if *other == id);
        if let Some(end) = self.intents.iter().find(|intent| is_it(intent)).map(|intent| intent.end) {
            assert!(end <= self.fed, "message {id} was confirmed before it was sent");
            self.resolve(end, oracle);
        }
        oracle.confirmed(id);
    }

    /// The channel is gone: its consumers too, and what it held went back.
    pub fn channel_went(&mut self, number: u16, oracle: &mut Oracle) {
        let Some(channel) = self.channels.remove(&number) else { return };
        for (tag, consumer) in &channel.consumers {
            oracle.consumer_went(consumer.queue, &self.name(number, tag), true);
        }
        for held in channel.unacked.values() {
            oracle.requeued(held.queue, held.id, held.delivery);
        }
        let (gone, kept) = std::mem::take(&mut self.intents)
            .into_iter()
            .partition::<Vec<_>, _>(|intent| intent.channel == number);
        self.intents = kept.into();
        for intent in gone {
            let reached = intent.end <= self.fed;
            match intent.what {
                Sent::Publish { id, possible, .. } => oracle.uncertain(id, &possible),
                // Who answered in time is not known; what came later was ignored.
                Sent::Answer { held, .. } if !reached => {
                    held.iter().for_each(|held| oracle.requeued(held.queue, held.id, held.delivery));
                }
                Sent::Answer { .. } => {}
            }
        }
    }

    /// The connection is gone without a word.
    pub fn went(&mut self, oracle: &mut Oracle) {
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.channel_went(number, oracle));
    }

    pub fn name(&self, channel: u16, tag: &str) -> ConsumerName {
        (self.number, channel, tag.to_owned())
    }
}

impl Channel {
    /// Deliveries to a consumer that were not answered.
    pub fn unacked_of(&self, tag: &str) -> usize {
        self.unacked.values().filter(|held| held.consumer.as_deref() == Some(tag)).count()
    }

    /// Deliveries to any consumer that were not answered.
    pub fn consumed(&self) -> usize {
        self.unacked.values().filter(|held| held.consumer.is_some()).count()
    }
}

fn keep(always: &mut Option<BTreeSet<QueueId>>, queues: BTreeSet<QueueId>) {
    match always {
        Some(always) => always.retain(|queue| queues.contains(queue)),
        None => *always = Some(queues),
    }
}
