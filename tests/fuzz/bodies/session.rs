//! Bytes as a conversation, with a broker that answers by chance.

use rabbit_compat::session::{
    Command, ConsumerId, Done, LogPosition, Operation, Publishing, Settings, State, Tuning,
};
use rabbit_compat::wire::Decoder;
use rabbit_compat::{Code, Session, Violation};
use std::sync::Arc;
use vhosts::queue::{ConsumerKey, Delivery};
use vhosts::{ConnectionId, DeliveryId, Message, Moment, QueueId};

const FRAME_MAX: u32 = 8192;
/// A client's side of the handshake, and channel 1.
const HANDSHAKE: &[u8] = b"AMQP\0\0\x09\x01\
    \x01\0\0\0\0\0\x24\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US\xCE\
    \x01\0\0\0\0\0\x0c\0\x0a\0\x1f\0\x09\0\0\x20\0\0\0\xCE\
    \x01\0\0\0\0\0\x08\0\x0a\0\x28\x01/\0\0\xCE\
    \x01\0\x01\0\0\0\x05\0\x14\0\x0a\0\xCE";

/// Bytes as what a client sends. The first says whether the handshake is done already, and seeds the broker.
///
/// Whatever comes, the server writes whole frames, and each delivery is answered once.
pub fn session(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let mut client = Client::new(u64::from(*first));
    if first % 4 != 0 {
        client.receive(HANDSHAKE);
        assert_eq!(client.session.state(), State::Running);
        client.friendly = first % 4 == 1;
    }
    for read in bytes.chunks(1 + usize::from(*first) * 4) {
        client.receive(read);
        client.something_happens();
    }
    client.session.end();
    client.take_answers();
    client.answered.sort_unstable();
    assert!(client.answered.iter().copied().eq(1..=client.delivered), "each delivery is answered once");
}

struct Client {
    session: Session,
    decoder: Decoder,
    written: Decoder,
    commands: Vec<Command>,
    /// The broker never refuses.
    friendly: bool,
    chance: u64,
    now: Moment,
    log: LogPosition,
    delivered: u64,
    answered: Vec<u64>,
}

impl Client {
    fn new(seed: u64) -> Client {
        let settings = Settings {
            tuning: Tuning { channel_max: 9, frame_max: FRAME_MAX, heartbeat_s: 60 },
            max_message_size: 10_000,
            handshake_timeout_ms: 10_000,
            server_properties: Default::default(),
        };
        Client {
            session: Session::new(ConnectionId(1), Arc::new(settings), Moment(0)),
            decoder: Decoder::new(FRAME_MAX),
            written: Decoder::new(1 << 20),
            commands: Vec::new(),
            friendly: true,
            chance: seed,
            now: Moment(0),
            log: LogPosition(0),
            delivered: 0,
            answered: Vec::new(),
        }
    }

    /// A number below `limit`.
    fn chance(&mut self, limit: u64) -> u64 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % limit
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.session.received(self.now);
        self.decoder.buffer().extend_from_slice(bytes);
        if self.session.state() == State::Header {
            let Some(header) = self.decoder.protocol_header() else { return };
            self.session.receive_header(header);
        }
        while self.session.state() != State::Closed {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => self.session.receive(frame, &mut self.commands),
                Ok(None) => break,
                Err(error) => self.session.malformed(error),
            }
            self.carry_out();
        }
        self.check_output();
    }

    fn carry_out(&mut self) {
        while !self.commands.is_empty() {
            let refused = !self.friendly && self.chance(8) == 0;
            let violation = Violation::new(Code::NotFound, "no queue 'q' in vhost '/'");
            match self.commands.remove(0) {
                Command::Authenticate { .. } => self.session.authenticated(!refused),
                Command::Open { .. } => self.session.opened(if refused { Err(violation) } else { Ok(()) }),
                Command::Publish { channel, .. } if refused => {
                    self.session.refuse(channel, violation, &mut self.commands);
                }
                Command::Publish { channel, message, mandatory: true, .. } => {
                    self.session.unroutable(channel, &message)
                }
                Command::Publish { channel, how: Publishing::Confirmed(tag), .. } if self.chance(4) == 0 => {
                    self.session.rejected(channel, tag);
                }
                Command::Publish { .. } => {}
                Command::Operate(operation) => {
                    if let Operation::Commit { answers, .. } = &operation {
                        self.answered.extend(answers.iter().map(|answer| answer.delivery.0));
                    }
                    let done = if refused { Err(violation) } else { Ok(self.done(operation)) };
                    self.session.complete(done, &mut self.commands);
                }
                Command::Release { channel, .. } => {
                    self.published();
                    self.session.released(channel);
                }
            }
        }
    }

    fn done(&mut self, operation: Operation) -> Done {
        match operation {
            Operation::DeclareQueue { name, .. } => Done::Queue { name, messages: 1, consumers: 2 },
            Operation::DeleteQueue { .. } | Operation::Purge { .. } => Done::Messages(3),
            Operation::Consume { consumer, .. } => {
                Done::Consuming { queue: QueueId(consumer.0 % 3), key: ConsumerKey(consumer.0 as u32) }
            }
            Operation::ConsumeReplies { .. } => {
                Done::Replies { address: "amq.rabbitmq.reply-to.token".into() }
            }
            Operation::Get { no_ack, .. } => {
                let delivery = self.delivery(no_ack);
                Done::Got { queue: QueueId(1), delivery, left: 0 }
            }
            _ => Done::Plain,
        }
    }

    fn delivery(&mut self, no_ack: bool) -> Delivery {
        self.delivered += u64::from(!no_ack);
        let id = (!no_ack).then_some(DeliveryId(self.delivered));
        let body = vec![b'x'; self.chance(40_000) as usize];
        // An address and an empty property list make a message.
        let message = Message::new("", b"q", &[0, 0], &body).unwrap_or_else(|error| panic!("{error:?}"));
        Delivery { id, message, history: Default::default() }
    }

    fn published(&mut self) {
        self.log.0 += 1;
        let position = (self.chance(2) == 0).then_some(self.log);
        self.session.published(position, LogPosition(self.log.0.saturating_sub(2)));
    }

    fn something_happens(&mut self) {
        match self.chance(10) {
            0 => self.published(),
            1 => self.session.safe(self.log),
            2 => {
                let consumer = ConsumerId(self.chance(8));
                self.session.cancelled(consumer);
            }
            3 => {
                self.now = self.now.after_ms(100);
                self.session.tick(self.now);
            }
            4 => {
                let consumer = ConsumerId(self.chance(8));
                self.session.timed_out(consumer, 1000, &mut self.commands);
                self.carry_out();
            }
            5 => {
                let (consumer, delivery) = (ConsumerId(self.chance(8)), self.delivery(true));
                self.session.reply(consumer, &delivery.message);
            }
            _ => {
                let (consumer, no_ack) = (ConsumerId(self.chance(8)), self.chance(4) == 0);
                let delivery = self.delivery(no_ack);
                self.session.deliver(consumer, QueueId(1), &delivery);
            }
        }
        self.take_answers();
        self.check_output();
    }

    fn take_answers(&mut self) {
        self.answered.extend(self.session.answers().drain(..).map(|answer| answer.delivery.0));
        self.session.grants().clear();
    }

    /// What the session writes is whole frames, behind the protocol header that it answers a wrong one with.
    fn check_output(&mut self) {
        let output = self.session.output();
        while !output.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[])];
            output.slices(&mut slices);
            self.written.buffer().extend_from_slice(&slices[0]);
            let len = slices[0].len();
            output.advance(len);
        }
        if self.written.buffer().starts_with(b"AMQP") {
            self.written.protocol_header();
        }
        while self.written.next_frame().is_ok_and(|frame| frame.is_some()) {}
        assert!(self.written.buffer().is_empty());
    }
}
