//! A client's side of one connection: bytes to the broker, and what it wrote, without a socket.

use super::setup::FRAME_MAX;
use super::wire::{self, Event, Reader};
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, tx};
use bytes::BytesMut;
use haremq::broker::{Broker, Client};
use haremq::store::Lsn;
use rabbit_compat::session::State;
use rabbit_compat::wire::method;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The channel with confirms.
pub const PUBLISHING: u16 = 1;
pub const CONSUMING: u16 = 2;
/// The channel with transactions.
pub const TRANSACTING: u16 = 3;

pub struct Conversation {
    broker: Arc<Broker>,
    pub client: Client,
    reader: Reader,
}

impl Conversation {
    /// Connects and opens the channels.
    pub fn open(broker: &Arc<Broker>) -> Conversation {
        let client = Client::new(broker.clone(), IpAddr::V4(Ipv4Addr::LOCALHOST), broker.clock.now());
        let (broker, reader) = (broker.clone(), Reader::new(1 << 20));
        let mut conversation = Conversation { broker, client, reader };
        conversation.receive(b"AMQP\x00\x00\x09\x01");
        for method in wire::login(&[("connection.blocked", true)], FRAME_MAX, 0) {
            conversation.send(0, method);
        }
        conversation.work();
        assert_eq!(conversation.client.session().state(), State::Running, "the login is refused");
        for number in [PUBLISHING, CONSUMING, TRANSACTING] {
            let open = channel::AMQPMethod::Open(channel::Open {});
            conversation.send(number, AMQPClass::Channel(open));
        }
        let confirms = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        conversation.send(PUBLISHING, AMQPClass::Confirm(confirms));
        conversation.send(TRANSACTING, AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})));
        assert_eq!(conversation.work().len(), 5, "the channels are not open");
        conversation
    }

    /// Sends a method.
    pub fn send(&mut self, channel: u16, method: AMQPClass) {
        let mut bytes = BytesMut::new();
        method::encode(&mut bytes, channel, &method);
        self.receive(&bytes);
    }

    /// Sends a message.
    pub fn publish(&mut self, channel: u16, exchange: &str, key: &str, properties: &[u8], body: &[u8]) {
        let (exchange, routing_key) = (exchange.into(), key.into());
        let publish = basic::Publish { exchange, routing_key, mandatory: false, immediate: false };
        let mut bytes = BytesMut::new();
        wire::publish(&mut bytes, channel, publish, properties, body, FRAME_MAX);
        self.receive(&bytes);
    }

    /// Lets the broker do what it can, and gives what it wrote.
    pub fn work(&mut self) -> Vec<Event> {
        self.client.work();
        let output = self.client.session().output();
        let mut bytes = Vec::new();
        while !output.is_empty() {
            let (before, mut slices) = (bytes.len(), [IoSlice::new(&[]); 16]);
            let filled = output.slices(&mut slices);
            slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
            output.advance(bytes.len() - before);
        }
        self.reader.read(&bytes)
    }

    /// The store is safe up to there.
    pub fn safe(&mut self, lsn: Lsn) {
        self.client.safe(lsn);
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.client.decoder().buffer().extend_from_slice(bytes);
        self.client.session().received(self.broker.clock.now());
    }
}
