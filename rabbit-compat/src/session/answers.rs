//! From the broker's answers to frames.

use super::channel::Unacked;
use super::command::{Command, Done};
use super::deliveries::{Consumer, Source, Subscription};
use super::{Pending, Session};
use crate::violation::Violation;
use crate::wire::{content, method};
use amq_protocol::protocol::{AMQPClass, basic, queue};
use amq_protocol::types::ShortString;
use bytes::BufMut;
use vhosts::QueueId;
use vhosts::queue::{ConsumerKey, Delivery};

/// What a client is told.
pub(super) enum Reply {
    Basic(basic::AMQPMethod),
    Queue(queue::AMQPMethod),
    /// A method without arguments.
    Plain(u16, u16),
    Got {
        queue: QueueId,
        delivery: Delivery,
        left: usize,
    },
}

impl Session {
    /// The broker's answer to the operation that was handed out last.
    pub fn complete(&mut self, result: Result<Done, Violation>, commands: &mut Vec<Command>) {
        let Some(pending) = self.pending.take() else { return };
        let done = match result {
            Ok(done) => done,
            Err(violation) => {
                return self.violated(pending.channel, &violation.by(pending.method), commands);
            }
        };
        let answer = self.note(&pending, done);
        // What was on its way before the answer to a `basic.cancel` may have ended the channel.
        let open = self.channels.get(&pending.channel).is_some_and(|channel| !channel.closing);
        if open && !pending.nowait {
            self.respond(pending.channel, answer);
        }
    }

    /// Takes note of what was done, and says what the client is told.
    fn note(&mut self, pending: &Pending, done: Done) -> Reply {
        match (pending.method, done) {
            ((50, 10), Done::Queue { name, messages, consumers }) => {
                if let Some(channel) = self.channels.get_mut(&pending.channel) {
                    channel.last_queue = Some(name.clone());
                }
                Reply::Queue(queue::AMQPMethod::DeclareOk(queue::DeclareOk {
                    queue: ShortString::from(&*name),
                    message_count: messages as u32,
                    consumer_count: consumers as u32,
                }))
            }
            ((50, 30), Done::Messages(count)) => {
                Reply::Queue(queue::AMQPMethod::PurgeOk(queue::PurgeOk { message_count: count as u32 }))
            }
            ((50, 40), Done::Messages(count)) => {
                Reply::Queue(queue::AMQPMethod::DeleteOk(queue::DeleteOk { message_count: count as u32 }))
            }
            ((60, 20), Done::Consuming { queue, key }) => {
                self.note_consumer(pending, queue, key);
                consume_ok(&pending.consumer_tag)
            }
            ((60, 20), Done::Replies { address }) => {
                self.note_replies(pending.channel, pending.consumer_tag.clone(), address);
                consume_ok(&pending.consumer_tag)
            }
            ((60, 30), _) => {
                if let Some((gone, _)) = self.consumer_by_tag(pending.channel, &pending.consumer_tag) {
                    self.remove_consumer(gone);
                }
                let consumer_tag = ShortString::from(pending.consumer_tag.as_str());
                Reply::Basic(basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag }))
            }
            ((60, 70), Done::Got { queue, delivery, left }) => Reply::Got { queue, delivery, left },
            ((60, 70), _) => Reply::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {})),
            ((90, 20), _) => {
                // Only now do the answers of the transaction make room.
                self.give_back(pending.channel);
                Reply::Plain(90, 21)
            }
            ((class, method), _) => {
                Reply::Plain(class, method + if (class, method) == (40, 40) { 11 } else { 1 })
            }
        }
    }

    fn note_consumer(&mut self, pending: &Pending, queue: QueueId, key: ConsumerKey) {
        let credit = self.credit(pending.channel);
        let subscription = Subscription { queue, key, credit, used: 0, withheld: false };
        let (channel, tag) = (pending.channel, pending.consumer_tag.clone());
        self.consumers.push(Consumer { channel, tag, source: Source::Queue(subscription) });
    }

    pub(super) fn respond(&mut self, channel: u16, reply: Reply) {
        let frame_max = self.tuning.frame_max;
        let class = match reply {
            Reply::Basic(method) => AMQPClass::Basic(method),
            Reply::Queue(method) => AMQPClass::Queue(method),
            Reply::Plain(class, method) => {
                return method::frame(self.output.open(), channel, |payload| {
                    payload.put_u16(class);
                    payload.put_u16(method);
                });
            }
            Reply::Got { queue, delivery, left } => {
                let Some(of) = self.channels.get_mut(&channel) else { return };
                let tag = match delivery.id {
                    Some(id) => of.unacked.push(Unacked { queue, delivery: id, consumer: None }),
                    None => of.unacked.skip(),
                };
                let left = left as u32;
                return content::get_ok(&mut self.output, channel, tag, &delivery, left, frame_max);
            }
        };
        method::encode(self.output.open(), channel, &class);
    }
}

fn consume_ok(consumer_tag: &str) -> Reply {
    let consumer_tag = ShortString::from(consumer_tag);
    Reply::Basic(basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag }))
}
