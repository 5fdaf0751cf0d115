//! What the wire costs per message, without socket, routing and queues.
//!
//! `decode/…`: a publish (method, header and body frames) is cut from the bytes and nothing is made of it.
//! `receive/…`: the session makes a command of it, and with it the message. `receive/ack`: a delivery and the
//! client's answer to it. `deliver/…`: a message is written as the frames of a `basic.deliver`.

#![allow(missing_docs)] // criterion_group! makes public functions
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot begin has nothing to measure")]

use amq_protocol::frame::{AMQPFrame, gen_frame};
use amq_protocol::protocol::{AMQPClass, basic, channel, connection};
use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rabbit_compat::Session;
use rabbit_compat::session::{Command, ConsumerId, Done, Settings, Tuning};
use rabbit_compat::wire::{Decoder, Output, content, method};
use std::hint::black_box;
use std::sync::Arc;
use vhosts::queue::{ConsumerKey, Delivery};
use vhosts::{ConnectionId, DeliveryId, Message, Moment, QueueId};

const FRAME_MAX: u32 = 131_072;
const SIZES: [(&str, usize); 3] = [("16 B", 16), ("1 KiB", 1024), ("1 MiB", 1 << 20)];

fn frame(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame(frame)(Vec::new().into()).unwrap().write
}

fn basic_method(method: basic::AMQPMethod) -> Vec<u8> {
    frame(&AMQPFrame::Method(1, AMQPClass::Basic(method)))
}

fn publish(body_len: usize) -> Vec<u8> {
    let (exchange, routing_key) = ("amq.direct".into(), "orders.created".into());
    let publish = basic::Publish { exchange, routing_key, mandatory: false, immediate: false };
    let mut bytes = basic_method(basic::AMQPMethod::Publish(publish));
    let properties = basic::AMQPProperties::default().with_delivery_mode(2);
    let header =
        amq_protocol::frame::AMQPContentHeader { class_id: 60, body_size: body_len as u64, properties };
    bytes.extend(frame(&AMQPFrame::Header(1, header)));
    for piece in vec![b'x'; body_len].chunks(FRAME_MAX as usize - 8) {
        bytes.extend(frame(&AMQPFrame::Body(1, piece.to_vec())));
    }
    bytes
}

/// What a client sends until channel 1 is open, behind the protocol header.
fn handshake(tuning: Tuning) -> [AMQPFrame; 4] {
    let Tuning { channel_max, frame_max, heartbeat_s: heartbeat } = tuning;
    let (mechanism, response) = ("PLAIN".into(), "\0guest\0guest".into());
    let start_ok = connection::StartOk {
        client_properties: Default::default(),
        mechanism,
        response,
        locale: "en_US".into(),
    };
    let tune_ok = connection::TuneOk { channel_max, frame_max, heartbeat };
    let connection = |method| AMQPFrame::Method(0, AMQPClass::Connection(method));
    let open = channel::AMQPMethod::Open(channel::Open {});
    [
        connection(connection::AMQPMethod::StartOk(start_ok)),
        connection(connection::AMQPMethod::TuneOk(tune_ok)),
        connection(connection::AMQPMethod::Open(connection::Open { virtual_host: "/".into() })),
        AMQPFrame::Method(1, AMQPClass::Channel(open)),
    ]
}

/// A session with its decoder.
struct Client {
    session: Session,
    decoder: Decoder,
    commands: Vec<Command>,
}

impl Client {
    fn connected() -> Client {
        let tuning = Tuning { channel_max: 2047, frame_max: FRAME_MAX, heartbeat_s: 0 };
        let settings = Settings {
            tuning,
            max_message_size: 128 << 20,
            handshake_timeout_ms: 10_000,
            server_properties: Default::default(),
        };
        let session = Session::new(ConnectionId(1), Arc::new(settings), Moment(0));
        let mut client = Client { session, decoder: Decoder::new(FRAME_MAX), commands: Vec::new() };
        client.session.receive_header(*b"AMQP\0\0\x09\x01");
        for sent in handshake(tuning) {
            client.receive(&frame(&sent));
            match client.commands.pop() {
                Some(Command::Authenticate { .. }) => client.session.authenticated(true),
                Some(Command::Open { .. }) => client.session.opened(Ok(())),
                _ => {}
            }
        }
        client
    }

    fn consume(&mut self, consumer_tag: &str) {
        let consumer_tag = consumer_tag.into();
        let consume = basic::Consume { queue: "q".into(), consumer_tag, ..Default::default() };
        self.receive(&basic_method(basic::AMQPMethod::Consume(consume)));
        self.commands.clear();
        let done = Done::Consuming { queue: QueueId(1), key: ConsumerKey(0) };
        self.session.complete(Ok(done), &mut self.commands);
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.decoder.buffer().extend_from_slice(bytes);
        while let Some(frame) = self.decoder.next_frame().unwrap() {
            self.session.receive(frame, &mut self.commands);
        }
    }
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    for (name, body_len) in SIZES {
        let bytes = publish(body_len);
        let mut decoder = Decoder::new(FRAME_MAX);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                decoder.buffer().extend_from_slice(&bytes);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    black_box(frame);
                }
            });
        });
    }
}

fn receive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive");
    group.throughput(Throughput::Elements(1));
    for (name, body_len) in SIZES {
        let bytes = publish(body_len);
        let mut client = Client::connected();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                client.receive(&bytes);
                assert_eq!(client.commands.len(), 1);
                client.commands.clear();
            });
        });
    }
    let message = Message::new("", b"q", &[0, 0], &[b'x'; 16]).unwrap();
    let mut client = Client::connected();
    client.consume("consumer");
    let mut tag = 0;
    group.bench_function("ack", |bencher| {
        bencher.iter(|| {
            tag += 1;
            let delivery =
                Delivery { id: Some(DeliveryId(tag)), message: message.clone(), history: Default::default() };
            client.session.deliver(ConsumerId(1), QueueId(1), &delivery);
            let mut ack = [1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xCE];
            ack[11..19].copy_from_slice(&tag.to_be_bytes());
            client.receive(&ack);
            assert_eq!(client.session.answers().len(), 1);
            client.session.answers().clear();
            client.session.grants().clear();
            forget(client.session.output());
        });
    });
}

fn deliver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deliver");
    group.throughput(Throughput::Elements(1));
    for (name, body_len) in SIZES {
        let body = vec![b'x'; body_len];
        let message = Message::new("amq.direct", b"orders.created", &[0x10, 0, 2], &body).unwrap();
        let delivery = Delivery { id: Some(DeliveryId(1)), message, history: Default::default() };
        let mut output = Output::default();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                content::deliver(&mut output, 1, "consumer", 7, black_box(&delivery), FRAME_MAX);
                forget(&mut output);
            });
        });
    }
    let mut bytes = BytesMut::new();
    let qos_ok = AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {}));
    group.bench_function("a method of amq-protocol", |bencher| {
        bencher.iter(|| {
            method::encode(&mut bytes, 1, black_box(&qos_ok));
            bytes.clear();
        });
    });
}

fn forget(output: &mut Output) {
    output.advance(output.len());
}

criterion_group!(benches, decode, receive, deliver);
criterion_main!(benches);
