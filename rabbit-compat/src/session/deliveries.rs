//! Messages on their way out, and what the broker tells the session besides answers.

use super::channel::{Channel, Unacked};
use super::command::{Answer, ConsumerId, Grant, LogPosition};
use super::confirms::Verdict;
use super::{Command, Session};
use crate::violation::{Code, Violation};
use crate::wire::{content, method};
use amq_protocol::protocol::AMQPClass;
use amq_protocol::protocol::basic::{AMQPMethod, Cancel};
use amq_protocol::types::ShortString;
use bytes::BufMut;
use vhosts::queue::{ConsumerKey, Delivery, Outcome};
use vhosts::{Message, QueueId};

/// Messages that may be on their way to one consumer. Large enough to keep a queue and a socket busy, small
/// enough that a slow client holds little.
pub const CREDIT: u32 = 1024;

/// A consumer, as its session knows it.
#[derive(Debug)]
pub struct Consumer {
    pub(super) channel: u16,
    pub(super) tag: String,
    pub(super) source: Source,
}

/// Where the messages of a consumer come from.
#[derive(Debug)]
pub enum Source {
    /// From a queue.
    Queue(Subscription),
    /// From whoever knows the reply address of its channel.
    Replies,
}

/// What a consumer of a queue has there.
#[derive(Debug)]
pub struct Subscription {
    pub(super) queue: QueueId,
    pub(super) key: ConsumerKey,
    /// Messages that were on their way when it began.
    pub(super) credit: u32,
    /// Deliveries whose room was not given back yet.
    pub(super) used: u32,
    /// The channel's global prefetch limit was met; room is given back when it no longer is.
    pub(super) withheld: bool,
}

impl Consumer {
    /// What it has at a queue, if it consumes from one.
    fn subscription(&self) -> Option<(QueueId, ConsumerKey)> {
        match &self.source {
            Source::Queue(subscription) => Some((subscription.queue, subscription.key)),
            Source::Replies => None,
        }
    }
}

impl Session {
    /// Hands a message to a consumer of this connection. One that came too late goes back to its queue.
    pub fn deliver(&mut self, consumer: ConsumerId, queue: QueueId, delivery: &Delivery) {
        let frame_max = self.tuning.frame_max;
        let undelivered = delivery.id.map(|id| Answer { queue, delivery: id, outcome: Outcome::Undelivered });
        let known = self.consumers.at_mut(consumer.0);
        let Some(Consumer { channel: number, tag, source: Source::Queue(to) }) = known else {
            return self.answers.extend(undelivered);
        };
        let Some(channel) = self.channels.get_mut(number).filter(|channel| !channel.closing) else {
            return self.answers.extend(undelivered);
        };
        to.used += 1;
        if let Some(undelivered) = undelivered.filter(|_| channel.is_full()) {
            to.withheld = true;
            return self.answers.push(undelivered);
        }
        if to.used >= to.credit.div_ceil(2) {
            self.grants.push(Grant { queue: to.queue, consumer: to.key, credit: to.used });
            to.used = 0;
        }
        let delivery_tag = match delivery.id {
            Some(id) => {
                channel.consumed += 1;
                channel.unacked.push(Unacked { queue, delivery: id, consumer: Some(consumer) })
            }
            None => channel.unacked.skip(),
        };
        content::deliver(&mut self.output, *number, tag, delivery_tag, delivery, frame_max);
    }

    /// The queue of a consumer is gone.
    pub fn cancelled(&mut self, consumer: ConsumerId) {
        let Some(gone) = self.remove_consumer(consumer.0) else { return };
        let open = self.channels.get(&gone.channel).is_some_and(|channel| !channel.closing);
        if open && self.capabilities.consumer_cancel_notify {
            let cancel = Cancel { consumer_tag: ShortString::from(gone.tag), nowait: true };
            method::encode(self.output.open(), gone.channel, &AMQPClass::Basic(AMQPMethod::Cancel(cancel)));
        }
    }

    /// A delivery waited `timeout_ms` for its answer, so that its queue took it back and cancelled the
    /// consumer. Its tag may still be answered; the queue knows better. A client that could not be told of the
    /// end of a consumer loses the channel. Not to be called between an operation and its answer, other than
    /// for what was on its way before a `basic.cancel`.
    pub fn timed_out(&mut self, consumer: ConsumerId, timeout_ms: u64, commands: &mut Vec<Command>) {
        if self.capabilities.consumer_cancel_notify {
            return self.cancelled(consumer);
        }
        let Some(gone) = self.remove_consumer(consumer.0) else { return };
        let number = gone.channel;
        if self.channels.get(&number).is_none_or(|channel| channel.closing) {
            return;
        }
        let text = format!(
            "delivery acknowledgement on channel {number} timed out. Timeout value used: {timeout_ms} ms. This \
             timeout value can be configured, see consumers doc guide to learn more"
        );
        self.violated(number, &Violation::new(Code::PreconditionFailed, text), commands);
    }

    /// Takes a consumer out; with a consumer of replies goes the address.
    pub(super) fn remove_consumer(&mut self, id: u64) -> Option<Consumer> {
        let gone = self.consumers.remove(id)?;
        if matches!(gone.source, Source::Replies)
            && let Some(channel) = self.channels.get_mut(&gone.channel)
        {
            channel.reply_address = None;
        }
        Some(gone)
    }

    /// No queue took a mandatory message.
    pub fn unroutable(&mut self, channel: u16, message: &Message) {
        content::return_unroutable(&mut self.output, channel, message, self.tuning.frame_max);
    }

    /// A message may not be published; its channel ends.
    pub fn refuse(&mut self, channel: u16, violation: Violation, commands: &mut Vec<Command>) {
        self.violated(channel, &violation.by(super::channel::PUBLISH), commands);
    }

    /// A queue refused the publish of that number on a confirm channel. To be told before
    /// [`published`](Self::published) is called for it; several queues may refuse the same.
    pub fn rejected(&mut self, channel: u16, tag: u64) {
        if let Some(tags) = self.channels.get_mut(&channel).and_then(|channel| channel.confirms.as_mut()) {
            tags.reject(tag);
        }
    }

    /// All publishes so far were handed to their queues. They are safe once the log is safe up to
    /// `position`; `None`: they need no log.
    pub fn published(&mut self, position: Option<LogPosition>, safe: LogPosition) {
        for number in self.publishing.drain(..) {
            let open = self.channels.get_mut(&number).filter(|channel| !channel.closing);
            let Some(tags) = open.and_then(|channel| channel.confirms.as_mut()) else { continue };
            tags.hand_over(|run, verdict| self.confirms.push(number, run, verdict, position));
        }
        self.safe(safe);
    }

    /// The log is safe up to `position`: sends the confirms that waited for it.
    pub fn safe(&mut self, position: LogPosition) {
        while let Some(confirm) = self.confirms.pop(position) {
            // A nack of the server has the bit `requeue` set, which means nothing.
            let (method, bits) = match confirm.verdict {
                Verdict::Accepted => (80, 0),
                Verdict::Rejected => (120, 2),
            };
            if confirm.verdict == Verdict::Accepted {
                self.confirmed += confirm.count;
            }
            method::frame(self.output.open(), confirm.channel, |payload| {
                payload.put_u32(60 << 16 | method);
                payload.put_u64(confirm.tag);
                payload.put_u8(bits | u8::from(confirm.multiple));
            });
        }
    }

    /// The consumers of a channel were cancelled and its last deliveries handed over; its other deliveries
    /// go back to their queues.
    pub fn released(&mut self, number: u16) {
        let gone: Vec<u64> = self.consumers_of(number).map(|(id, _)| id).collect();
        gone.into_iter().for_each(|id| _ = self.remove_consumer(id));
        self.confirms.forget(number);
        let Some(channel) = self.channels.get_mut(&number) else { return };
        channel.end(&mut self.answers);
        if !channel.closing {
            self.channels.remove(&number);
            method::frame(self.output.open(), number, |payload| payload.put_u32(20 << 16 | 41));
        }
    }

    /// The connection is gone. Says which consumers are to be cancelled; deliveries go back by
    /// [`answers`](Self::answers) when [`end`](Self::end) is called after that.
    pub fn all_consumers(&self) -> impl Iterator<Item = (QueueId, ConsumerKey)> {
        self.consumers.iter().filter_map(|(_, consumer)| consumer.subscription())
    }

    /// The consumers of replies among them, whose addresses are to be forgotten then.
    pub fn all_reply_consumers(&self) -> impl Iterator<Item = ConsumerId> {
        let replies = |consumer: &Consumer| matches!(consumer.source, Source::Replies);
        self.consumers.iter().filter(move |(_, consumer)| replies(consumer)).map(|(id, _)| ConsumerId(id))
    }

    /// Sends everything that waits for an answer back to its queue.
    pub fn end(&mut self) {
        self.state = super::State::Closed;
        let mut numbers: Vec<u16> = self.channels.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            if let Some(mut channel) = self.channels.remove(&number) {
                channel.end(&mut self.answers);
            }
        }
        self.consumers = vhosts::window::Window::starting_at(self.consumers.next());
    }

    /// Gives withheld room back to the consumers of a channel that may take more again.
    pub(super) fn give_back(&mut self, number: u16) {
        if self.channels.get(&number).is_none_or(Channel::is_full) {
            return;
        }
        let of_channel: Vec<u64> = self.consumers_of(number).map(|(id, _)| id).collect();
        for id in of_channel {
            let Some(Consumer { source: Source::Queue(to), .. }) = self.consumers.at_mut(id) else {
                continue;
            };
            if std::mem::take(&mut to.withheld) {
                self.grants.push(Grant { queue: to.queue, consumer: to.key, credit: to.used });
                to.used = 0;
            }
        }
    }

    pub(super) fn release(&self, number: u16) -> Command {
        let replies = self.consumers_of(number).find(|(_, consumer)| consumer.subscription().is_none());
        let replies = replies.map(|(id, _)| ConsumerId(id));
        let consumers = self.consumers_of(number).filter_map(|(_, consumer)| consumer.subscription());
        Command::Release { channel: number, consumers: consumers.collect(), replies }
    }

    fn consumers_of(&self, number: u16) -> impl Iterator<Item = (u64, &Consumer)> {
        self.consumers.iter().filter(move |(_, consumer)| consumer.channel == number)
    }
}
