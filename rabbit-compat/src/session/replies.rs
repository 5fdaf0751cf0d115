//! Direct reply-to: answers to requests without a queue for them (RabbitMQ, "Direct Reply-to").
//!
//! A channel that consumes from [`NAME`] gets an address from the broker. A request that it publishes with
//! that name in `reply_to` leaves with the address instead; what is published to the address by the default
//! exchange is delivered to the channel, or lost when it is gone.
//!
//! Invariant: a channel has an address exactly while one of the connection's consumers is its consumer of
//! replies.

use super::answers::Reply;
use super::channel::Channel;
use super::command::{Command, ConsumerId, Operation};
use super::deliveries::{Consumer, Source};
use super::{Session, consuming, operations};
use crate::violation::{Code, Violation};
use crate::wire::content;
use amq_protocol::protocol::{basic, queue};
use vhosts::queue::{Delivery, History};
use vhosts::{Message, Name};

/// The name to consume replies from, and to ask for them. An address is this, a dot and what tells it apart.
pub const NAME: &str = "amq.rabbitmq.reply-to";

/// Whether a name is that of one consumer of replies, there or gone.
#[must_use]
pub fn is_address(name: &str) -> bool {
    name.strip_prefix(NAME).is_some_and(|rest| rest.starts_with('.'))
}

/// 403 for a name that cannot be bound.
pub fn check_bindable(name: &str) -> Result<(), Violation> {
    if !is_address(name) {
        return Ok(());
    }
    let text = "cannot bind or unbind to a volatile (direct reply-to) queue";
    Err(Violation::new(Code::AccessRefused, text))
}

impl Channel {
    /// The message as it leaves: with the channel's address, if it asks for replies.
    pub fn addressed(&self, message: Message) -> Message {
        let Some(address) = &self.reply_address else { return message };
        match message.properties().reply_to {
            Some(wanted) if wanted == NAME.as_bytes() => message.with_reply_to(address.as_bytes()),
            _ => message,
        }
    }
}

impl Session {
    /// `basic.consume` from [`NAME`].
    pub(super) fn consume_replies(
        &mut self,
        number: u16,
        ids: (u16, u16),
        consume: &basic::Consume,
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        let consumer = ConsumerId(self.consumers.next());
        let tag = self.consumer_tag(consume.consumer_tag.as_str());
        let same_tag = self.consumer_by_tag(number, &tag);
        if same_tag.is_some_and(|(_, known)| matches!(known.source, Source::Queue(_))) {
            return Err(consuming::reused_tag(&tag));
        }
        if !consume.no_ack {
            return Err(operations::precondition("reply consumer cannot acknowledge"));
        }
        if self.channels.get(&number).is_some_and(|channel| channel.reply_address.is_some()) {
            return Err(operations::precondition("reply consumer already set"));
        }
        self.hand_out(number, ids, consume.nowait, tag, Operation::ConsumeReplies { consumer }, commands);
        Ok(())
    }

    /// The broker made an address for the consumer of replies.
    pub(super) fn note_replies(&mut self, number: u16, tag: String, address: Name) {
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.reply_address = Some(address);
            self.consumers.push(Consumer { channel: number, tag, source: Source::Replies });
        }
    }

    /// `queue.declare` of [`NAME`], which is always there and, by definition, has one consumer.
    pub(super) fn declare_replies(&mut self, number: u16, nowait: bool) {
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.last_queue = Some(NAME.into());
        }
        if !nowait {
            let (queue, message_count, consumer_count) = (NAME.into(), 0, 1);
            let declare_ok = queue::DeclareOk { queue, message_count, consumer_count };
            self.respond(number, Reply::Queue(queue::AMQPMethod::DeclareOk(declare_ok)));
        }
    }

    /// Hands a reply to a consumer of replies; nobody waits for an answer to it. One that came too late is
    /// lost.
    pub fn reply(&mut self, consumer: ConsumerId, message: &Message) {
        let known = self.consumers.at(consumer.0);
        let Some(Consumer { channel: number, tag, source: Source::Replies }) = known else { return };
        let channel = self.channels.get_mut(number).filter(|channel| !channel.closing);
        let Some(channel) = channel else { return };
        let delivery = Delivery { id: None, message: message.clone(), history: History::default() };
        let frame_max = self.tuning.frame_max;
        content::deliver(&mut self.output, *number, tag, channel.unacked.skip(), &delivery, frame_max);
    }
}
