//! `basic.*` but for publishing: consumers, single messages, answers to deliveries and limits on them.

use super::answers::Reply;
use super::command::{Command, ConsumerId, Operation};
use super::deliveries::{CREDIT, Consumer, Source};
use super::operations::{not_implemented, unimplemented_method};
use super::{Session, replies};
use crate::violation::{Code, Violation};
use amq_protocol::protocol::basic;
use vhosts::queue::{ConsumerSpec, Outcome};

impl Session {
    pub(super) fn basic_class(
        &mut self,
        number: u16,
        ids: (u16, u16),
        method: basic::AMQPMethod,
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        match method {
            basic::AMQPMethod::Consume(consume) => self.consume(number, ids, consume, commands),
            basic::AMQPMethod::Cancel(cancel) => {
                self.cancel(number, ids, cancel, commands);
                Ok(())
            }
            basic::AMQPMethod::Get(basic::Get { queue, no_ack }) => {
                let queue = self.queue_name(number, &queue)?;
                self.hand_out(number, ids, false, String::new(), Operation::Get { queue, no_ack }, commands);
                Ok(())
            }
            basic::AMQPMethod::Recover(basic::Recover { requeue: true }) => {
                self.recover(number);
                self.respond(number, Reply::Plain(60, 111));
                Ok(())
            }
            basic::AMQPMethod::RecoverAsync(basic::RecoverAsync { requeue: true }) => {
                self.recover(number);
                Ok(())
            }
            basic::AMQPMethod::Recover(_) | basic::AMQPMethod::RecoverAsync(_) => {
                Err(not_implemented("requeue=false"))
            }
            _ => Err(unimplemented_method()),
        }
    }

    fn consume(
        &mut self,
        number: u16,
        ids: (u16, u16),
        consume: basic::Consume,
        commands: &mut Vec<Command>,
    ) -> Result<(), Violation> {
        let queue = self.queue_name(number, &consume.queue)?;
        if &*queue == replies::NAME {
            return self.consume_replies(number, ids, &consume, commands);
        }
        let consumer = ConsumerId(self.consumers.next());
        let tag = self.consumer_tag(consume.consumer_tag.as_str());
        if self.consumer_by_tag(number, &tag).is_some() {
            return Err(reused_tag(&tag));
        }
        let Some(channel) = self.channels.get(&number) else { return Ok(()) };
        let spec = ConsumerSpec {
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            prefetch: channel.prefetch,
            credit: self.credit(number),
            priority: 0,
            timeout_ms: None,
        };
        let operation = Operation::Consume { queue, consumer, spec, arguments: consume.arguments };
        self.hand_out(number, ids, consume.nowait, tag, operation, commands);
        Ok(())
    }

    /// The tag of the next consumer: the one that the client wants, or a new one.
    pub(super) fn consumer_tag(&self, wanted: &str) -> String {
        match wanted {
            // As long as RabbitMQ's, and readable: which connection, and which of its consumers.
            "" => format!("amq.ctag-{:010x}-{:011x}", self.connection.0, self.consumers.next()),
            wanted => wanted.to_owned(),
        }
    }

    fn cancel(
        &mut self,
        number: u16,
        ids: (u16, u16),
        basic::Cancel { consumer_tag, nowait }: basic::Cancel,
        commands: &mut Vec<Command>,
    ) {
        let operation = match self.consumer_by_tag(number, consumer_tag.as_str()) {
            Some((_, Consumer { source: Source::Queue(subscription), .. })) => {
                Operation::Cancel { queue: subscription.queue, key: subscription.key }
            }
            Some((id, _)) => Operation::CancelReplies { consumer: ConsumerId(id) },
            None if nowait => return,
            None => {
                let cancel_ok = basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag });
                return self.respond(number, Reply::Basic(cancel_ok));
            }
        };
        self.hand_out(number, ids, nowait, consumer_tag.to_string(), operation, commands);
    }

    pub(super) fn qos(&mut self, number: u16, size: u32, count: u16, global: bool) -> Result<(), Violation> {
        if size != 0 {
            return Err(not_implemented(format!("prefetch_size!=0 ({size})")));
        }
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        if global {
            channel.global_prefetch = count;
            self.give_back(number);
        } else {
            channel.prefetch = count;
        }
        self.respond(number, Reply::Plain(60, 11));
        Ok(())
    }

    pub(super) fn answer(
        &mut self,
        number: u16,
        tag: u64,
        multiple: bool,
        outcome: Outcome,
    ) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
        let was_full = channel.is_full();
        channel.answer(tag, multiple, outcome, &mut self.answers)?;
        if was_full {
            self.give_back(number);
        }
        Ok(())
    }

    fn recover(&mut self, number: u16) {
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.answer_all(Outcome::Return, &mut self.answers);
        }
        self.give_back(number);
    }

    pub(super) fn credit(&self, number: u16) -> u32 {
        match self.channels.get(&number).map_or(0, |channel| channel.global_prefetch) {
            0 => CREDIT,
            limit => CREDIT.min(limit.into()),
        }
    }

    pub(super) fn consumer_by_tag(&self, number: u16, tag: &str) -> Option<(u64, &Consumer)> {
        self.consumers.iter().find(|(_, consumer)| consumer.channel == number && consumer.tag == tag)
    }
}

pub(super) fn reused_tag(tag: &str) -> Violation {
    Violation::new(Code::NotAllowed, format!("attempt to reuse consumer tag '{tag}'"))
}
