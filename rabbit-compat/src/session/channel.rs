//! One channel: the message that is being received, the deliveries that wait for an answer, and modes.
//!
//! Invariants:
//! - content is never interleaved: between `basic.publish` and the end of its body no other frame passes;
//! - a delivery tag is in `unacked` from its delivery to its answer, and again when the answer is rolled back;
//! - a channel that the server closed (`closing`) takes nothing but `channel.close` and `close-ok`.

use super::checks::Limits;
use super::command::{Answer, ConsumerId};
use super::confirms::Tags;
use super::transactions::Transaction;
use crate::violation::{Code, Violation};
use crate::wire::Frame;
use std::mem;
use vhosts::message::Chunk;
use vhosts::queue::Outcome;
use vhosts::window::Window;
use vhosts::{DeliveryId, Message, MessageBuilder, Moment, Name, QueueId};

/// Class and method id of `basic.publish`.
pub const PUBLISH: (u16, u16) = (60, 40);
/// Bodies that no server accepts, whatever it is configured to (RabbitMQ's hard limit).
const BODY_MAX: u64 = 512 << 20;

/// A channel of a connection.
#[derive(Debug)]
pub struct Channel {
    /// The server sent `channel.close` and waits for the answer.
    pub closing: bool,
    /// The client sent `channel.close`; the answer follows when the broker has let go of the channel.
    pub leaving: bool,
    /// `x` in `basic.qos(x, global=false)`: for consumers that come.
    pub prefetch: u16,
    /// `x` in `basic.qos(x, global=true)`: for all consumers together.
    pub global_prefetch: u16,
    /// The queue that an empty name stands for.
    pub last_queue: Option<Name>,
    /// Deliveries without an answer.
    pub unacked: Window<Unacked>,
    /// Deliveries that were not `basic.get` and count for the global prefetch limit: those without an answer,
    /// and those whose answer waits for a commit.
    pub consumed: usize,
    /// Publisher confirms, once selected.
    pub confirms: Option<Tags>,
    /// The open transaction, once selected; never together with confirms.
    pub transaction: Option<Transaction>,
    /// Where replies to this channel are published to, while it consumes them.
    pub reply_address: Option<Name>,
    receiving: Receiving,
    builder: MessageBuilder,
}

/// A delivery without an answer.
#[derive(Clone, Copy, Debug)]
pub struct Unacked {
    /// Its queue.
    pub queue: QueueId,
    /// Its number there.
    pub delivery: DeliveryId,
    /// None for `basic.get`.
    pub consumer: Option<ConsumerId>,
}

#[derive(Debug, Default)]
enum Receiving {
    /// Methods.
    #[default]
    Methods,
    /// The content header of a `basic.publish`.
    Header { mandatory: bool },
    /// The body.
    Body { mandatory: bool },
}

/// What came of a content frame.
#[derive(Debug)]
pub enum Received {
    /// More is to come.
    Part,
    /// A message, and whether it is mandatory.
    Whole(Message, bool),
}

impl Default for Channel {
    fn default() -> Channel {
        Channel {
            closing: false,
            leaving: false,
            prefetch: 0,
            global_prefetch: 0,
            last_queue: None,
            unacked: Window::starting_at(1),
            consumed: 0,
            confirms: None,
            transaction: None,
            reply_address: None,
            receiving: Receiving::default(),
            builder: MessageBuilder::default(),
        }
    }
}

impl Channel {
    /// Whether a message is being received, so that a method may not come.
    ///
    /// # Errors
    /// 505 if so.
    pub fn expect_method(&self) -> Result<(), Violation> {
        match self.receiving {
            Receiving::Methods => Ok(()),
            Receiving::Header { .. } => Err(not_a_header()),
            Receiving::Body { .. } => Err(not_a_body()),
        }
    }

    /// Begins to receive a message.
    pub fn publish(&mut self, address: &[u8], mandatory: bool) {
        self.builder.address(address);
        self.receiving = Receiving::Header { mandatory };
    }

    /// Takes a content frame.
    ///
    /// # Errors
    /// 505 for a frame that is not the next one; 501 and 541 for one that is malformed; 406 for a message that
    /// may not be published.
    pub fn content(&mut self, frame: Frame<'_>, limits: Limits<'_>) -> Result<Received, Violation> {
        match (&self.receiving, frame) {
            (Receiving::Header { mandatory }, Frame::Header(_, payload)) => {
                let mandatory = *mandatory;
                self.header(payload, mandatory, limits)
            }
            (Receiving::Body { .. }, Frame::Body { chunk, left, .. }) => self.body(chunk, left, limits.now),
            (Receiving::Methods, _) => {
                let text = "expected method frame, got non method frame instead";
                Err(Violation::new(Code::UnexpectedFrame, text))
            }
            (Receiving::Header { .. }, _) => Err(not_a_header()),
            (Receiving::Body { .. }, _) => Err(not_a_body()),
        }
    }

    fn header(&mut self, payload: &[u8], mandatory: bool, limits: Limits<'_>) -> Result<Received, Violation> {
        let Some((&[c1, c0, w1, w0, s7, s6, s5, s4, s3, s2, s1, s0], properties)) =
            payload.split_first_chunk()
        else {
            return Err(not_a_header());
        };
        let class = u16::from_be_bytes([c1, c0]);
        let body_len = u64::from_be_bytes([s7, s6, s5, s4, s3, s2, s1, s0]);
        if class != PUBLISH.0 {
            let text = format!("expected content header for class 60, got one for class {class} instead");
            return Err(Violation::new(Code::UnexpectedFrame, text).by(PUBLISH));
        }
        if [w1, w0] != [0, 0] {
            return Err(not_a_header());
        }
        if body_len > BODY_MAX {
            let text = format!("content body size {body_len} exceeds maximum allowed size {BODY_MAX}");
            return Err(Violation::new(Code::FrameError, text).by(PUBLISH));
        }
        let malformed = |_| Violation::new(Code::InternalError, "");
        let parsed = self.builder.header(properties, body_len).map_err(malformed)?;
        let copies = limits.check(&parsed, body_len, self.reply_address.is_some())?;
        if copies.any() {
            self.builder.mark_copies(copies.bcc);
        }
        self.receiving = Receiving::Body { mandatory };
        if body_len == 0 { self.whole(limits.now) } else { Ok(Received::Part) }
    }

    fn body(&mut self, chunk: Chunk<'_>, left: usize, now: Moment) -> Result<Received, Violation> {
        if (chunk.len() + left) as u64 > self.builder.missing() {
            let text = "content body frame exceeds remaining content size";
            return Err(Violation::new(Code::FrameError, text).by(PUBLISH));
        }
        self.builder.push(chunk);
        if self.builder.missing() == 0 { self.whole(now) } else { Ok(Received::Part) }
    }

    fn whole(&mut self, now: Moment) -> Result<Received, Violation> {
        match mem::take(&mut self.receiving) {
            Receiving::Body { mandatory } => {
                let message = self.builder.finish(now);
                Ok(Received::Whole(self.addressed(message), mandatory))
            }
            Receiving::Methods | Receiving::Header { .. } => Ok(Received::Part),
        }
    }

    /// Answers one delivery, or with `multiple` all up to it (tag 0: all there are), in order. In a
    /// transaction the answers are kept until its commit.
    ///
    /// # Errors
    /// 406 for a tag that waits for no answer.
    pub fn answer(
        &mut self,
        delivery_tag: u64,
        multiple: bool,
        outcome: Outcome,
        answers: &mut Vec<Answer>,
    ) -> Result<(), Violation> {
        let unknown =
            || Violation::new(Code::PreconditionFailed, format!("unknown delivery tag {delivery_tag}"));
        if !multiple {
            let unacked = self.unacked.remove(delivery_tag).ok_or_else(unknown)?;
            self.take_answer(delivery_tag, unacked, outcome, answers);
            return Ok(());
        }
        if delivery_tag != 0 && self.unacked.at(delivery_tag).is_none() {
            return Err(unknown());
        }
        let last = if delivery_tag == 0 { u64::MAX } else { delivery_tag };
        while let Some((tag, unacked)) = self.unacked.pop_until(last) {
            self.take_answer(tag, unacked, outcome, answers);
        }
        Ok(())
    }

    /// Answers all deliveries without an answer, whether in a transaction or not.
    pub fn answer_all(&mut self, outcome: Outcome, answers: &mut Vec<Answer>) {
        while let Some((_, unacked)) = self.unacked.pop_until(u64::MAX) {
            self.settle(unacked, outcome, answers);
        }
    }

    /// The channel ends, and with it an open transaction: all deliveries that wait for an answer or for the
    /// commit of one have failed.
    pub fn end(&mut self, answers: &mut Vec<Answer>) {
        self.rollback();
        self.answer_all(Outcome::Fail, answers);
    }

    /// Whether a global prefetch limit forbids one more delivery.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.global_prefetch != 0 && self.consumed >= usize::from(self.global_prefetch)
    }

    fn take_answer(&mut self, tag: u64, unacked: Unacked, outcome: Outcome, answers: &mut Vec<Answer>) {
        match &mut self.transaction {
            Some(transaction) => transaction.keep(tag, unacked, outcome),
            None => self.settle(unacked, outcome, answers),
        }
    }

    /// Hands out an answer; its delivery counts no more.
    pub fn settle(&mut self, unacked: Unacked, outcome: Outcome, answers: &mut Vec<Answer>) {
        self.consumed -= usize::from(unacked.consumer.is_some());
        answers.push(Answer { queue: unacked.queue, delivery: unacked.delivery, outcome });
    }
}

fn not_a_header() -> Violation {
    let text = "expected content header for class 60, got non content header frame instead";
    Violation::new(Code::UnexpectedFrame, text).by(PUBLISH)
}

fn not_a_body() -> Violation {
    let text = "expected content body, got non content body frame instead";
    Violation::new(Code::UnexpectedFrame, text).by(PUBLISH)
}
